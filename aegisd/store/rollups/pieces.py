"""Turns pieces into rows of the tables of pieces, for COPY."""

import numpy as np

from aegisd.stats import sketch
from aegisd.store import database
from aegisd.store.database import POSTGRES_EPOCH, TableRows
from aegisd.store.rollups.rollup import DurationSums, Pieces, Rollups
from aegisd.store.schema import ENDPOINTS, KEYS, REQUESTS


def piece_rows(pieces: Pieces, node: str) -> list[TableRows]:
    """The rows of all pieces that are not empty."""
    tables = {
        REQUESTS.pieces: pieces.requests,
        ENDPOINTS.pieces: pieces.endpoints,
        KEYS.pieces: pieces.keys,
    }
    return [_rows(table, rollups, node) for table, rollups in tables.items() if rollups.size]


def _rows(table: str, rollups: Rollups, node: str) -> TableRows:
    varying = {name: database.text_column(text) for name, text in rollups.names.items()}
    even = {
        "node": database.constant_column(node, rollups.size),
        "bucket": database.fixed_column(rollups.starts - POSTGRES_EPOCH),
    } | {name: database.fixed_column(values) for name, values in rollups.counters.items()}
    if (durations := rollups.durations) is not None:
        none = durations.timed == 0
        varying["sketch"] = _sketches(durations, rollups.size)
        varying["duration_min_us"] = database.nullable_column(durations.least, none)
        varying["duration_max_us"] = database.nullable_column(durations.greatest, none)
        even["timed"] = database.fixed_column(durations.timed)
        even["duration_sum_us"] = database.fixed_column(durations.total)
        even["sketch_format"] = database.fixed_column(
            np.full(rollups.size, sketch.FORMAT, np.int16)
        )
    return TableRows.of(table, rollups.size, varying, even)


def _sketches(durations: DurationSums, size: int) -> database.Column:
    """The stored sketches as a column: each field is a sketch behind its length."""
    stored = sketch.encode(durations.rows, durations.bins, durations.counts, size)
    lengths = stored.lengths + database.LENGTH.size
    starts = lengths.cumsum() - lengths
    size_bytes = int(lengths.sum())
    octets = np.zeros(size_bytes + database.WORD, np.uint8)
    words = octets.view(">u2")  # every field has an even number of bytes
    words[starts // 2], words[starts // 2 + 1] = stored.lengths >> 16, stored.lengths & 0xFFFF
    own = np.ones(size_bytes // 2, np.bool_)
    own[starts // 2] = own[starts // 2 + 1] = False
    words[: len(own)][own] = stored.octets.view(">u2")
    return database.Column(octets, starts, lengths)

"""Turns pieces of rollups into rows for COPY."""

import numpy as np

from aegisd.stats import sketch
from aegisd.store.database import (
    LENGTH,
    POSTGRES_EPOCH,
    WORD,
    Column,
    TableRows,
    constant_column,
    fixed_column,
    nullable_column,
    text_column,
)
from aegisd.store.rollups.rollup import DurationSums, Pieces, Rollups


def piece_rows(pieces: Pieces, node: str) -> list[TableRows]:
    """The rows of all pieces that are not empty."""
    tables = {
        "request_pieces": pieces.requests,
        "endpoint_pieces": pieces.endpoints,
        "rate_limit_pieces": pieces.keys,
    }
    return [_rows(table, rollups, node) for table, rollups in tables.items() if rollups.size]


def _rows(table: str, rollups: Rollups, node: str) -> TableRows:
    varying = {name: text_column(text) for name, text in rollups.names.items()}
    even = {
        "node": constant_column(node, rollups.size),
        "bucket": fixed_column(rollups.starts - POSTGRES_EPOCH),
    } | {name: fixed_column(values) for name, values in rollups.counters.items()}
    if (durations := rollups.durations) is not None:
        none = durations.timed == 0
        varying["sketch"] = _sketches(durations, rollups.size)
        varying["duration_min_us"] = nullable_column(durations.least, none)
        varying["duration_max_us"] = nullable_column(durations.greatest, none)
        even["timed"] = fixed_column(durations.timed)
        even["duration_sum_us"] = fixed_column(durations.total)
        even["sketch_format"] = fixed_column(np.full(rollups.size, sketch.FORMAT, np.int16))
    return TableRows.of(table, rollups.size, varying, even)


def _sketches(durations: DurationSums, size: int) -> Column:
    """The sketches as fields: each behind its length."""
    stored = sketch.encode(durations.rows, durations.bins, durations.counts, size)
    lengths = stored.lengths + LENGTH.size
    starts = lengths.cumsum() - lengths
    size_bytes = int(lengths.sum())
    octets = np.zeros(size_bytes + WORD, np.uint8)
    words = octets.view(">u2")  # every field has an even number of bytes
    words[starts // 2], words[starts // 2 + 1] = stored.lengths >> 16, stored.lengths & 0xFFFF
    own = np.ones(size_bytes // 2, np.bool_)
    own[starts // 2] = own[starts // 2 + 1] = False
    words[: len(own)][own] = stored.octets.view(">u2")
    return Column(octets, starts, lengths)

"""Turns pieces of rollups into rows for COPY."""

from functools import partial

import numpy as np

from aegisd.stats import sketch
from aegisd.store.database import LENGTH, POSTGRES_EPOCH, WORD, Column, TableRows
from aegisd.store.database import binary as copy
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
    varying = {name: copy.texts(text) for name, text in rollups.names.items()}
    even = {
        "node": copy.constant(node, rollups.size),
        "bucket": copy.fixed(rollups.starts - POSTGRES_EPOCH),
    } | {name: copy.fixed(values) for name, values in rollups.counters.items()}
    if (durations := rollups.durations) is not None:
        none = durations.timed == 0
        varying["sketch"] = _sketches(durations, rollups.size)
        varying["duration_min_us"] = copy.numbers(durations.least, none)
        varying["duration_max_us"] = copy.numbers(durations.greatest, none)
        even["timed"] = copy.fixed(durations.timed)
        even["duration_sum_us"] = copy.fixed(durations.total)
        even["sketch_format"] = copy.fixed(np.full(rollups.size, sketch.FORMAT, np.int16))
    return TableRows(
        table,
        (*varying, *even),
        rollups.size,
        copy.nbytes(list(varying.values()), list(even.values())),
        frozenset(),
        partial(copy.binary, list(varying.values()), list(even.values())),
    )


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

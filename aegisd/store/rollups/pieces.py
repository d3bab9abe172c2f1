"""Turns pieces into rows of the tables of pieces, for COPY."""

import numpy as np

from aegisd.stats import sketch
from aegisd.store.database import (
    POSTGRES_EPOCH,
    TableRows,
    binary_column,
    constant_column,
    fixed_column,
    nullable_column,
    text_column,
)
from aegisd.store.rollups.rollup import Pieces, Rollups
from aegisd.store.schema import ENDPOINTS, KEYS, REQUESTS


def piece_rows(pieces: Pieces, node: str) -> list[TableRows]:
    """The rows of all pieces that are not empty."""
    tables = {
        REQUESTS.pieces_table: pieces.requests,
        ENDPOINTS.pieces_table: pieces.endpoints,
        KEYS.pieces_table: pieces.keys,
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
        stored = sketch.encode(durations.rows, durations.bins, durations.counts, rollups.size)
        varying["sketch"] = binary_column(stored.octets, stored.lengths)
        varying["duration_min_us"] = nullable_column(durations.least, none)
        varying["duration_max_us"] = nullable_column(durations.greatest, none)
        even["timed"] = fixed_column(durations.timed)
        even["duration_sum_us"] = fixed_column(durations.total)
        even["sketch_format"] = fixed_column(np.full(rollups.size, sketch.FORMAT, np.int16))
    return TableRows.of(table, rollups.size, varying, even)

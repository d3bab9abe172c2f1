"""Turns blocks into rows for COPY."""

from collections.abc import Callable, Iterable
from itertools import repeat
from math import isnan
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.store.schema import DAY_MICROSECONDS, Partition
from aegisd.wire.block import ABSENT, Block
from aegisd.wire.protocol import BACKEND, RATE_LIMIT, REQUEST, SYSTEM


@frozen(eq=False)
class TableRows:
    """Rows of one table. ``records`` can be read once: ``fresh`` makes them anew."""

    table: str
    columns: tuple[str, ...]
    size: int
    partitions: frozenset[Partition]
    fresh: Callable[[], Iterable[tuple[Any, ...]]]


def table_rows(block: Block, node: str) -> TableRows:
    """A block as the rows of its table; timestamps are microseconds since 1970."""
    table, sources = _TABLES[block.kind]
    days = np.unique(block.numbers["timestamp"] // DAY_MICROSECONDS)

    def records() -> Iterable[tuple[Any, ...]]:
        values = (_column(block, source, node) for source in sources.values())
        return zip(*values, strict=False)  # constants never end

    return TableRows(
        table,
        tuple(sources),
        block.size,
        frozenset(Partition(table, int(day)) for day in days),
        records,
    )


_NODE = "(node)"
_WEIGHT = "weight"  # that sampling gives; without, every row stands for itself

# table and, for each of its columns, the block's column it comes from
_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    REQUEST: (
        "request_metrics",
        {
            "timestamp": "timestamp",
            "method": "method",
            "path": "path",
            "endpoint": "endpoint",
            "status_code": "status_code",
            "duration_ms": "duration_ms",
            "backend": "backend",
            "client_ip": "client_ip",
            "error_message": "error_message",
            "node": _NODE,
            "weight": _WEIGHT,
        },
    ),
    RATE_LIMIT: (
        "rate_limit_metrics",
        {
            "timestamp": "timestamp",
            "key": "key",
            "allowed": "allowed",
            "remaining": "remaining",
            "limit": "limit",
            "node": _NODE,
        },
    ),
    BACKEND: (
        "backend_metrics",
        {
            "timestamp": "timestamp",
            "backend_name": "backend_name",
            "status": "status",
            "response_time_ms": "response_time_ms",
            "circuit_breaker": "circuit_breaker",
            "node": _NODE,
        },
    ),
    SYSTEM: (
        "system_metrics",
        {
            "timestamp": "timestamp",
            "source": "source",
            "active_connections": "active_connections",
            "cpu_percent": "cpu_percent",
            "memory_bytes": "memory_bytes",
            "open_files": "open_files",
            "node": _NODE,
        },
    ),
}


def _column(block: Block, source: str, node: str) -> Iterable[Any]:
    if source == _NODE:
        return repeat(node)
    if source == _WEIGHT and source not in block.numbers:
        return repeat(1.0)
    if source in block.texts:
        return block.texts[source].rows()
    column = block.numbers[source]
    values: list[Any] = column.tolist()
    if source.endswith("_ms"):
        return [None if v == ABSENT else v / 1000 for v in values]
    if column.dtype == np.int64:
        return [None if v == ABSENT else v for v in values]
    if column.dtype == np.float64:
        return [None if isnan(v) else v for v in values]
    return values

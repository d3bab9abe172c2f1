"""Turns blocks into rows for COPY."""

from functools import partial
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Block, Mask, Numbers
from aegisd.events.protocol import BACKEND, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.events.units import DAY_US, MILLISECOND_US
from aegisd.store.database import POSTGRES_EPOCH, TableRows
from aegisd.store.database import binary as copy
from aegisd.store.schema import Partition


@frozen
class _Table:
    """A table's columns but ``node``: texts, numbers that may be NULL, others that may not.

    All but ``weight`` are the block's columns; a table's column has the same name, or that which
    _COLUMNS gives it.
    """

    name: str
    texts: tuple[str, ...]
    nullable: tuple[str, ...]
    never_null: tuple[str, ...]


_TABLES = {
    REQUEST: _Table(
        "request_metrics",
        ("method", "path", "endpoint", "backend", "client_ip", "error_message"),
        ("duration_us",),
        ("timestamp", "status_code", "weight"),
    ),
    RATE_LIMIT: _Table(
        "rate_limit_metrics", ("key",), ("remaining", "limit"), ("timestamp", "allowed")
    ),
    BACKEND: _Table(
        "backend_metrics",
        ("backend_name", "status", "circuit_breaker"),
        ("response_time_us",),
        ("timestamp",),
    ),
    SYSTEM: _Table(
        "system_metrics",
        ("source",),
        ("cpu_percent", "memory_bytes", "open_files"),
        ("timestamp", "active_connections"),
    ),
}


_COLUMNS = {"duration_us": "duration_ms", "response_time_us": "response_time_ms"}
"""Tables have milliseconds."""


def table_rows(block: Block, node: str) -> TableRows:
    """A block as the rows of its table.

    Columns stand in the order that is quickest to lay out: those first whose fields differ in
    length from row to row.
    """
    table = _TABLES[block.kind]
    varying: dict[str, copy.Column] = {}
    even = {"node": copy.constant(node, block.size)}
    for name in table.texts:
        text = block.texts[name]
        if len(set(text.values)) == 1:
            even[name] = copy.constant(text.values[0], block.size)
        else:
            varying[name] = copy.texts(text)
    for name in table.nullable:
        values, null = _nullable(name, block.numbers[name])
        column = _COLUMNS.get(name, name)
        if null.any():
            varying[column] = copy.numbers(values, null)
        else:
            even[column] = copy.fixed(values)
    even |= {name: copy.fixed(_never_null(name, block)) for name in table.never_null}
    days = np.unique(block.numbers["timestamp"] // DAY_US)
    return TableRows(
        table.name,
        (*varying, *even),
        block.size,
        copy.nbytes(list(varying.values()), list(even.values())),
        frozenset(Partition.of(table.name, int(day)) for day in days),
        partial(copy.binary, list(varying.values()), list(even.values())),
    )


def _nullable(name: str, values: Numbers) -> tuple[NDArray[Any], Mask]:
    if values.dtype == np.float64:
        return values.astype(np.float32), np.isnan(values)  # a real
    return values / MILLISECOND_US if name in _COLUMNS else values, values == ABSENT


def _never_null(name: str, block: Block) -> NDArray[Any]:
    """The column as its table's type: COPY goes by the width, and refuses any other."""
    match name:
        case "weight":  # that sampling gives; without, every row stands for itself
            return block.numbers.get(name, np.ones(block.size)).astype(np.float32)
        case "timestamp":
            return block.numbers[name] - POSTGRES_EPOCH
        case "status_code":
            status = block.numbers[name]
            narrow = status.astype(np.int16)
            return narrow if (narrow == status).all() else status
        case _:
            return block.numbers[name]

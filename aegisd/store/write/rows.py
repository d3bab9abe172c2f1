"""Lays out a block as the rows of its table.

A table's columns are the fields of its kind in the wire protocol, with these exceptions:

- ``node`` is the daemon's own name.
- A request has an ``endpoint``, which is always known, in place of the optional ``route``.
- A request has a ``weight``: for how many requests its row stands (see ``sampling``).

The migrations define the same tables in SQL; a test compares ``TABLES`` with a migrated database.
"""

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Block, Mask
from aegisd.events.protocol import KINDS, REQUEST, Field, FieldType
from aegisd.events.units import DAY_US, MILLISECOND_US
from aegisd.store.database import (
    POSTGRES_EPOCH,
    Column,
    TableRows,
    constant_column,
    fixed_column,
    nullable_column,
    text_column,
)
from aegisd.store.schema import Partition

_TYPES = {
    FieldType.TEXT: "text",
    FieldType.CHOICE: "text",
    FieldType.STATUS: "smallint",
    FieldType.DURATION: "double precision",  # milliseconds
    FieldType.TIMESTAMP: "timestamp with time zone",
    FieldType.BOOLEAN: "boolean",
    FieldType.INTEGER: "bigint",
    FieldType.COUNT: "bigint",
    FieldType.PERCENT: "real",
}
"""The Postgres type of each type of field."""


@frozen
class TableColumn:
    """A column of a table, and the block's column that it is made of."""

    name: str
    type: str
    nullable: bool
    block_column: str


@frozen
class Table:
    """A table of events."""

    name: str
    columns: tuple[TableColumn, ...]


NODE = TableColumn("node", "text", nullable=False, block_column="")
_ENDPOINT = TableColumn("endpoint", "text", nullable=False, block_column="endpoint")
_WEIGHT = TableColumn("weight", "real", nullable=False, block_column="weight")


def _column(field: Field) -> TableColumn:
    if field.name == "route":
        return _ENDPOINT
    nullable = not field.required and field.type is not FieldType.TIMESTAMP
    return TableColumn(field.name, _TYPES[field.type], nullable, field.column)


def _table(kind: str) -> Table:
    columns = (NODE, *map(_column, KINDS[kind]))
    return Table(f"{kind}_metrics", (*columns, _WEIGHT) if kind == REQUEST else columns)


TABLES = {kind: _table(kind) for kind in KINDS}


def table_rows(block: Block, node: str) -> TableRows:
    """A block as the rows of its table.

    A column is fixed, which is quickest, where all its fields have one length.
    """
    table = TABLES[block.kind]
    varying: dict[str, Column] = {}
    fixed = {NODE.name: constant_column(node, block.size)}
    for column in table.columns:
        if column is NODE:
            continue
        if column.type == "text":
            text = block.texts[column.block_column]
            if len(set(text.values)) == 1:
                fixed[column.name] = constant_column(text.values[0], block.size)
            else:
                varying[column.name] = text_column(text)
            continue
        null = _is_null(column, block)
        if null is not None and null.any():
            varying[column.name] = nullable_column(_numbers(column, block), null)
        else:
            fixed[column.name] = fixed_column(_numbers(column, block))
    days = np.unique(block.numbers["timestamp"] // DAY_US)
    partitions = frozenset(Partition.of(table.name, int(day)) for day in days)
    return TableRows.of(table.name, block.size, varying, fixed, partitions)


def _numbers(column: TableColumn, block: Block) -> NDArray[Any]:
    """A column in the width of its type: COPY refuses any other width."""
    if column is _WEIGHT and column.block_column not in block.numbers:  # sampling is off
        return np.ones(block.size, np.float32)
    values = block.numbers[column.block_column]
    match column.type:
        case "real":
            return values.astype(np.float32)
        case "double precision":
            return values / MILLISECOND_US
        case "timestamp with time zone":
            return values - POSTGRES_EPOCH
        case "smallint":
            narrow = values.astype(np.int16)
            return narrow if (narrow == values).all() else values  # too large: Postgres refuses it
        case _:
            return values


def _is_null(column: TableColumn, block: Block) -> Mask | None:
    """Which fields of a column are NULL; None where none can be."""
    if not column.nullable:
        return None
    values = block.numbers[column.block_column]
    return np.isnan(values) if column.type == "real" else values == ABSENT

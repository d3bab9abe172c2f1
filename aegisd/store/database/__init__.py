"""The connection to Postgres, and the only package that knows asyncio.

Rows of blocks go in as ``TableRows``, queries as work on a ``Session``.
"""

from aegisd.store.database.copy_format import (
    POSTGRES_EPOCH,
    Column,
    TableRows,
    binary_column,
    constant_column,
    fixed_column,
    nullable_column,
    text_column,
)
from aegisd.store.database.copying import Refused
from aegisd.store.database.partitioning import PartitionUnmade
from aegisd.store.database.pool import Busy
from aegisd.store.database.postgres import Postgres, open_postgres
from aegisd.store.database.transactions import Session
from aegisd.store.database.writing import WRITE_SECONDS, Move

__all__ = [
    "POSTGRES_EPOCH",
    "WRITE_SECONDS",
    "Busy",
    "Column",
    "Move",
    "PartitionUnmade",
    "Postgres",
    "Refused",
    "Session",
    "TableRows",
    "binary_column",
    "constant_column",
    "fixed_column",
    "nullable_column",
    "open_postgres",
    "text_column",
]

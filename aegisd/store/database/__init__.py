"""The connection to Postgres: the only room that knows asyncio."""

from aegisd.store.database.binary import LENGTH, POSTGRES_EPOCH, WORD, Column, TableRows
from aegisd.store.database.limits import Busy
from aegisd.store.database.postgres import (
    WRITE_SECONDS,
    Move,
    PartitionUnmade,
    Postgres,
    Session,
    open_postgres,
)
from aegisd.store.database.sifting import Refused

__all__ = [
    "LENGTH",
    "POSTGRES_EPOCH",
    "WORD",
    "WRITE_SECONDS",
    "Busy",
    "Column",
    "Move",
    "PartitionUnmade",
    "Postgres",
    "Refused",
    "Session",
    "TableRows",
    "open_postgres",
]

"""The tables: migrations, layouts, partitions, and the levels of rollups."""

from aegisd.store.schema.grants import grant
from aegisd.store.schema.layouts import (
    APACHE,
    CITUS,
    TIMESCALEDB,
    drop_chunks,
    old_chunks,
    retention,
)
from aegisd.store.schema.levels import (
    DAY,
    ENDPOINTS,
    FINE,
    HOUR,
    KEYS,
    KINDS,
    MINUTE,
    REQUESTS,
    Kind,
    ceil,
    floor,
)
from aegisd.store.schema.migrate import Home, bring_up
from aegisd.store.schema.schema import PARTITIONED, RAW, SCHEMA, Partition

__all__ = [
    "APACHE",
    "CITUS",
    "DAY",
    "ENDPOINTS",
    "FINE",
    "HOUR",
    "KEYS",
    "KINDS",
    "MINUTE",
    "PARTITIONED",
    "RAW",
    "REQUESTS",
    "SCHEMA",
    "TIMESCALEDB",
    "Home",
    "Kind",
    "Partition",
    "bring_up",
    "ceil",
    "drop_chunks",
    "floor",
    "grant",
    "old_chunks",
    "retention",
]

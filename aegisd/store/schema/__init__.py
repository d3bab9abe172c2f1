"""The tables: their names, the levels of rollups, migrations, layouts, partitions and rights.

A connection goes in within a transaction; the SQL here changes it, or its catalogue comes out.
"""

from aegisd.store.schema.grants import grant
from aegisd.store.schema.layouts import Installation, Layout
from aegisd.store.schema.levels import (
    DAY,
    ENDPOINTS,
    FINE,
    HOUR,
    KEYS,
    MINUTE,
    REQUESTS,
    ROLLUP_KINDS,
    RollupKind,
    ceil,
    floor,
)
from aegisd.store.schema.migrate import prepare_schema
from aegisd.store.schema.partitions import Catalogue, Partition, missing
from aegisd.store.schema.tables import PARTITIONED, RAW

__all__ = [
    "DAY",
    "ENDPOINTS",
    "FINE",
    "HOUR",
    "KEYS",
    "MINUTE",
    "PARTITIONED",
    "RAW",
    "REQUESTS",
    "ROLLUP_KINDS",
    "Catalogue",
    "Installation",
    "Layout",
    "Partition",
    "RollupKind",
    "ceil",
    "floor",
    "grant",
    "missing",
    "prepare_schema",
]

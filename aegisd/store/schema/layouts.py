"""How the tables lie: on plain Postgres, as TimescaleDB's hypertables, or over Citus' workers.

The layout is chosen when the schema is made and stands in the table ``storage_layout``; tables with
rows in them are not laid out anew. All SQL that differs is here, as text.

- partitions: tables partitioned by UTC days, which we make and drop.
- timescaledb: hypertables, whose chunks TimescaleDB makes, compresses and drops.
- citus: the partitioned tables distributed by node, so that one gateway's rows and rollups are on
  one worker; the small tables stay on the coordinator.
"""

import re
from collections.abc import Mapping

from aegisd.errors import SchemaError
from aegisd.store.schema.levels import KINDS
from aegisd.store.schema.schema import PARTITIONED, RAW

PARTITIONS, TIMESCALEDB, CITUS = "partitions", "timescaledb", "citus"
AUTO = "auto"

COMPRESS_AFTER_DAYS = 2
"""Late events reach back a day at most, mostly: they would make compressed chunks anew."""

APACHE = "apache"
"""The licence of a TimescaleDB without policies and compression."""

_PARTITION_BY = re.compile(r'\)\s+PARTITION BY RANGE \("?\w+"?\)')


def choose(wanted: str, extensions: set[str], found: str | None) -> str:
    """The layout of a database with these extensions; ``found`` is what it has, None without.

    Raises SchemaError where the wanted one can't be.
    """
    there = [layout for layout in (TIMESCALEDB, CITUS) if layout in extensions]
    if found is not None:
        if wanted not in (AUTO, found):
            raise SchemaError(
                f"the database has the layout {found}, which can't be changed; set storage.layout"
                f' = "{found}", or take another database'
            )
        return found
    if wanted == AUTO:
        return there[0] if there else PARTITIONS
    if wanted != PARTITIONS and wanted not in extensions:
        raise SchemaError(
            f'storage.layout = "{wanted}" needs the extension in this database: run CREATE'
            f' EXTENSION {wanted} there, or set storage.layout = "{PARTITIONS}"'
        )
    return wanted


def migration(sql: str, layout: str) -> str:
    """A migration's text for a layout: TimescaleDB wants plain tables to start from."""
    return _PARTITION_BY.sub(")", sql) if layout == TIMESCALEDB else sql


def set_up(layout: str, licence: str) -> list[str]:
    """What lays out the new and empty tables; ``licence`` is TimescaleDB's, "" without."""
    if layout == TIMESCALEDB:
        return _hypertables(licence)
    return _distributed() if layout == CITUS else []


def _hypertables(licence: str) -> list[str]:
    made = [
        f"SELECT create_hypertable('{table}', '{_time(table)}', chunk_time_interval =>"
        f" interval '{days} days', create_default_indexes => false)"
        for table, days in PARTITIONED.items()
    ]
    if licence == APACHE:
        return made
    compressed = [
        statement
        for table in PARTITIONED
        for statement in (
            f"ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby ="
            f" 'node', timescaledb.compress_orderby = '\"{_time(table)}\"')",
            f"SELECT add_compression_policy('{table}', interval '{COMPRESS_AFTER_DAYS} days')",
        )
    ]
    return made + compressed


def _distributed() -> list[str]:
    first, *others = [*PARTITIONED, *_unpartitioned()]
    return [
        f"SELECT create_distributed_table('{first}', 'node')",
        *(
            f"SELECT create_distributed_table('{table}', 'node', colocate_with => '{first}')"
            for table in others
        ),
    ]


def _unpartitioned() -> list[str]:
    """The rollups that are kept for good, and the pieces."""
    tables = [kind.table(level) for kind in KINDS for level in kind.levels]
    return [table for table in tables if table not in PARTITIONED] + [k.pieces for k in KINDS]


def retention(days: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """By table, what tells TimescaleDB's policies for how many days each is kept."""
    return {
        table: (
            f"SELECT remove_retention_policy('{table}', if_exists => true)",
            f"SELECT add_retention_policy('{table}', interval '{kept} days')",
        )
        for table, kept in days.items()
    }


def old_chunks(table: str, date: str) -> str:
    """What finds the chunks of before a date: the Apache edition has no policies to drop them."""
    return f"SELECT show_chunks('{table}', older_than => '{date} 00:00:00+00'::timestamptz)::text"


def drop_chunks(table: str, date: str) -> str:
    """What drops them."""
    return f"SELECT drop_chunks('{table}', older_than => '{date} 00:00:00+00'::timestamptz)"


def _time(table: str) -> str:
    return "timestamp" if table in RAW else "bucket"

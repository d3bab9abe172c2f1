"""The layouts: how the tables lie on plain Postgres, on TimescaleDB and on Citus.

``partitions``
    Plain Postgres: tables partitioned by UTC days, which aegisd makes and drops.
``timescaledb``
    Hypertables. TimescaleDB makes, compresses and drops their chunks. Its Apache edition neither
    compresses nor drops by policy, so there aegisd drops the chunks.
``citus``
    The partitioned tables, distributed by node: one gateway's rows and rollups are on one worker.
    The small tables stay on the coordinator.

The layout is chosen when the schema is made, and stands in the table ``storage_layout``. Tables
with rows in them are not laid out anew. All SQL that differs between layouts is here, as text.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from aegisd.errors import SchemaError
from aegisd.store.schema.tables import PARTITIONED, RAW, UNPARTITIONED_ROLLUPS

AUTO = "auto"

COMPRESS_AFTER_DAYS = 2
"""Late events mostly reach back a day at most. A compressed chunk would be made anew for them."""

APACHE = "apache"
"""The licence of TimescaleDB's edition without policies and compression."""

_PARTITION_BY = re.compile(r'\)\s+PARTITION BY RANGE \("?\w+"?\)')


class Layout(StrEnum):
    """The layouts, by the names of their extensions."""

    PARTITIONS = "partitions"
    TIMESCALEDB = "timescaledb"
    CITUS = "citus"


EXTENSIONS = (Layout.TIMESCALEDB, Layout.CITUS)


@frozen
class Installation:
    """Where the tables are and how they lie.

    ``schema`` and ``path`` (a search_path) are quoted; ``licence`` is TimescaleDB's, "" without it.
    """

    schema: str
    path: str
    layout: str
    licence: str = ""

    def retention_policies(self, days: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
        """By table, the statements that have TimescaleDB keep its rows for so many days.

        Empty where no policies of TimescaleDB's drop rows.
        """
        if self.layout != Layout.TIMESCALEDB or self.licence == APACHE:
            return {}
        return {
            table: (
                f"SELECT remove_retention_policy('{table}', if_exists => true)",
                f"SELECT add_retention_policy('{table}', interval '{kept} days')",
            )
            for table, kept in days.items()
        }

    @property
    def leaves_chunks(self) -> bool:
        """Whether there are chunks that no policy drops: aegisd drops them."""
        return self.layout == Layout.TIMESCALEDB and self.licence == APACHE

    def old_chunks(self, table: str, date: str) -> tuple[str, str]:
        """The statements that find and that drop a table's chunks before a date."""
        chunks = f"('{table}', older_than => '{date} 00:00:00+00'::timestamptz)"
        return f"SELECT show_chunks{chunks}::text", f"SELECT drop_chunks{chunks}"


def choose(wanted: str, extensions: set[str], found: str | None) -> str:
    """The layout of a database with these extensions; ``found`` is what it has, None without.

    Raises SchemaError where the wanted one can't be.
    """
    there = [layout for layout in EXTENSIONS if layout in extensions]
    if found is not None:
        if wanted not in (AUTO, found):
            raise SchemaError(
                f"the database has the layout {found}, which can't be changed; set storage.layout"
                f' = "{found}", or take another database'
            )
        return found
    if wanted == AUTO:
        return there[0] if there else Layout.PARTITIONS
    if wanted != Layout.PARTITIONS and wanted not in extensions:
        raise SchemaError(
            f'storage.layout = "{wanted}" needs the extension in this database: run CREATE'
            f' EXTENSION {wanted} there, or set storage.layout = "{Layout.PARTITIONS}"'
        )
    return wanted


def migration(sql: str, layout: str) -> str:
    """A migration's text for a layout: TimescaleDB makes hypertables of plain tables only."""
    return _PARTITION_BY.sub(")", sql) if layout == Layout.TIMESCALEDB else sql


def set_up(layout: str, licence: str) -> list[str]:
    """The statements that lay out the new and empty tables."""
    if layout == Layout.TIMESCALEDB:
        return _hypertables(licence)
    return _distributed() if layout == Layout.CITUS else []


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
    first, *others = [*PARTITIONED, *UNPARTITIONED_ROLLUPS]
    return [
        f"SELECT create_distributed_table('{first}', 'node')",
        *(
            f"SELECT create_distributed_table('{table}', 'node', colocate_with => '{first}')"
            for table in others
        ),
    ]


def _time(table: str) -> str:
    return "timestamp" if table in RAW else "bucket"

"""Partitions by UTC days: their names, and the SQL that makes and drops them.

``store.database.partitioning`` calls this when a batch needs a partition, and for
``store.upkeep``, which makes them days ahead and drops old ones. ``Partition`` is the pure part,
``Catalogue`` asks the database. Only ``pg_inherits`` tells which partitions are attached. A table's
name proves nothing: a detached partition keeps its name, and so does a table that was restored
beside.

Citus takes no two statements together that change tables, so each is sent alone.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from aegisd.events.units import DAY_US
from aegisd.store.schema.tables import PARTITIONED

PARTITION_LOCK = 7_460_000_002
"""The advisory lock for making a partition; all versions of aegisd use the same number."""

MAKE, DROP = "aegisd_make_partition", "aegisd_drop_partition"
"""Functions that do it for a role that does not own the tables; ``grants`` makes them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(rf"({'|'.join(PARTITIONED)})_(\d{{8}})(?:_([1-9]\d*))?")

_ATTACHED = r"""
    SELECT p.relname, c.relname, bound = 'DEFAULT',
        coalesce((regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1]::timestamptz, '0001-01-01'),
        coalesce((regexp_match(bound, 'TO \(''([^'']+)''\)'))[1]::timestamptz, '9999-12-31')
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    JOIN pg_class p ON p.oid = i.inhparent
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, 0) AS bound) b
    WHERE i.inhparent IN (SELECT to_regclass(t) FROM unnest($1::text[]) t)
        AND NOT i.inhdetachpending
"""
"""``pg_get_expr`` gets 0 for the relation, as a bound names no column. With the partition's own oid
Postgres would wait for a transaction that has the partition locked."""


@frozen(order=True)
class Partition:
    """A table's rows of some days from ``day`` on, which counts from 1970-01-01, UTC.

    ``number`` is above 1 where the name without it is taken, mostly by a detached partition.
    """

    table: str
    day: int
    number: int = 1

    @classmethod
    def of(cls, table: str, day: int) -> "Partition":
        """The partition of ``table`` that holds a day."""
        return cls(table, day - day % PARTITIONED[table])

    @property
    def end(self) -> int:
        """The day after its last one."""
        return self.day + PARTITIONED[self.table]

    @property
    def name(self) -> str:
        """The name of the partition's own table."""
        name = f"{self.table}_{self._date(self.day):%Y%m%d}"
        return name if self.number == 1 else f"{name}_{self.number}"

    @property
    def bounds(self) -> tuple[str, str]:
        """Its first moment, and the first moment after it."""
        return (
            f"{self._date(self.day):%Y-%m-%d} 00:00:00+00",
            f"{self._date(self.end):%Y-%m-%d} 00:00:00+00",
        )

    @staticmethod
    def _date(day: int) -> datetime:
        return _EPOCH + timedelta(days=day)

    @classmethod
    def parse(cls, name: str) -> "Partition | None":
        """The partition of that name; None for a name that is not of our making."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            date = datetime.strptime(match[2], "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(match[1], (date - _EPOCH).days, int(match[3] or 1))


@frozen
class Attached:
    """An attached partition, from ``start`` up to ``end`` (microseconds since 1970)."""

    table: str
    name: str
    default: bool
    start: int
    end: int


def missing(wanted: Iterable[Partition], attached: Iterable[Attached]) -> list[Partition]:
    """The wanted ones whose range no attached partition has, not even a part of it."""
    return sorted(
        partition
        for partition in wanted
        if not any(
            other.table == partition.table
            and not other.default
            and other.start < partition.end * DAY_US
            and partition.day * DAY_US < other.end
            for other in attached
        )
    )


@frozen
class Catalogue:
    """The partitions as the catalogue has them, over a connection within a transaction."""

    _connection: Any

    async def attached(self, tables: Iterable[str] = PARTITIONED) -> list[Attached]:
        """The partitions that are attached, also those that others have made."""
        rows = await self._connection.fetch(_ATTACHED, list(tables))
        return [Attached(*row) for row in rows]

    async def ours(self) -> list[Partition]:
        """The attached ones whose names are of our making."""
        parsed = (Partition.parse(each.name) for each in await self.attached())
        return sorted(partition for partition in parsed if partition is not None)

    async def make(self, partition: Partition) -> None:
        """Make a partition as a table of its own, then attach it.

        CREATE … PARTITION OF would wait for each transaction that writes to the parent table.
        """
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", PARTITION_LOCK)
        if not missing([partition], await self.attached([partition.table])):
            return  # another daemon was first
        while await self._exists(partition.name):
            partition = evolve(partition, number=partition.number + 1)
        name, table, (start, end) = partition.name, partition.table, partition.bounds
        if not await self._may_change(table):
            await self._connection.execute(
                f"SELECT {MAKE}($1, $2, $3::text::timestamptz, $4::text::timestamptz)",
                *(table, name, start, end),
            )
            return
        for statement in (
            f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
            f"ALTER TABLE {name} REPLICA IDENTITY FULL",
            f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')",
        ):
            await self._connection.execute(statement)

    async def drop(self, partition: Partition) -> None:
        """Drop a partition, if it is still attached: a detached one is the operator's."""
        if partition not in await self.ours():
            return
        if await self._may_change(partition.name):
            await self._connection.execute(f"DROP TABLE IF EXISTS {partition.name}")
        else:
            await self._connection.execute(f"SELECT {DROP}($1)", partition.name)

    async def _exists(self, table: str) -> bool:
        found: bool = await self._connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table)
        return found

    async def _may_change(self, table: str) -> bool:
        """Whether the role owns a table; True for a table that is not there."""
        owns = await self._connection.fetchval(
            "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)", table
        )
        return owns is not False

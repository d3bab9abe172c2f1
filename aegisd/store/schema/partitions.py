"""Partitions as the catalogue has them: which there are, how one is made, how one is dropped.

A table's name says nothing: a detached partition keeps its own, and so does one that was restored
beside. What is attached stands in pg_inherits. Every function is called within a transaction, and
sends one statement at a time, since Citus takes no two of those that change tables together.
"""

from collections.abc import Iterable
from typing import Any

from attrs import evolve, frozen

from aegisd.events.units import DAY_US
from aegisd.store.schema.schema import PARTITIONED, Partition

_LOCK = 7_460_000_002
"""As MIGRATION_LOCK, the same number in every version of aegisd."""

_CHILDREN = r"""
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
"""A bound names no column, so 0 will do for the relation: with its own, Postgres would wait for
whoever has the partition locked."""

MAKE, DROP = "aegisd_make_partition", "aegisd_drop_partition"
"""Functions that do it for a role that does not own the tables; see ``grants``."""


@frozen
class Child:
    """An attached partition, from a moment to another (microseconds since 1970)."""

    table: str
    name: str
    default: bool
    start: int
    end: int


async def children(connection: Any, tables: Iterable[str] = PARTITIONED) -> list[Child]:
    """The partitions that are attached, whoever made them."""
    return [Child(*row) for row in await connection.fetch(_CHILDREN, list(tables))]


def missing(wanted: Iterable[Partition], there: Iterable[Child]) -> list[Partition]:
    """The wanted ones that no other one takes the place of, were it only in part."""
    return sorted(
        partition
        for partition in wanted
        if not any(
            child.table == partition.table
            and not child.default
            and child.start < partition.end * DAY_US
            and partition.day * DAY_US < child.end
            for child in there
        )
    )


async def make(connection: Any, partition: Partition) -> None:
    """Make a partition: alone, then attached.

    CREATE … PARTITION OF would wait for every transaction that writes to the table.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    if not missing([partition], await children(connection, [partition.table])):
        return  # another daemon was first
    while await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", partition.name):
        partition = evolve(partition, number=partition.number + 1)
    name, table, (start, end) = partition.name, partition.table, partition.bounds
    if not await _may_change(connection, table):
        await connection.execute(
            f"SELECT {MAKE}($1, $2, $3::text::timestamptz, $4::text::timestamptz)",
            *(table, name, start, end),
        )
        return
    for statement in (
        f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
        f"ALTER TABLE {name} REPLICA IDENTITY FULL",
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')",
    ):
        await connection.execute(statement)


async def ours(connection: Any) -> list[Partition]:
    """Those that are attached and have names that we give."""
    named = (Partition.parse(child.name) for child in await children(connection))
    return sorted(partition for partition in named if partition is not None)


async def drop(connection: Any, partition: Partition) -> None:
    """Drop a partition, if it is still attached: what was detached is the operator's."""
    if partition not in await ours(connection):
        return
    if await _may_change(connection, partition.name):
        await connection.execute(f"DROP TABLE IF EXISTS {partition.name}")
    else:
        await connection.execute(f"SELECT {DROP}($1)", partition.name)


async def _may_change(connection: Any, table: str) -> bool:
    """Whether the role owns a table; what is not there it may have, too."""
    owns = await connection.fetchval(
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)", table
    )
    return owns is not False

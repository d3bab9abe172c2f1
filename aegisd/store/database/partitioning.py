"""Makes and drops partitions, and remembers which could not be made.

Who calls whom: ``writing`` calls ``make_unknown`` for the partitions of a batch, before the batch's
transaction. ``store.upkeep`` makes partitions some days ahead, by ``Postgres.make_partitions``, and
drops old ones, by ``Postgres.drop_partition``. Both come here; the SQL is in ``schema.partitions``.

Each partition has a transaction of its own: on Citus one takes up to a second. TimescaleDB makes
its own chunks, so nothing is made there.

When a partition can't be made, there are three cases:

1. The table has a default partition. Rows go there. The next try is after ``UNMADE_SECONDS``,
   since a try may look through all rows of the default partition, under a lock.
2. It has none, and the fault lasts, such as a name that is taken. Rows are refused and left out.
   Each batch tries again, as there is nothing to look through.
3. It has none, and the fault may pass: the database is away, a lock is held, the role has not got
   the rights yet. The error is raised, and the batch waits.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import structlog
import trio
from attrs import frozen

from aegisd.errors import DatabaseUnavailable
from aegisd.store.database.errors import (
    LockNotAvailable,
    UndefinedFunction,
    UndefinedTable,
    is_refusal,
)
from aegisd.store.database.pool import Pool
from aegisd.store.database.transactions import milliseconds
from aegisd.store.schema import Catalogue, Layout, Partition, missing

LOCK_SECONDS = 2  # a drop waits no longer for the transactions that use the table

UNMADE_SECONDS = 600.0
"""Between two tries to make a partition where there is a default partition."""

log = structlog.get_logger()

Run = Callable[[Callable[[Any], Awaitable[Any]]], Awaitable[Any]]
"""Runs a query in a transaction of its own, on whichever connection."""


@frozen
class _Unmade:
    """Why a partition could not be made, and when to try it again, in trio's time."""

    again: float
    why: str


class PartitionUnmade(DatabaseUnavailable):
    """Some partitions can't be made; all others are there."""


class Partitions:
    """The partitions of one database.

    State:

    ``_there``   partitions that were seen attached while the writer's present connection is open;
                 emptied when that ends, as an operator may change partitions before the next one
    ``_unmade``  partitions that could not be made, with the reason
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._there: set[Partition] = set()
        self._unmade: dict[Partition, _Unmade] = {}
        pool.on_writer_lost = self._there.clear

    async def make_unknown(self, wanted: set[Partition], run: Run) -> None:
        """Make those that are missing; ask the catalogue only about those not known yet."""
        await self.make(wanted - self._there, run)

    async def make(self, wanted: Iterable[Partition], run: Run) -> None:
        """Make those that are missing, by the catalogue; log those that can't be made."""
        now = trio.current_time()
        due = {p for p in wanted if p not in self._unmade or self._unmade[p].again <= now}
        if not due:
            return
        # before the question after the layout: running connects, and so finds the installation
        attached = await run(lambda connection: Catalogue(connection).attached())
        if self._pool.known_installation.layout == Layout.TIMESCALEDB:
            return
        before = {partition: self._unmade.pop(partition, None) for partition in due}
        for partition in missing(due, attached):
            try:
                await run(partial(_make, partition))
            except DatabaseUnavailable as error:
                default = any(a.default and a.table == partition.table for a in attached)
                if not default and not _lasts(error):
                    raise
                again = now + UNMADE_SECONDS if default else now
                self._unmade[partition] = _Unmade(again, str(error))
                told = before[partition]
                if told is None or told.why != str(error):
                    log.warning(
                        "a partition can't be made; its rows go to the default partition, or are"
                        " left out: mend it, or detach what is in its way",
                        partition=partition.name,
                        why=str(error),
                    )
        self._there |= due - set(self._unmade)

    def verify_made(self, wanted: Iterable[Partition]) -> None:
        """Raise PartitionUnmade where one of these could not be made."""
        unmade = {p.name: self._unmade[p].why for p in sorted(wanted) if p in self._unmade}
        if unmade:
            raise PartitionUnmade("; ".join(f"{name}: {why}" for name, why in unmade.items()))


async def drop(partition: Partition, connection: Any) -> bool:
    """Drop a partition; False where a transaction that uses its table holds the lock too long."""
    await connection.execute(f"SET LOCAL lock_timeout = {milliseconds(LOCK_SECONDS)}")
    try:
        await Catalogue(connection).drop(partition)
    except LockNotAvailable:
        return False
    return True


async def _make(partition: Partition, connection: Any) -> None:
    try:
        await Catalogue(connection).make(partition)
    except UndefinedFunction:
        raise DatabaseUnavailable(
            "the role does not own the tables and may not make partitions: run 'aegisd migrate"
            " --grant ROLE' as their owner"
        ) from None


def _lasts(error: DatabaseUnavailable) -> bool:
    """Whether the next try would fail as well; a parent table that is gone may come back."""
    cause = error.__cause__ or error
    return is_refusal(cause) and not isinstance(cause, UndefinedTable)

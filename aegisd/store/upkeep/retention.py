"""Removes what is too old: whole partitions, TimescaleDB's chunks, alerts that have ended.

Each is announced ten minutes before it is removed, and must be due all the while. Each is removed
by itself, so that one that fails keeps no other.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import structlog
from attrs import frozen

from aegisd.events.units import DAY_US, SECOND_US
from aegisd.store.database import Postgres
from aegisd.store.schema import DAY, Partition, floor
from aegisd.store.upkeep.failures import ALERTS, DROP, RETENTION, DutyFailures
from aegisd.store.upkeep.policy import Policy
from aegisd.store.upkeep.timekeeping import LASTING_SECONDS, Announcements

SHOWN = 10
"""How many names an announcement has: at first, a year's partitions may be due at once."""

_DEPENDENTS = (
    "SELECT DISTINCT regexp_replace(pg_describe_object(classid, objid, objsubid),"
    " '^rule .* on ((materialized )?view )', '\\1')"
    " FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass($1)"
    " AND deptype = 'n' ORDER BY 1"
)

log = structlog.get_logger()


class OldRows(Protocol):
    """Rows of a table that another package owns, and that become too old: the alerts that ended."""

    async def any_before(self, moment: int) -> bool:
        """Whether there is an old row of before ``moment`` (microseconds since 1970)."""

    async def remove_before(self, moment: int) -> None:
        """Remove the old rows of before ``moment``."""


@frozen
class Removal:
    """Something to remove, announced by ``name``; ``work`` is False where it has to wait."""

    duty: str
    name: str
    work: Callable[[], Awaitable[bool]]
    remedy: Callable[[], Awaitable[str]] | None = None


class Retention:
    """Finds what is too old, announces it, and removes it."""

    def __init__(self, postgres: Postgres, duties: DutyFailures, alerts: OldRows) -> None:
        self._postgres = postgres
        self._duties = duties
        self._alerts = alerts
        self._announced = Announcements()

    async def remove_old(self, policy: Policy, now: int, steady: float) -> bool:
        """Remove what is too old at ``now``; False where some of it has to wait."""
        complete = await self._set_timescale_policies(policy)
        due: list[Removal] = []
        for duty, find in (
            (DROP, self._partitions),
            (RETENTION, self._chunks),
            (ALERTS, self._old_alerts),
        ):
            found = await self._duties.attempt(duty, "", partial(find, policy, now))
            if found is None:
                complete = False
                continue
            due += found
            names = {removal.name for removal in found}
            self._duties.forget_others(duty, {"", *names, *policy.of_tables()})  # others are gone
        self._announce(due, steady)
        for removal in due:
            lasted = self._announced.lasted(removal.name, steady)
            gone = lasted and await self._duties.attempt(
                removal.duty, removal.name, removal.work, removal.remedy
            )
            complete = complete and bool(gone)
        return complete

    def _announce(self, due: list[Removal], steady: float) -> None:
        new = self._announced.announce([removal.name for removal in due], steady)
        if new:
            log.info(
                f"old rows will be removed in {LASTING_SECONDS / 60:.0f} minutes",
                what=" ".join(new[:SHOWN]),
                others=max(0, len(new) - SHOWN),
            )

    async def _set_timescale_policies(self, policy: Policy) -> bool:
        """Set TimescaleDB's own policies; False where one could not be set."""
        complete = True
        policies = self._postgres.installation.retention_policies(policy.of_tables())
        for table, statements in policies.items():

            async def tell(statements: tuple[str, ...] = statements) -> bool:
                for statement in statements:
                    await self._postgres.execute(statement)
                return True

            complete = bool(await self._duties.attempt(RETENTION, table, tell)) and complete
        return complete

    async def _partitions(self, policy: Policy, now: int) -> list[Removal]:
        return [
            Removal(
                DROP,
                partition.name,
                partial(self._drop, partition),
                partial(self._dependents, partition),
            )
            for partition in await self._postgres.partitions()
            if is_old(partition, policy, now)
        ]

    async def _drop(self, partition: Partition) -> bool:
        dropped = await self._postgres.drop_partition(partition)
        event = "removed old rows" if dropped else "old rows are in use"
        log.info(event, partition=partition.name)
        return dropped

    async def _dependents(self, partition: Partition) -> str:
        """What to do about the objects that depend on a partition."""
        found = [name for (name,) in await self._postgres.fetch(_DEPENDENTS, partition.name)]
        if not found:
            return ""
        depend = "depends" if len(found) == 1 else "depend"
        return f"drop or change {', '.join(found)}, which {depend} on it"

    async def _chunks(self, policy: Policy, now: int) -> list[Removal]:
        """The chunks that TimescaleDB's Apache edition doesn't remove by itself."""
        installation = self._postgres.installation
        if not installation.leaves_chunks:
            return []
        due = []
        for table, days in policy.of_tables().items():
            date = _date(_kept_from(days, now))
            find, drop = installation.old_chunks(table, date)
            if await self._postgres.fetch(find):
                work = partial(self._drop_chunks, drop)
                due.append(Removal(RETENTION, f"{table} before {date}", work))
        return due

    async def _drop_chunks(self, statement: str) -> bool:
        await self._postgres.execute(statement)
        return True

    async def _old_alerts(self, policy: Policy, now: int) -> list[Removal]:
        start = _kept_from(policy.alerts, now)
        if not await self._alerts.any_before(start):
            return []
        work = partial(self._remove_alerts, start)
        return [Removal(ALERTS, f"alerts before {_date(start)}", work)]

    async def _remove_alerts(self, start: int) -> bool:
        await self._alerts.remove_before(start)
        return True


def is_old(partition: Partition, policy: Policy, now: int) -> bool:
    """Whether all of a partition is older than its table's rows are kept."""
    kept = policy.of_tables()[partition.table]
    return partition.end * DAY_US <= _kept_from(kept, now)


def _kept_from(days: int, now: int) -> int:
    """The start of the first day that is kept, in microseconds since 1970."""
    return floor(now - days * DAY_US, DAY)


def _date(moment: int) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment / SECOND_US):%Y-%m-%d}"

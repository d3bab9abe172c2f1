"""Keeps the database in order: folds rollups, makes partitions ahead, removes what is too old.

Each daemon tries a pass about every 20 s. The row of ``rollup_progress`` lets one daemon at a time
through; when that one is gone, another takes its turn. A pass is:

1. Read the database's clock and policy. A daemon whose own clock differs too much stops here.
2. Fold portions, for PASS_SECONDS at most. Where it is another daemon's turn, this one stops here.
3. Vacuum the tables of pieces.
4. The daily duties: make partitions ahead, and remove what is too old. They are done once a day and
   after a change of policy, and again after RETRY_SECONDS where something had to wait.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog
import trio
from attrs import frozen

from aegisd.config.settings import Metrics
from aegisd.errors import DatabaseUnavailable, DataRefused
from aegisd.events.units import DAY_SECONDS, SECOND_US
from aegisd.store.database import PartitionUnmade, Postgres, Session
from aegisd.store.rollups import (
    FOLD_INTERVAL_SECONDS,
    PIECE_TABLES,
    Folded,
    Portion,
    PortionSize,
    days_to_fold,
    fold,
)
from aegisd.store.schema import PARTITIONED, RAW, Partition
from aegisd.store.upkeep.failures import CLOCK, DATABASE, FOLD, VACUUM, DutyFailures
from aegisd.store.upkeep.partitions_ahead import make_partitions_ahead
from aegisd.store.upkeep.policy import Policy, differences, kept_from, put_policy, read_policy
from aegisd.store.upkeep.retention import OldRows, Retention, is_old
from aegisd.store.upkeep.timekeeping import APART_SECONDS, DatabaseClock, seconds_ahead
from aegisd.times import rfc3339

DAILY_SECONDS = DAY_SECONDS
"""Between two rounds of the daily duties."""

RETRY_SECONDS = 600
"""When the daily duties are done again where a removal was only announced, or found a lock."""

PASS_SECONDS = 60
"""How long portions are folded in a row. Then the other duties have their turn."""

log = structlog.get_logger()


async def time_of_database(session: Session) -> int:
    """The database's clock, in microseconds since 1970."""
    ((now,),) = await session.fetch("SELECT now()")
    moment: int = now
    return moment


@frozen
class UpkeepFigures:
    """What fails now, and how the clocks differ."""

    failures: dict[str, int]  # by duty
    clock_ahead_seconds: float  # this machine's clock is ahead of the database's


class Maintainer:
    """The task that does the upkeep.

    ``clocks`` gives wall and steady in seconds; ``alerts`` removes the alerts that are too old;
    ``time`` asks the database for its time.
    """

    def __init__(
        self,
        postgres: Postgres,
        settings: Metrics,
        clocks: Callable[[], tuple[float, float]],
        alerts: OldRows,
        time: Callable[[Session], Awaitable[int]] = time_of_database,
    ) -> None:
        self._postgres = postgres
        self._clocks = clocks
        self._time = time
        self._configured = Policy.of(settings)
        self.policy = self._configured
        """The database's policy; until that is read, the configuration's."""
        self.duties = DutyFailures(postgres)
        self._ahead = 0.0
        self._retention = Retention(postgres, self.duties, alerts)
        self._clock = DatabaseClock()
        self._portion_size = PortionSize()
        self._told_differences: list[str] = []
        self._now = 0  # this pass's time by the database's clock
        self._more_to_fold = False  # the last pass had no time to fold all
        self._daily_due = 0.0  # when the daily duties are due, in steady time

    def figures(self) -> UpkeepFigures:
        """What fails now, and how the clocks differed at the last look."""
        return UpkeepFigures(self.duties.failures(), self._ahead)

    async def run(self, ready: trio.Event) -> None:
        """Maintain, from when the database is ``ready``."""
        await ready.wait()
        while True:
            try:
                await self.maintain()
                self.duties.report_success(DATABASE)
            except (DatabaseUnavailable, DataRefused) as error:
                self._more_to_fold = False
                self.duties.report_failure(DATABASE, "", str(error))
            if self._more_to_fold:
                await trio.lowlevel.checkpoint()
            else:  # the daemons of a fleet started together don't stay in step
                await trio.sleep(FOLD_INTERVAL_SECONDS * (0.75 + random.random() / 2))  # noqa: S311

    async def maintain(self) -> bool:
        """Do a pass; False where it is another's turn, or this machine's clock differs."""
        if not await self._read_clock_and_policy():
            return False
        if (
            await self.duties.attempt(FOLD, "", self._fold) is False
        ):  # None, a failure, stops nothing
            return False
        for table in PIECE_TABLES:
            await self.duties.attempt(VACUUM, table, partial(self._postgres.vacuum, [table]))
        if self._clocks()[1] >= self._daily_due:
            await self._do_daily_duties()
        return True

    async def _read_clock_and_policy(self) -> bool:
        """Step 1; False where the clocks differ."""

        async def look(session: Session) -> tuple[int, Policy | None]:
            return await self._time(session), await read_policy(session, self._configured)

        before, _ = self._clocks()
        self._now, policy = await self._postgres.read(look)
        after, steady = self._clocks()
        self._clock.observe(self._now / SECOND_US, steady)
        if policy is not None:
            self._follow_policy(policy)
        self._ahead = seconds_ahead(self._now / SECOND_US, before, after)
        times = {"here": rfc3339(round(after * SECOND_US)), "database": rfc3339(self._now)}
        if abs(self._ahead) > APART_SECONDS:
            if not self.duties.is_failing(CLOCK):
                self.duties.report_failure(
                    CLOCK,
                    "",
                    f"the clock here says {times['here']}, the database's {times['database']}:"
                    f" this daemon neither folds nor removes anything until they are within"
                    f" {APART_SECONDS:.0f} s; set the one that is wrong",
                )
            return False
        self.duties.report_success(CLOCK, **times)
        if policy is None:
            await put_policy(self._postgres, self._configured, anew=False)
            self._follow_policy(await read_policy(self._postgres, self._configured))
        return True

    def _follow_policy(self, policy: Policy | None) -> None:
        if policy is None:
            return
        if policy != self.policy:
            self.policy = policy
            self._daily_due = 0.0
        told = differences(self._configured, policy)
        if told and told != self._told_differences:
            log.warning(
                "the configuration differs from the policy that the database has for all daemons,"
                " which holds; 'aegisd policy --set' makes this configuration's the policy",
                differences="; ".join(told),
            )
        self._told_differences = told

    async def _do_daily_duties(self) -> None:
        """Make partitions ahead and remove what is too old (step 4)."""
        made = await make_partitions_ahead(self._postgres, self.duties, self._now)
        steady = self._clocks()[1]
        done = (
            await self._retention.remove_old(self.policy, self._time_to_remove_by(), steady)
            and made
        )
        self._daily_due = steady + (DAILY_SECONDS if done else RETRY_SECONDS)

    def _time_to_remove_by(self) -> int:
        """The time that ages go by when something is removed."""
        return min(self._now, int(self._clock.settled(self._clocks()[1]) * SECOND_US))

    async def _fold(self) -> bool:
        """Fold portion by portion, as long as a pass may take; False where it is another's turn."""
        self._more_to_fold = False
        ends = self._clocks()[1] + PASS_SECONDS
        folded = await self._fold_portion()
        if folded is None:
            return False
        while folded is not None and folded.more and self._clocks()[1] < ends:
            folded = await self._fold_portion()
        self._more_to_fold = folded is not None and folded.more
        return True

    async def _fold_portion(self) -> Folded | None:
        now, settled = self._now, self._time_to_remove_by()

        async def days(session: Session) -> frozenset[int] | None:
            return await days_to_fold(session, now)

        touched = await self._postgres.read(days)
        if touched is None:
            return None
        of_rollups = {
            Partition.of(table, day) for table in PARTITIONED if table not in RAW for day in touched
        }
        kept_of_them = {p for p in of_rollups if not is_old(p, self.policy, settled)}
        with suppress(PartitionUnmade):  # pieces of other days can still be folded
            await self._postgres.make_partitions(kept_of_them)
        kept = kept_from(self.policy.rollups, settled)
        portion = Portion(
            now, kept, touched, self._portion_size.max_pieces, self._postgres.installation.layout
        )

        async def work(session: Session) -> Folded | None:
            return await fold(session, portion)

        begun = self._clocks()[1]
        try:
            folded = await self._postgres.fold(work)
        except DatabaseUnavailable:
            self._portion_size.halve()
            raise
        if folded is not None:
            self._portion_size.adapt(self._clocks()[1] - begun, full=folded.full)
        return folded

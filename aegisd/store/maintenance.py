"""Keeps the database in order: folds rollups, makes partitions ahead, removes what is too old.

Every daemon tries; a row of the database (``rollup_progress``) tells whose turn it is, so that of
any number of daemons one at a time does it, and any of them takes over where one is gone.
"""

import random
from collections.abc import Callable

import structlog
import trio

from aegisd.config.settings import Metrics
from aegisd.errors import DatabaseUnavailable
from aegisd.store.folding import FOLD_INTERVAL_SECONDS, PIECES, days_to_fold, fold
from aegisd.store.layouts import CITUS, TIMESCALEDB, retention
from aegisd.store.levels import DAY, KINDS, SECOND, floor, kept_from, level_days
from aegisd.store.postgres import DataRefused, Fetch, Postgres
from aegisd.store.schema import DAY_MICROSECONDS, PARTITIONED, RAW, Partition

CLEAN_UP_SECONDS = 86_400
RETRY_SECONDS = 600  # after a lock that wasn't to be had
DAYS_AHEAD = 2
"""Partitions are there before they are needed, also where no daemon can make any for a day."""

log = structlog.get_logger()


def kept_days(settings: Metrics) -> dict[str, int]:
    """For how many days each table is kept that is not kept for good."""
    days: dict[str, int] = dict.fromkeys(RAW, settings.retention_days)
    of_levels = level_days(settings.rollups)
    for kind in KINDS:
        days |= {kind.table(level): of_levels[level] for level in kind.levels if level in of_levels}
    return days


class Maintainer:
    """The task. ``wall`` gives the time in seconds since 1970."""

    def __init__(self, postgres: Postgres, settings: Metrics, wall: Callable[[], float]) -> None:
        self._postgres = postgres
        self._settings = settings
        self._wall = wall
        self._clean_at = 0.0  # when to clean up next
        self._why: str | None = None  # it failed the last time

    async def run(self, ready: trio.Event) -> None:
        """Maintain, from when the database is ``ready``."""
        await ready.wait()
        while True:
            try:
                await self.maintain()
                self._why = None
            except (DatabaseUnavailable, DataRefused) as error:
                if self._why != str(error):
                    self._why = str(error)
                    log.warning(
                        "the database's upkeep failed, it will be tried again", why=self._why
                    )
            # a fleet that was started at once doesn't come at once
            await trio.sleep(FOLD_INTERVAL_SECONDS * (0.75 + random.random() / 2))  # noqa: S311

    async def maintain(self) -> bool:
        """Do what is due; False where another daemon is at it."""
        if not await self.fold():
            return False
        while await self.fold():  # what was too much at once
            pass
        await self._postgres.vacuum(PIECES)
        now = self._wall()
        if now >= self._clean_at:
            await self._make_partitions_ahead()
            done = await self.clean_up()
            self._clean_at = now + (CLEAN_UP_SECONDS if done else RETRY_SECONDS)
        return True

    async def fold(self) -> bool:
        """Fold what the writers added; False where it is another's turn."""
        now = self._now()
        kept = kept_from(self._settings.rollups, now)

        async def days(fetch: Fetch) -> set[int] | None:
            return await days_to_fold(fetch, now)

        async def work(fetch: Fetch) -> bool:
            return await fold(fetch, now, kept, marking=self._postgres.home.layout == CITUS)

        touched = await self._postgres.read(days)
        if touched is None:
            return False
        of_rollups = [
            Partition.of(table, day) for table in PARTITIONED if table not in RAW for day in touched
        ]
        await self._postgres.make_partitions(p for p in of_rollups if not self._is_old(p, now))
        return await self._postgres.fold(work)

    async def _make_partitions_ahead(self) -> None:
        today = self._now() // DAY_MICROSECONDS
        await self._postgres.make_partitions(
            Partition.of(table, today + ahead)
            for table in PARTITIONED
            for ahead in range(DAYS_AHEAD + 1)
        )

    async def clean_up(self) -> bool:
        """Remove what is too old; False where some of it has to wait."""
        now = self._now()
        home = self._postgres.home
        if home.layout == TIMESCALEDB:
            for statement in retention(kept_days(self._settings), home.licence):
                await self._postgres.fetch(statement)
        complete = True
        for partition in await self._postgres.partitions():
            if self._is_old(partition, now):
                dropped = await self._postgres.drop_partition(partition)
                complete = complete and dropped
                event = "removed old rows" if dropped else "old rows are in use"
                log.info(event, partition=partition.name)
        await self._postgres.fetch(
            "DELETE FROM alerts WHERE status = 'resolved' AND triggered_at < $1",
            now - self._settings.alert_retention_days * DAY_MICROSECONDS,
        )
        return complete

    def _is_old(self, partition: Partition, now: int) -> bool:
        """Whether all of it is older than its table is kept."""
        kept = kept_days(self._settings)[partition.table]
        return partition.end * DAY_MICROSECONDS <= floor(now - kept * DAY_MICROSECONDS, DAY)

    def _now(self) -> int:
        return int(self._wall() * SECOND)

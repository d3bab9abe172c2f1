"""Removes what is older than its retention: whole partitions, and ended alerts."""

from collections.abc import Callable

import structlog
import trio

from aegisd.config.settings import Metrics
from aegisd.errors import DatabaseUnavailable
from aegisd.store.postgres import DataRefused, Postgres
from aegisd.store.schema import DAY_MICROSECONDS

INTERVAL_SECONDS = 86_400
RETRY_SECONDS = 600  # after a lock that wasn't to be had, or with the database away

log = structlog.get_logger()


class Retention:
    """The daily clean-up. ``wall`` gives the time in seconds since 1970."""

    def __init__(self, postgres: Postgres, settings: Metrics, wall: Callable[[], float]) -> None:
        self._postgres = postgres
        self._settings = settings
        self._wall = wall

    async def run(self, ready: trio.Event) -> None:
        """Clean up at the start, once the database is ``ready``, and then daily."""
        await ready.wait()
        while True:
            try:
                done = await self.clean_up()
            except (DatabaseUnavailable, DataRefused) as error:
                log.warning("old data could not be removed, it will be tried again", why=str(error))
                done = False
            await trio.sleep(INTERVAL_SECONDS if done else RETRY_SECONDS)

    async def clean_up(self) -> bool:
        """Remove what is too old; False where some of it has to wait."""
        now = int(self._wall() * 1_000_000)
        oldest_kept = (now - self._settings.retention_days * DAY_MICROSECONDS) // DAY_MICROSECONDS
        complete = True
        for partition in await self._postgres.partitions():
            if partition.day < oldest_kept:
                dropped = await self._postgres.drop_partition(partition)
                complete = complete and dropped
                event = "removed a day of old rows" if dropped else "a day of old rows is in use"
                log.info(event, partition=partition.name)
        await self._postgres.fetch(
            "DELETE FROM alerts WHERE status = 'resolved' AND triggered_at < $1",
            now - self._settings.alert_retention_days * DAY_MICROSECONDS,
        )
        return complete

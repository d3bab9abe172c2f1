"""The duties of the upkeep: each fails alone, and is told once.

What fails keeps failing, mostly, until somebody mends it: a line tells it when it begins, one when
its reason changes, one when it works again. How many fail now is a figure.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from aegisd.errors import DatabaseUnavailable, DataRefused
from aegisd.store.database import Postgres

DATABASE = "database"
CLOCK = "clock"
FOLD = "fold"
VACUUM = "vacuum"
PARTITIONS = "partitions"
DROP = "drop"
RETENTION = "retention"
ALERTS = "alerts"
DUTIES = (DATABASE, CLOCK, FOLD, VACUUM, PARTITIONS, DROP, RETENTION, ALERTS)

T = TypeVar("T")

log = structlog.get_logger()


class Duties:
    """What fails now, and why."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._failing: dict[tuple[str, str], str] = {}

    def counts(self) -> dict[str, int]:
        """How many fail of each duty."""
        counts = Counter(duty for duty, _ in self._failing)
        return {duty: counts[duty] for duty in DUTIES}

    def lines(self, *, admin: bool, away_is_told: bool = False) -> list[str]:
        """What fails, a line each, for an admin with the reason.

        Of a database that is away the writer tells, but only once it has something to write.
        """
        return [
            f"the database's upkeep fails ({' '.join(filter(None, key))})"
            + (f": {why}" if admin else "")
            for key, why in self._failing.items()
            if key != (DATABASE, "") or not away_is_told
        ]

    def fails(self, duty: str, what: str = "") -> bool:
        """Whether it failed the last time."""
        return (duty, what) in self._failing

    async def attempt(
        self,
        duty: str,
        what: str,
        work: Callable[[], Awaitable[T]],
        remedy: Callable[[], Awaitable[str]] | None = None,
    ) -> T | None:
        """Do it; None where it failed. Raises DatabaseUnavailable where the database is away.

        ``remedy`` tells what mends it, "" where it doesn't know.
        """
        try:
            result = await work()
        except (DatabaseUnavailable, DataRefused) as error:
            await self._postgres.fetch("SELECT 1")  # or all others would fail as well
            helps = "" if remedy is None else await remedy()
            self.failed(duty, what, f"{error}; {helps}" if helps else str(error))
            return None
        self.works(duty, what)
        return result

    def failed(self, duty: str, what: str, why: str) -> None:
        """Tell that it failed, unless that was told."""
        if self._failing.get((duty, what)) != why:
            self._failing[duty, what] = why
            log.warning(
                "the database's upkeep failed, it will be tried again",
                **_named(duty, what),
                why=why,
            )

    def works(self, duty: str, what: str = "", **how: Any) -> None:
        """Tell that it works again, if it failed."""
        if self._failing.pop((duty, what), None) is not None:
            log.info("the database's upkeep works again", **_named(duty, what), **how)

    def keep(self, duty: str, whats: set[str]) -> None:
        """Of this duty there are only these: what is not among them has been mended."""
        for failing, what in [*self._failing]:
            if failing == duty and what not in whats:
                self.works(duty, what)


def _named(duty: str, what: str) -> dict[str, str]:
    return {"duty": duty, "what": what} if what else {"duty": duty}

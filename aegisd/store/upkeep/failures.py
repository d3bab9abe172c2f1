"""Which duties of the upkeep fail now: each is tried by itself, and its failure is logged once.

A duty is one kind of the upkeep's work, such as folding; DUTIES has their names. What it does is in
the other modules. A duty that fails mostly keeps failing until somebody mends it. It is logged when
it begins to fail, when the reason changes, and when it works again. A figure tells how many fail.
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


class DutyFailures:
    """Tries duties, and keeps which of them fail now and why.

    A duty may be done for several objects, such as tables: each (``what``) fails by itself.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._failing: dict[tuple[str, str], str] = {}

    def failures(self) -> dict[str, int]:
        """How many objects fail, by duty."""
        counts = Counter(duty for duty, _ in self._failing)
        return {duty: counts[duty] for duty in DUTIES}

    def lines(self, *, admin: bool, away_is_told: bool = False) -> list[str]:
        """What fails, a line each; an admin is told the reason.

        ``away_is_told`` leaves out that the database is away: the writer tells it, too, once it has
        something to write.
        """
        return [
            f"the database's upkeep fails ({' '.join(filter(None, key))})"
            + (f": {why}" if admin else "")
            for key, why in self._failing.items()
            if key != (DATABASE, "") or not away_is_told
        ]

    def is_failing(self, duty: str, what: str = "") -> bool:
        """Whether the duty failed when it was last tried."""
        return (duty, what) in self._failing

    async def attempt(
        self,
        duty: str,
        what: str,
        work: Callable[[], Awaitable[T]],
        remedy: Callable[[], Awaitable[str]] | None = None,
    ) -> T | None:
        """Do ``work`` and return its result; None where it failed.

        Raises DatabaseUnavailable where the database is away. ``remedy`` tells what mends a
        failure, "" where it doesn't know.
        """
        try:
            result = await work()
        except (DatabaseUnavailable, DataRefused) as error:
            await self._postgres.fetch("SELECT 1")  # away: that is no failure of this duty
            helps = "" if remedy is None else await remedy()
            self.report_failure(duty, what, f"{error}; {helps}" if helps else str(error))
            return None
        self.report_success(duty, what)
        return result

    def report_failure(self, duty: str, what: str, why: str) -> None:
        """Note that a duty failed; log it, unless the same was logged before."""
        if self._failing.get((duty, what)) != why:
            self._failing[duty, what] = why
            log.warning(
                "the database's upkeep failed, it will be tried again",
                **_named(duty, what),
                why=why,
            )

    def report_success(self, duty: str, what: str = "", **details: Any) -> None:
        """Note that a duty works; log it, if it failed before."""
        if self._failing.pop((duty, what), None) is not None:
            log.info("the database's upkeep works again", **_named(duty, what), **details)

    def forget_others(self, duty: str, whats: set[str]) -> None:
        """Note that a duty has only these objects: another one that failed is gone, so mended."""
        for failing, what in [*self._failing]:
            if failing == duty and what not in whats:
                self.report_success(duty, what)


def _named(duty: str, what: str) -> dict[str, str]:
    return {"duty": duty, "what": what} if what else {"duty": duty}

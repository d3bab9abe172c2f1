"""One run of a daemon's alerts, whose clock is the test's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from alerts.rule import WALL, requests, rule

from aegisd.alerts.alert import Alert
from aegisd.alerts.alert_table import AlertTable
from aegisd.alerts.manager import Manager
from aegisd.alerts.silences import Silences
from aegisd.config.settings import Alerts, Rule
from aegisd.live.state import LiveState
from aegisd.store.database.postgres import Postgres

QUIET = rule(actions=())


class Run:
    """The live state and the manager of one run."""

    def __init__(
        self, postgres: Postgres, rules: tuple[Rule, ...] = (QUIET,), started: int = WALL
    ) -> None:
        self.now = float(started)
        self.announced: list[Alert] = []
        self.silences = Silences(postgres)
        self.live = LiveState(100, self.now, self.now)
        self.manager = Manager(
            Alerts(check_interval_ms=10, rules=rules),
            self.live,
            AlertTable(postgres, "here"),
            self.silences,
            self.announced.append,
            lambda: (self.now, self.now),
        )

    def see(self, *events: tuple[int, int | None, int]) -> None:
        requests(self.live, *events, at=int(self.now))

    def check(self, seconds: float = 0) -> list[str]:
        """Check so much later; the status of each alert announced."""
        self.now += seconds
        before = len(self.announced)
        self.manager.check()
        return [alert.status for alert in self.announced[before:]]


BAD, GOOD = (500, 1, 10), (200, 1, 10_000)


@asynccontextmanager
async def at_work(run: Run, ready: trio.Event | None = None) -> AsyncIterator[None]:
    if ready is None:
        ready = trio.Event()
        ready.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.manager.run, ready)
        yield
        nursery.cancel_scope.cancel()

"""The task that checks the rules, announces their alerts and keeps them in the database.

What a check does to an alert is decided in ``lifecycle``; the manager asks it, and carries out the
answer. Checking never waits. ``check`` reads the live windows and changes the states in memory;
what follows runs beside it:

- ``announce`` sends the alert to the dashboards, at once;
- the rule's actions are queued (``delivery``);
- the alert is put into ``_unsaved``, and saved within a second. While the database is away, the
  newest version of each alert waits there, for up to 1,000 alerts.

A start takes over the alerts that an earlier run of this node left (``restore_and_save``). It waits
10 s for the database; then the rules are checked without them. Where they are found later:

1. The rule has no alert yet: the earlier one becomes its state.
2. The rule has one already, or is gone: the earlier alert is resolved.
"""

from collections.abc import Callable
from uuid import uuid4

import structlog
import trio

from aegisd.alerts.alert import RESOLVED, Alert
from aegisd.alerts.alert_table import AlertTable
from aegisd.alerts.delivery import Delivery
from aegisd.alerts.figures import AlertFigures
from aegisd.alerts.lifecycle import (
    Now,
    State,
    cooldown_seconds,
    notifies,
    resolve,
    restore,
    step,
)
from aegisd.alerts.metrics import value_of
from aegisd.config.settings import WINDOW_SECONDS, Alerts, Rule
from aegisd.errors import DatabaseUnavailable, DataRefused
from aegisd.events.units import SECOND_US
from aegisd.live import LiveState

MAX_UNSAVED = 1000
SAVE_SECONDS = 1.0
RESTORE_SECONDS = 10.0

log = structlog.get_logger()


class Manager:
    """The rules' states. ``clocks`` gives wall time (s since 1970) and steady time (s)."""

    def __init__(
        self,
        settings: Alerts,
        live: LiveState,
        alert_table: AlertTable,
        announce: Callable[[Alert], None],
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._settings = settings
        self._live = live
        self._table = alert_table
        self._announce = announce
        self._clocks = clocks
        self._started = clocks()[1]
        self._states: dict[str, State] = {}  # by the rule's id
        self._restored = False
        self._unsaved: dict[str, Alert] = {}  # by the alert's id, the oldest first
        self._saving = trio.Lock()  # the stop's last save may meet the regular one
        self._save_problem: str | None = None
        self._delivery = Delivery()

    @property
    def open_alerts(self) -> list[Alert]:
        """The alerts that are not resolved."""
        return [s.alert for s in self._states.values() if s.alert.status != RESOLVED]

    def figures(self) -> AlertFigures:
        """A snapshot of the counters."""
        return AlertFigures(len(self.open_alerts), self._delivery.failed, self._delivery.dropped)

    async def run(self, database_ready: trio.Event) -> None:
        """Check until cancelled."""
        with trio.move_on_after(RESTORE_SECONDS):
            await database_ready.wait()
            await self.restore_and_save()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._delivery.run)
            nursery.start_soon(self._keep_saved, database_ready)
            while True:
                self.check()
                await trio.sleep(self._settings.check_interval_ms / 1000)

    def check(self) -> None:
        """Check every rule once, against the live windows."""
        now = self._now()
        self._live.advance(now.wall / SECOND_US, now.steady)
        for rule in self._settings.rules:
            if rule.enabled:
                self._check(rule, now)

    async def restore_and_save(self) -> None:
        """Take over what an earlier run left, then save what is new."""
        async with self._saving:
            try:
                if not self._restored:
                    self._restore(await self._table.earlier())
                    self._restored = True
                for alert in list(self._unsaved.values()):
                    await self._save(alert)
                    if self._unsaved.get(alert.id) is alert:  # it may have changed meanwhile
                        del self._unsaved[alert.id]
            except (DatabaseUnavailable, DataRefused) as error:
                if str(error) != self._save_problem:
                    log.warning("alerts can't be saved now, it will be tried again", why=str(error))
                self._save_problem = str(error)
            else:
                self._save_problem = None

    def _now(self) -> Now:
        wall, steady = self._clocks()
        return Now(round(wall * SECOND_US), steady)

    def _check(self, rule: Rule, now: Now) -> None:
        sums = self._live.window(rule.condition.window)
        value = value_of(rule.condition, sums, now.steady - self._started)
        cooldown = cooldown_seconds(rule, self._settings.default_cooldown_ms)
        outcome = step(rule, cooldown, self._states.get(rule.id), value, now, _new_id)
        if outcome is None:
            return
        state, change = outcome
        self._states[rule.id] = state
        self._queue_save(state.alert)
        self._announce(state.alert)
        if notifies(state, change):
            self._delivery.add(rule, state.alert)

    def _queue_save(self, alert: Alert) -> None:
        self._unsaved.pop(alert.id, None)
        self._unsaved[alert.id] = alert
        while len(self._unsaved) > MAX_UNSAVED:
            del self._unsaved[next(iter(self._unsaved))]
            log.error("too many alerts wait for the database, the oldest is not saved")

    async def _keep_saved(self, database_ready: trio.Event) -> None:
        await database_ready.wait()
        while True:
            await self.restore_and_save()
            await trio.sleep(SAVE_SECONDS)

    async def _save(self, alert: Alert) -> None:
        try:
            await self._table.save(alert)
        except DataRefused as error:  # it would be refused each time, and hold up the others
            log.error("an alert can't be saved", rule=alert.rule_name, why=str(error))

    def _restore(self, alerts: list[Alert]) -> None:
        """Take over the latest alert of each rule; resolve the other open ones."""
        now = self._now()
        rules: dict[str, Rule] = {rule.id: rule for rule in self._settings.rules if rule.enabled}
        for alert in alerts:
            rule = rules.get(alert.rule_id)
            if rule is not None and alert.rule_id not in self._states:
                cooldown = cooldown_seconds(rule, self._settings.default_cooldown_ms)
                window_full = self._started + WINDOW_SECONDS[rule.condition.window]
                self._states[alert.rule_id] = restore(alert, cooldown, now, window_full)
            elif alert.status != RESOLVED:
                self._queue_save(resolve(alert, alert.current_value, now))


def _new_id() -> str:
    return str(uuid4())

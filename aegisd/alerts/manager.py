"""The task that checks the rules, announces their alerts and keeps them in the database.

What a check does to an alert is decided in ``lifecycle``; the manager asks it, and carries out the
answer. Checking never waits. ``check`` reads the live windows and changes the states in memory;
what follows runs beside it:

- ``announce`` sends the alert to the dashboards, at once;
- the rule's actions are queued (``delivery``), unless a silence holds them back (``notices``);
- the alert is put into ``_unsaved``, and saved within a second. While the database is away, the
  newest version of each alert waits there, for up to 1,000 alerts.

A start takes over the alerts that an earlier run of this node left (``restore_and_save``). It waits
10 s for the database; then the rules are checked without them. Where they are found later:

1. The rule has no alert yet: the earlier one becomes its state.
2. The rule has one already, or is gone: the earlier alert is resolved.

Somebody acknowledges or resolves an alert by hand. If it is the latest one of a rule here, its
state is changed in memory, so that works while the database is away. If it is another one, such as
another daemon's, the database is changed. So every LOOK_SECONDS each daemon looks in the database
for what was done to its open alerts over others, and for silences.
"""

from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import structlog
import trio
from attrs import evolve

from aegisd.alerts.alert import (
    ACTIVE,
    RESOLVED,
    Alert,
    acknowledge,
    resolve_by_hand,
    with_status_of,
)
from aegisd.alerts.alert_table import AlertTable
from aegisd.alerts.delivery import Delivery
from aegisd.alerts.figures import AlertFigures
from aegisd.alerts.lifecycle import (
    Change,
    Now,
    State,
    by_hand,
    cooldown_seconds,
    resolve,
    restore,
    step,
)
from aegisd.alerts.metrics import value_of
from aegisd.alerts.notices import tell
from aegisd.alerts.silences import Silences
from aegisd.config.settings import WINDOW_SECONDS, Alerts, Rule
from aegisd.errors import DatabaseUnavailable, DataRefused
from aegisd.events.units import SECOND_US
from aegisd.live import LiveState

MAX_UNSAVED = 1000
SAVE_SECONDS = 1.0
RESTORE_SECONDS = 10.0
LOOK_SECONDS = 5.0
"""How long silences, and what is done to alerts over other daemons, may go unseen."""

log = structlog.get_logger()


class Manager:
    """The rules' states. ``clocks`` gives wall time (s since 1970) and steady time (s)."""

    def __init__(
        self,
        settings: Alerts,
        live: LiveState,
        alert_table: AlertTable,
        silences: Silences,
        announce: Callable[[Alert], None],
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._settings = settings
        self._live = live
        self._table = alert_table
        self._silences = silences
        self._announce = announce
        self._clocks = clocks
        self._started = clocks()[1]
        self._rules: dict[str, Rule] = {rule.id: rule for rule in settings.rules if rule.enabled}
        self._states: dict[str, State] = {}  # by the rule's id
        self._restored = False
        self._looked: float | None = None  # when, in steady time
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
        for rule in self._rules.values():
            self._check(rule, now)

    async def acknowledge(self, id_: UUID, by: str) -> Alert | None:
        """Acknowledge an alert of any node; None where there is none.

        Raises AlreadyResolved, and DatabaseUnavailable for an alert that only the database has.
        """
        return await self._change(id_, partial(acknowledge, by=by, moment=self._now().wall))

    async def resolve(self, id_: UUID, by: str) -> Alert | None:
        """Resolve an alert of any node by hand; else as ``acknowledge``."""
        return await self._change(id_, partial(resolve_by_hand, by=by, moment=self._now().wall))

    async def restore_and_save(self) -> None:
        """Take over what an earlier run left, then save what is new, then look at the others'."""
        async with self._saving:
            try:
                if not self._restored:
                    self._restore(await self._table.earlier())
                    self._restored = True
                for alert in list(self._unsaved.values()):
                    await self._save(alert)
                    if self._unsaved.get(alert.id) is alert:  # it may have changed meanwhile
                        del self._unsaved[alert.id]
                await self._look()
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
        state = self._states.get(rule.id)
        outcome = step(rule, self._cooldown(rule), state, value, now, _new_id)
        if outcome is not None:
            self._take(rule, *outcome, now)
        elif state is not None:
            self._take(rule, state, None, now)

    def _take(self, rule: Rule, state: State, change: Change | None, now: Now) -> None:
        """Make this the rule's state, and tell whom its change concerns."""
        if change is not None:
            self._queue_save(state.alert)
            self._announce(state.alert)
        silenced = partial(self._silences.cover, moment=now.wall)
        self._states[rule.id], notices = tell(state, change, silenced)
        for alert in notices:
            self._delivery.add(rule, alert)

    async def _change(self, id_: UUID, change: Callable[[Alert], Alert]) -> Alert | None:
        for state in self._states.values():
            if state.alert.id == str(id_):
                alert = self._change_state(state, change(state.alert))
                with trio.move_on_after(SAVE_SECONDS):  # who lists the alerts next wants to see it
                    await self.restore_and_save()
                return alert
        stored = await self._table.change(id_, change)
        if stored is not None:
            self._announce(stored)
        return stored

    def _change_state(self, state: State, alert: Alert) -> Alert:
        """Take over what somebody made of a state's alert."""
        rule, now = self._rules[alert.rule_id], self._now()
        self._take(rule, *by_hand(state, alert, self._cooldown(rule), now), now)
        return alert

    def _cooldown(self, rule: Rule) -> float:
        return cooldown_seconds(rule, self._settings.default_cooldown_ms)

    async def _look(self) -> None:
        """Load the silences, and what was done to open alerts over other daemons."""
        now = self._now()
        if self._looked is not None and now.steady - self._looked < LOOK_SECONDS:
            return
        await self._silences.load(now.wall)
        if self._looked is None:
            self._withhold_silenced(now)
        open_ = {a.id: a for a in self.open_alerts if a.id not in self._unsaved}
        for alert in await self._table.some(open_) if open_ else []:
            state = self._states[alert.rule_id]
            # an alert that changed meanwhile is unsaved: it is looked at the next time
            if state.alert is open_[alert.id] and alert.status not in (ACTIVE, state.alert.status):
                self._change_state(state, with_status_of(state.alert, alert))
        self._looked = now.steady

    def _withhold_silenced(self, now: Now) -> None:
        """Have receivers told of the silenced alerts when their silences end, if they still hold.

        An earlier run may not have told them.
        """
        for rule_id, state in self._states.items():
            if state.alert.status == ACTIVE and self._silences.cover(state.alert, now.wall):
                self._states[rule_id] = evolve(state, withheld=True)

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
        for alert in alerts:
            rule = self._rules.get(alert.rule_id)
            if rule is not None and alert.rule_id not in self._states:
                window_full = self._started + WINDOW_SECONDS[rule.condition.window]
                state = restore(alert, self._cooldown(rule), now, window_full)
                self._states[alert.rule_id] = state
            elif alert.status != RESOLVED:
                self._queue_save(resolve(alert, alert.current_value, now))


def _new_id() -> str:
    return str(uuid4())

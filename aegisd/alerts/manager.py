"""The task that checks the rules, keeps their alerts and sets the actions going.

Checking never waits: actions run beside it, a few at a time, and alerts that the database
can't take now are kept and saved later.
"""

from collections import deque
from collections.abc import Callable
from uuid import uuid4

import structlog
import trio

from aegisd.alerts.actions import ActionFailed, perform
from aegisd.alerts.archive import Archive
from aegisd.alerts.rules import (
    RESOLVED,
    Alert,
    Change,
    Now,
    State,
    cooldown_seconds,
    resolved,
    restore,
    step,
    value_of,
)
from aegisd.config.settings import WINDOW_SECONDS, Action, Alerts, Rule
from aegisd.errors import DatabaseUnavailable
from aegisd.live.state import LiveState
from aegisd.store.postgres import DataRefused

MAX_ACTIONS_WAITING = 200
MAX_ACTIONS_AT_ONCE = 8
MAX_UNSAVED = 1000
SAVE_SECONDS = 1.0
RESTORE_SECONDS = 10.0  # then the rules are checked without what an earlier run left

log = structlog.get_logger()

Key = tuple[str, int]
"""A rule's id, and which of its actions."""


class Manager:
    """The rules' states. ``clocks`` gives wall time (s since 1970) and steady time."""

    def __init__(
        self,
        settings: Alerts,
        live: LiveState,
        archive: Archive,
        announce: Callable[[Alert], None],
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._settings = settings
        self._live = live
        self._archive = archive
        self._announce = announce
        self._clocks = clocks
        self._started = clocks()[1]
        self._states: dict[str, State] = {}
        self._restored = False
        self._unsaved: dict[str, Alert] = {}
        self._synchronizing = trio.Lock()  # the last save comes while the regular one may run
        self._save_problem: str | None = None
        self._queues: dict[Key, deque[tuple[Action, Alert]]] = {}
        self._send, self._receive = trio.open_memory_channel[Key](MAX_ACTIONS_WAITING)
        self.failed_actions = 0
        self.dropped_actions = 0

    async def run(self, database_ready: trio.Event) -> None:
        """Check until cancelled."""
        with trio.move_on_after(RESTORE_SECONDS):
            await database_ready.wait()
            await self.synchronize()
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_ACTIONS_AT_ONCE):
                nursery.start_soon(self._act)
            nursery.start_soon(self._keep_synchronized, database_ready)
            while True:
                self.check()
                await trio.sleep(self._settings.check_interval_ms / 1000)

    async def _keep_synchronized(self, database_ready: trio.Event) -> None:
        await database_ready.wait()
        while True:
            await self.synchronize()
            await trio.sleep(SAVE_SECONDS)

    def check(self) -> None:
        """Check every rule once, against the live windows."""
        now = self._now()
        self._live.observe(now.wall / 1_000_000, now.steady)
        for rule in self._settings.rules:
            if rule.enabled:
                self._check(rule, now)

    @property
    def active(self) -> list[Alert]:
        """The alerts that are not resolved."""
        return [s.alert for s in self._states.values() if s.alert.status != RESOLVED]

    def _now(self) -> Now:
        wall, steady = self._clocks()
        return Now(round(wall * 1_000_000), steady)

    def _check(self, rule: Rule, now: Now) -> None:
        sums = self._live.window(rule.condition.window)
        value = value_of(rule.condition, sums, now.steady - self._started)
        cooldown = cooldown_seconds(rule, self._settings.default_cooldown_ms)
        outcome = step(rule, cooldown, self._states.get(rule.id), value, now, _new_id)
        if outcome is None:
            return
        state, change = outcome
        self._states[rule.id] = state
        self._keep(state.alert)
        self._announce(state.alert)
        if change is not Change.REOPENED and not (change is Change.RESOLVED and state.silent):
            self._notify(rule, state.alert)

    def _notify(self, rule: Rule, alert: Alert) -> None:
        """Queue the rule's actions. Each keeps its order: "resolved" must not come first."""
        for number, action in enumerate(rule.actions):
            if sum(map(len, self._queues.values())) >= MAX_ACTIONS_WAITING:
                self.dropped_actions += 1
                log.error("too many alert actions wait, one is dropped", rule=rule.name)
                continue
            key = (rule.id, number)
            if key not in self._queues:
                self._queues[key] = deque()
                self._send.send_nowait(key)
            self._queues[key].append((action, alert))

    async def _act(self) -> None:
        while True:
            key = await self._receive.receive()
            while queue := self._queues[key]:
                await self._perform(*queue[0])
                queue.popleft()
            del self._queues[key]

    async def _perform(self, action: Action, alert: Alert) -> None:
        try:
            await perform(action, alert)
        except ActionFailed as error:
            self._say_failed(action, alert, str(error))
        except Exception as error:  # whatever a library comes up with, the others go on
            self._say_failed(action, alert, type(error).__name__)

    def _say_failed(self, action: Action, alert: Alert, why: str) -> None:
        self.failed_actions += 1
        log.error(
            "an alert action failed", action=type(action).__name__, rule=alert.rule_name, why=why
        )

    def _keep(self, alert: Alert) -> None:
        self._unsaved.pop(alert.id, None)
        self._unsaved[alert.id] = alert
        while len(self._unsaved) > MAX_UNSAVED:
            del self._unsaved[next(iter(self._unsaved))]
            log.error("too many alerts wait for the database, the oldest is not saved")

    async def synchronize(self) -> None:
        """Take over what an earlier run left, then save what is new."""
        async with self._synchronizing:
            try:
                if not self._restored:
                    self._restore(await self._archive.latest())
                    self._restored = True
                for alert in list(self._unsaved.values()):
                    await self._save(alert)
                    if self._unsaved.get(alert.id) is alert:
                        del self._unsaved[alert.id]
            except (DatabaseUnavailable, DataRefused) as error:
                if str(error) != self._save_problem:
                    log.warning("alerts can't be saved now, it will be tried again", why=str(error))
                self._save_problem = str(error)
            else:
                self._save_problem = None

    async def _save(self, alert: Alert) -> None:
        try:
            await self._archive.save(alert)
        except DataRefused as error:  # again and again it would be, and hold up the others
            log.error("an alert can't be saved", rule=alert.rule_name, why=str(error))

    def _restore(self, alerts: list[Alert]) -> None:
        """Go on with the alerts that were open; resolve those whose rule is gone."""
        now = self._now()
        rules: dict[str, Rule] = {rule.id: rule for rule in self._settings.rules if rule.enabled}
        for alert in alerts:
            rule = rules.get(alert.rule_id)
            if rule is not None and alert.rule_id not in self._states:
                cooldown = cooldown_seconds(rule, self._settings.default_cooldown_ms)
                full = self._started + WINDOW_SECONDS[rule.condition.window]
                self._states[alert.rule_id] = restore(alert, cooldown, now, full)
            elif alert.status != RESOLVED:  # a rule has at most one
                self._keep(resolved(alert, alert.current_value, now))


def _new_id() -> str:
    return str(uuid4())

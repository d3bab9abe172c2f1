"""The task that checks the rules, keeps their alerts and sets the actions going.

Checking never waits: actions run beside it, a few at a time, and alerts that the database
can't take now are kept and saved later. Each receiver has a queue of its own, and they take turns
action by action. So one that is slow, or asks to be left alone for a while, holds up no other, and
many that are slow hold the others up for one action each, not for all that wait for them.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from uuid import uuid4

import structlog
import trio
from attrs import define

from aegisd.alerts.actions import ActionFailed, perform, receiver_of
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
from aegisd.errors import DatabaseUnavailable, DataRefused
from aegisd.events.units import SECOND_US
from aegisd.live import LiveState

MAX_ACTIONS_WAITING = 200  # for one receiver
MAX_ACTIONS_AT_ONCE = 8
MAX_TRIES = 3
"""Of one action, where its receiver has too much to do or a fault."""

MAX_UNSAVED = 1000
SAVE_SECONDS = 1.0
RESTORE_SECONDS = 10.0  # then the rules are checked without what an earlier run left

log = structlog.get_logger()


@define
class Waiting:
    """An action that is still to be done."""

    action: Action
    alert: Alert
    tries: int = 0


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
        self._queues: dict[str, deque[Waiting]] = {}  # by receiver
        # each receiver is in it at most once, and the rules name them all
        self._send, self._receive = trio.open_memory_channel[str](inf)
        self.failed_actions = 0
        self.dropped_actions = 0

    async def run(self, database_ready: trio.Event) -> None:
        """Check until cancelled."""
        with trio.move_on_after(RESTORE_SECONDS):
            await database_ready.wait()
            await self.synchronize()
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_ACTIONS_AT_ONCE):
                nursery.start_soon(self._act, nursery)
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
        self._live.advance(now.wall / SECOND_US, now.steady)
        for rule in self._settings.rules:
            if rule.enabled:
                self._check(rule, now)

    @property
    def active(self) -> list[Alert]:
        """The alerts that are not resolved."""
        return [s.alert for s in self._states.values() if s.alert.status != RESOLVED]

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
        self._keep(state.alert)
        self._announce(state.alert)
        if change is not Change.REOPENED and not (change is Change.RESOLVED and state.silent):
            self._notify(rule, state.alert)

    def _notify(self, rule: Rule, alert: Alert) -> None:
        """Queue the rule's actions. Each keeps its order: "resolved" must not come first."""
        for action in rule.actions:
            receiver = receiver_of(action)
            queue = self._queues.get(receiver)
            if queue is None:
                queue = self._queues[receiver] = deque()
                self._send.send_nowait(receiver)
            if len(queue) >= MAX_ACTIONS_WAITING:
                self.dropped_actions += 1
                log.error("too many alert actions wait, one is dropped", rule=rule.name)
                continue
            queue.append(Waiting(action, alert))

    async def _act(self, nursery: trio.Nursery) -> None:
        while True:
            receiver = await self._receive.receive()
            queue = self._queues[receiver]
            pause = await self._perform(queue[0])
            if pause is not None:
                nursery.start_soon(self._go_on_after, pause, receiver)
                continue
            queue.popleft()
            if queue:
                self._send.send_nowait(receiver)
            else:
                del self._queues[receiver]

    async def _go_on_after(self, pause: float, receiver: str) -> None:
        await trio.sleep(pause)
        self._send.send_nowait(receiver)

    async def _perform(self, waiting: Waiting) -> float | None:
        """Do an action; where it is to be tried again, after how many seconds."""
        action, alert = waiting.action, waiting.alert
        waiting.tries += 1
        try:
            await perform(action, alert)
        except ActionFailed as error:
            if error.again_after is not None and waiting.tries < MAX_TRIES:
                log.warning(
                    "an alert action is tried again later",
                    action=type(action).__name__,
                    rule=alert.rule_name,
                    why=str(error),
                    seconds=round(error.again_after),
                )
                return error.again_after
            self._say_failed(action, alert, str(error))
        except Exception as error:  # whatever a library comes up with, the others go on
            self._say_failed(action, alert, type(error).__name__)
        return None

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

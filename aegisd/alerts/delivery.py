"""Delivers the actions of alerts: one queue for each receiver, and eight workers.

- The actions of one receiver run one after the other, in the order in which they were queued:
  "resolved" must not arrive before "triggered".
- A worker runs one action of a receiver, then that receiver queues up behind the others. So many
  slow receivers delay the others by one action each, and not by all that is queued for them.
- A receiver that answers "too much to do" (429) or has a fault (5xx) is left alone for a while, and
  its first action is tried again, three times in all. Meanwhile no worker waits for it.

Invariant: a receiver with queued actions is in one place only. It waits in ``_turns``, or a worker
runs its first action, or it is in a pause.
"""

from collections import deque
from math import inf

import structlog
import trio
from attrs import define

from aegisd.alerts.actions import ActionFailed, perform, receiver_of
from aegisd.alerts.alert import Alert
from aegisd.config.settings import Action, Rule

MAX_QUEUED_ACTIONS = 200
"""For one receiver."""

MAX_ACTIONS_AT_ONCE = 8

MAX_TRIES = 3
"""Of one action, where its receiver has too much to do or a fault."""

log = structlog.get_logger()


@define
class QueuedAction:
    """An action that is still to be done."""

    action: Action
    alert: Alert
    tries: int = 0


class Delivery:
    """The queues of all receivers. ``failed`` and ``dropped`` count actions since the start."""

    def __init__(self) -> None:
        self.failed = 0
        self.dropped = 0
        self._queues: dict[str, deque[QueuedAction]] = {}  # by receiver, none is empty
        # unbounded: a receiver is in it at most once, and the rules name all receivers
        self._next_turn, self._turns = trio.open_memory_channel[str](inf)

    def add(self, rule: Rule, alert: Alert) -> None:
        """Queue the rule's actions for this alert."""
        for action in rule.actions:
            receiver = receiver_of(action)
            queue = self._queues.get(receiver)
            if queue is None:
                queue = self._queues[receiver] = deque()
                self._next_turn.send_nowait(receiver)
            if len(queue) >= MAX_QUEUED_ACTIONS:
                self.dropped += 1
                log.error("too many alert actions wait, one is dropped", rule=rule.name)
                continue
            queue.append(QueuedAction(action, alert))

    async def run(self) -> None:
        """Run the queued actions until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_ACTIONS_AT_ONCE):
                nursery.start_soon(self._work, nursery)

    async def _work(self, nursery: trio.Nursery) -> None:
        while True:
            receiver = await self._turns.receive()
            queue = self._queues[receiver]
            pause = await self._try(queue[0])
            if pause is not None:
                nursery.start_soon(self._resume_after, pause, receiver)
                continue
            queue.popleft()
            if queue:
                self._next_turn.send_nowait(receiver)
            else:
                del self._queues[receiver]

    async def _resume_after(self, pause: float, receiver: str) -> None:
        await trio.sleep(pause)
        self._next_turn.send_nowait(receiver)

    async def _try(self, queued: QueuedAction) -> float | None:
        """Do an action; None when that is over, else the seconds until it is tried again."""
        action, alert = queued.action, queued.alert
        queued.tries += 1
        try:
            await perform(action, alert)
        except ActionFailed as error:
            if error.again_after is not None and queued.tries < MAX_TRIES:
                log.warning(
                    "an alert action is tried again later",
                    action=type(action).__name__,
                    rule=alert.rule_name,
                    why=str(error),
                    seconds=round(error.again_after),
                )
                return error.again_after
            self._count_failure(action, alert, str(error))
        except Exception as error:  # a library's unforeseen error must not end the other actions
            self._count_failure(action, alert, type(error).__name__)
        return None

    def _count_failure(self, action: Action, alert: Alert, why: str) -> None:
        self.failed += 1
        log.error(
            "an alert action failed", action=type(action).__name__, rule=alert.rule_name, why=why
        )

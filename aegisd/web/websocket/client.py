"""What waits to be sent to one client.

A slow client costs no memory: of the metrics messages only the latest waits, in place of one that
was not sent yet. Of alerts the latest MAX_ALERTS_WAITING wait.
"""

from collections import deque

import trio
from attrs import define, field

ALERTS = "alerts"
INITIAL_TOPICS = frozenset({"overview", ALERTS})

MAX_ALERTS_WAITING = 100
"""For one client; the oldest gives way."""


@define(eq=False)
class Client:
    """What one client wants, and what waits to be sent to it."""

    topics: frozenset[str] = INITIAL_TOPICS
    _latest: str | None = None
    _alerts: deque[str] = field(factory=lambda: deque(maxlen=MAX_ALERTS_WAITING))
    _pending: trio.Event = field(factory=trio.Event)

    def subscribe(self, topics: frozenset[str]) -> None:
        """Change the topics. The metrics message that waits has the old ones: it is dropped."""
        self.topics = topics
        self._latest = None

    def put_latest(self, message: str) -> None:
        """Replace the metrics message that waits."""
        self._latest = message
        self._pending.set()

    def add_alert(self, message: str) -> None:
        """Add an alert's message to those that wait."""
        self._alerts.append(message)
        self._pending.set()

    async def wait(self) -> None:
        """Wait until something waits."""
        await self._pending.wait()
        self._pending = trio.Event()

    def take(self) -> str | None:
        """The next message to send, alerts first; None where nothing waits."""
        if self._alerts:
            return self._alerts.popleft()
        latest, self._latest = self._latest, None
        return latest

"""One client: what it wants, what it has got, and how it is written to."""

from collections.abc import Callable

from attrs import define

from aegisd.web.websocket.messages import Message
from aegisd.web.websocket.outbox import Outbox
from aegisd.web.websocket.requests import ALERTS

INITIAL_TOPICS = frozenset({"overview", ALERTS})


@define(eq=False)
class Client:
    """A client of the hub. ``allowed`` says whether it may still be served.

    ``close`` sends a close frame, ``abort`` ends it without one.
    """

    network: str
    outbox: Outbox
    compressed: bool
    allowed: Callable[[], bool]
    close: Callable[[int, str, str], None]
    abort: Callable[[str], None]
    topics: frozenset[str] = INITIAL_TOPICS
    delta: bool = False
    base: int | None = None  # the refresh that its last metrics showed, where it gets changes
    alerts: int = 0  # the number of the last alert that it was sent
    updated: float = 0.0  # when it last could be sent metrics
    heard: float = 0.0  # when a byte last came from it
    pinged: float = 0.0

    def send(self, *messages: Message) -> None:
        """Send messages, in one write."""
        self.outbox.send(b"".join(m.compressed if self.compressed else m.plain for m in messages))

"""All WebSocket clients, and the messages that are made for them.

Once an interval the hub makes a snapshot, and gives each client the latest message. A topic is made
once for all clients that subscribe to it.

A client that subscribes gets a message at once. Of these, MAX_EXTRA_SNAPSHOTS an interval are made
anew; then the latest snapshot is sent again. That bounds what subscribing over and over costs.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from aegisd.alerts import Alert, as_json
from aegisd.config.settings import WebSocket
from aegisd.live import LiveState
from aegisd.times import rfc3339
from aegisd.web.http import to_json
from aegisd.web.websocket.client import ALERTS, Client
from aegisd.web.websocket.topics import Snapshot

MAX_EXTRA_SNAPSHOTS = 5


class Hub:
    """The clients, and the task that sends to them.

    ``advance`` moves the live state to now, and returns the time in microseconds since 1970.
    """

    def __init__(self, live: LiveState, advance: Callable[[], int], settings: WebSocket) -> None:
        self._live = live
        self._advance = advance
        self._clients: set[Client] = set()
        self._per_network: Counter[str] = Counter()
        self._interval = settings.update_interval_ms / 1000
        self._limit = settings.max_connections_per_ip
        self._snapshot: Snapshot | None = None
        self._extra_left = MAX_EXTRA_SNAPSHOTS
        self._first_client = trio.Event()

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    async def run(self) -> None:
        """Publish every interval until cancelled; sleep while there is no client."""
        next_time = trio.current_time()
        while True:
            if not self._clients:
                self._first_client = trio.Event()
                await self._first_client.wait()
                next_time = trio.current_time()
            next_time = max(next_time + self._interval, trio.current_time())
            await trio.sleep_until(next_time)
            self._publish()

    def _publish(self) -> None:
        self._snapshot = Snapshot(self._live, self._advance())
        self._extra_left = MAX_EXTRA_SNAPSHOTS
        messages: dict[frozenset[str], str] = {}
        for client in self._clients:
            if client.topics not in messages:
                messages[client.topics] = self._snapshot.message(client.topics)
            client.put_latest(messages[client.topics])

    def message(self, topics: frozenset[str]) -> str:
        """A metrics message with these topics, at most an interval old."""
        if self._snapshot is None or self._extra_left:
            self._snapshot = Snapshot(self._live, self._advance())
            self._extra_left -= 1
        return self._snapshot.message(topics)

    def announce(self, alert: Alert) -> None:
        """Send an alert at once to every client that wants alerts."""
        message = to_json(
            {"type": "alert", "timestamp": rfc3339(self._advance()), "data": as_json(alert)}
        )
        for client in self._clients:
            if ALERTS in client.topics:
                client.add_alert(message)

    def has_room(self, network: str) -> bool:
        """Whether another client may come from this network."""
        return self._per_network[network] < self._limit

    @contextmanager
    def joined(self, network: str) -> Iterator[Client]:
        """Add a client from this network for as long as the block lasts."""
        client = Client()
        self._clients.add(client)
        self._first_client.set()
        self._per_network[network] += 1
        try:
            yield client
        finally:
            self._clients.remove(client)
            self._per_network[network] -= 1
            if not self._per_network[network]:
                del self._per_network[network]

"""All WebSocket clients, and what is sent to them.

Once an interval the hub refreshes the topics and writes to each client whose socket has sent on all
that was written to it before. A client that is slower is passed over: it gets the newest state at a
later tick, never a backlog, and costs the others nothing. After SLOW_SECONDS of that it is ended.
The round over the clients pauses after every SLICE_CLIENTS, so that other tasks run.

A client that subscribes gets metrics at once. Of these, MAX_EXTRA_REFRESHES an interval are made
anew; then the last ones are sent again. That bounds what subscribing over and over costs.

Alerts go out at once, in a round of their own.
"""

import select
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import trio
from wsproto.frame_protocol import CloseReason

from aegisd.alerts import Alert, as_json
from aegisd.config.settings import WebSocket
from aegisd.errors import DatabaseUnavailable, DataRefused
from aegisd.live import LiveState
from aegisd.store.database import Busy
from aegisd.times import rfc3339
from aegisd.web.http import HttpError, to_json
from aegisd.web.websocket.client import Client
from aegisd.web.websocket.messages import PING, Message
from aegisd.web.websocket.recent import RecentAlerts
from aegisd.web.websocket.requests import ALERTS, Subscribe, subscribed
from aegisd.web.websocket.topics import Board

MAX_CLIENTS = 1024
"""An update costs some 30 µs each (bench/README.md): for all, 3 % of a core at one a second."""

MAX_EXTRA_REFRESHES = 5
SLOW_SECONDS = 30
SLICE_CLIENTS = 50
"""Other tasks run after so many writes, some 1.5 ms."""

PING_SECONDS = 30
CLIENT_SILENCE_SECONDS = 60
WATCH_SECONDS = 1
STOP_SECONDS = 2
RECALL_SECONDS = 5

Recall = Callable[[str], Awaitable[list[Alert]]]


class Hub:
    """The clients, and the tasks that send to them.

    ``advance`` moves the live state to now, and returns the time in microseconds since 1970.
    ``recall`` gives the stored alerts that changed since one, by its id.
    """

    def __init__(
        self,
        live: LiveState,
        advance: Callable[[], int],
        recall: Recall,
        settings: WebSocket,
        limit: int = MAX_CLIENTS,
    ) -> None:
        self._advance = advance
        self._recall = recall
        self._board = Board(live)
        self._recent = RecentAlerts()
        self._clients: dict[int, Client] = {}  # by its socket's descriptor
        self._poll = select.poll()
        self._per_network: Counter[str] = Counter()
        self._interval = settings.update_interval_ms / 1000
        self._network_limit = settings.max_connections_per_ip
        self._limit = limit
        self._extra_left = MAX_EXTRA_REFRESHES
        self._changed = trio.Event()  # a client came, or the last one left
        self._announced = trio.Event()
        self._stopping = False
        self.refused: Counter[str] = Counter()
        """Messages answered with an error, connections ended, updates passed over; by reason."""

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    async def run(self) -> None:
        """Send every interval, and alerts at once, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_alerts)
            nursery.start_soon(self._watch)
            await self._send_metrics()

    async def _send_metrics(self) -> None:
        next_time = trio.current_time()
        while True:
            while not self._clients:
                await self._wait_for_change()
                next_time = trio.current_time()
            next_time = max(next_time + self._interval, trio.current_time())
            await trio.sleep_until(next_time)
            await self._publish()

    async def _publish(self) -> None:
        self._refresh()
        self._extra_left = MAX_EXTRA_REFRESHES
        now = trio.current_time()
        for number, (fd, event) in enumerate(self._poll.poll(0), 1):
            client = self._clients.get(fd)  # it may have left during a pause
            if client is not None and event & select.POLLOUT and client.outbox.idle:
                client.updated = now
                self._send_update(client)
            if number % SLICE_CLIENTS == 0:
                await trio.lowlevel.checkpoint()
        for client in [each for each in self._clients.values() if each.updated < now]:
            self.refused["skipped_updates"] += 1
            if now - client.updated > SLOW_SECONDS:
                client.abort("too_slow")

    async def _watch(self) -> None:
        """Ping clients; end the silent, whose peer may have left, and those whose session ended."""
        while True:
            await trio.sleep(WATCH_SECONDS)
            now = trio.current_time()
            for client in list(self._clients.values()):
                if not client.allowed():
                    why = "the session has ended"
                    client.close(CloseReason.POLICY_VIOLATION, why, "session_ended")
                elif now - client.heard >= CLIENT_SILENCE_SECONDS:
                    why = f"nothing was heard for {CLIENT_SILENCE_SECONDS} s"
                    client.close(CloseReason.POLICY_VIOLATION, why, "silent")
                elif now - client.pinged >= PING_SECONDS:
                    client.pinged = now
                    client.outbox.send(PING)

    def _refresh(self) -> None:
        self._board.refresh(self._advance())

    def _send_update(self, client: Client) -> None:
        message = self._board.message(client.topics, client.base)
        if client.delta:
            client.base = self._board.number
        client.outbox.send(message.compressed if client.compressed else message.plain)

    def _send_first(self, client: Client) -> None:
        """Send metrics, whole and at most an interval old."""
        if self._extra_left or not self._board.number:
            self._refresh()
            self._extra_left -= 1
        client.base = None
        self._send_update(client)

    async def subscribe(self, client: Client, wanted: Subscribe) -> None:
        """Change what a client gets; answer with all topics, the alerts it missed, and metrics."""
        recalled = [] if wanted.since is None else await self._recalled(wanted.since)
        on = {topic for topic, value in wanted.topics.items() if value}
        client.topics = client.topics.difference(wanted.topics) | on
        if wanted.delta is not None:
            client.delta = wanted.delta
        missed: list[Message] = []
        if wanted.since is not None and ALERTS in client.topics:
            # remembered ones are newer than what was read, also than what changed meanwhile
            stored = [_alert(a, self._advance()) for a in recalled if a.id not in self._recent]
            missed = [*stored, *self._recent.since(wanted.since)]
        client.send(Message(subscribed(client.topics)), *missed)
        self._send_first(client)

    async def _recalled(self, since: str) -> list[Alert]:
        """The stored alerts that changed since one that is not remembered; none if it is away."""
        if since in self._recent:
            return []
        with trio.move_on_after(RECALL_SECONDS):
            try:
                return await self._recall(since)
            except (DatabaseUnavailable, DataRefused, Busy):
                pass
        return []

    def announce(self, alert: Alert) -> None:
        """Send an alert at once to every client that wants alerts."""
        self._recent.add(alert.id, _alert(alert, self._advance()))
        self._announced.set()

    async def _send_alerts(self) -> None:
        while True:
            await self._announced.wait()
            self._announced = trio.Event()
            for number, fd in enumerate(list(self._clients), 1):
                client = self._clients.get(fd)
                if client is not None:
                    self._send_new_alerts(client)
                if number % SLICE_CLIENTS == 0:
                    await trio.lowlevel.checkpoint()

    def _send_new_alerts(self, client: Client) -> None:
        if ALERTS in client.topics and (messages := self._recent.after(client.alerts)):
            client.send(*messages)
        client.alerts = self._recent.newest

    def check_room(self, network: str) -> None:
        """Raise HttpError where no other client may come, from this network or at all."""
        if self._stopping or len(self._clients) >= self._limit:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too_many_connections",
                f"there are {len(self._clients)} WebSocket clients, try again later",
            )
        if self._per_network[network] >= self._network_limit:
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_connections",
                "too many WebSocket connections from this address",
            )

    @contextmanager
    def joined(self, client: Client) -> Iterator[None]:
        """Add a client for as long as the block lasts, and send it metrics."""
        fd = client.outbox.fd
        client.updated = client.heard = client.pinged = trio.current_time()
        client.alerts = self._recent.newest
        self._poll.register(fd, select.POLLOUT)
        self._clients[fd] = client
        self._per_network[client.network] += 1
        self._changed.set()
        try:
            self._send_first(client)
            yield
        finally:
            self._poll.unregister(fd)
            del self._clients[fd]
            self._per_network[client.network] -= 1
            if not self._per_network[client.network]:
                del self._per_network[client.network]
            self._changed.set()

    async def stop(self) -> None:
        """Close all connections, and wait for that, for STOP_SECONDS at most."""
        self._stopping = True
        for client in list(self._clients.values()):
            client.close(CloseReason.GOING_AWAY, "the daemon stops", "")
        with trio.move_on_after(STOP_SECONDS):
            while self._clients:
                await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()


def _alert(alert: Alert, now: int) -> Message:
    """An alert's message, as of ``now``, in microseconds since 1970."""
    return Message(to_json({"type": "alert", "timestamp": rfc3339(now), "data": as_json(alert)}))

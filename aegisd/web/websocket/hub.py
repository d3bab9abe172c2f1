"""All WebSocket clients, and what is sent to them.

Once an interval the hub refreshes the topics and writes to each client whose socket has sent on all
that was written to it before. A client that is slower is passed over: it gets the newest state at a
later tick, never a backlog, and costs the others nothing. After SLOW_SECONDS of that it is ended.
The round over the clients pauses every SLICE_SECONDS, so that other tasks run.

A client that subscribes gets metrics at once. Of these, MAX_EXTRA_REFRESHES an interval are made
anew; then the last ones are sent again. That bounds what subscribing over and over costs.

Alerts go out at once, in a round of their own.
"""

import select
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from time import perf_counter

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
from aegisd.web.websocket.messages import Message
from aegisd.web.websocket.recent import RecentAlerts
from aegisd.web.websocket.requests import ALERTS, Subscribe, subscribed
from aegisd.web.websocket.topics import Board

MAX_CLIENTS = 1024
"""Each costs some 25 KiB and, an update, some 10 µs."""

MAX_EXTRA_REFRESHES = 5
SLOW_SECONDS = 30
SLICE_SECONDS = 0.002
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
        self._clients: dict[Client, int] = {}  # and its descriptor
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
        writable = {fd for fd, event in self._poll.poll(0) if event & select.POLLOUT}
        now = trio.current_time()

        def visit(client: Client, fd: int) -> None:
            if fd in writable and client.outbox.idle:
                client.updated = now
                self._send_update(client)
                return
            self.refused["skipped_updates"] += 1
            if now - client.updated > SLOW_SECONDS:
                client.abort("too_slow")

        await self._round(visit)

    async def _round(self, visit: Callable[[Client, int], None]) -> None:
        """Visit each client; other tasks run between two slices."""
        end = perf_counter() + SLICE_SECONDS
        for client, fd in list(self._clients.items()):
            if client in self._clients:  # it may have left during a pause
                visit(client, fd)
            if perf_counter() > end:
                await trio.lowlevel.checkpoint()
                end = perf_counter() + SLICE_SECONDS

    def _refresh(self) -> None:
        self._board.refresh(self._advance())

    def _send_update(self, client: Client, *before: Message) -> None:
        """Send metrics, after these messages."""
        message = self._board.message(client.topics, client.base)
        if client.delta:
            client.base = self._board.number
        client.send(*before, message)

    def _send_first(self, client: Client, *before: Message) -> None:
        """Send metrics, whole and at most an interval old, after these messages."""
        if self._extra_left or not self._board.number:
            self._refresh()
            self._extra_left -= 1
        client.base = None
        self._send_update(client, *before)

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
        self._send_first(client, Message(subscribed(client.topics)), *missed)

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
            await self._round(self._send_new_alerts)

    def _send_new_alerts(self, client: Client, _: int) -> None:
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
        client.updated = trio.current_time()
        client.alerts = self._recent.newest
        self._poll.register(fd, select.POLLOUT)
        self._clients[client] = fd
        self._per_network[client.network] += 1
        self._changed.set()
        try:
            self._send_first(client)
            yield
        finally:
            self._poll.unregister(fd)
            del self._clients[client]
            self._per_network[client.network] -= 1
            if not self._per_network[client.network]:
                del self._per_network[client.network]
            self._changed.set()

    async def stop(self) -> None:
        """Close all connections, and wait for that, for STOP_SECONDS at most."""
        self._stopping = True
        for client in list(self._clients):
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

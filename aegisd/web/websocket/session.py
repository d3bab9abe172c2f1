"""Pushes live figures to dashboards over WebSocket.

The hub makes each topic once an interval, whoever subscribes to it, and puts the message into
each client's slot. For those who subscribe in between it makes them a few times more, and then
sends the latest again: so nobody can have them made over and over. A slot holds the latest message
only: a slow client misses some and costs nothing. Alerts wait in a short queue of their own.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import trio
from attrs import define, field
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_server_stream,
)

from aegisd.alerts import Alert, as_json
from aegisd.config.settings import WebSocket
from aegisd.live import LiveState, Overview, Series
from aegisd.store.history import Range
from aegisd.times import rfc3339
from aegisd.web import views
from aegisd.web.http.message import to_json

TOPICS = (
    "overview",
    "requestRate",
    "latencyPercentiles",
    "statusDistribution",
    "topEndpoints",
    "backends",
)
ALERTS = "alerts"
FROM_THE_START = frozenset({"overview", ALERTS})

MOMENTS = 5
"""Times in an interval that figures are made anew for somebody who subscribes. It bounds what
subscribing costs; beyond, the latest are sent again."""

TOP_ENDPOINTS = 10
MAX_ALERTS_WAITING = 100
MAX_MESSAGE_BYTES = 4096  # a subscription is a few hundred
HANDSHAKE_SECONDS = 10
SEND_SECONDS = 10
PING_SECONDS = 30
SILENCE_SECONDS = 60
CLOSE_SECONDS = 2


@define(eq=False)
class Client:
    """What waits for one client."""

    topics: frozenset[str] = FROM_THE_START
    latest: str | None = None
    alerts: deque[str] = field(factory=lambda: deque(maxlen=MAX_ALERTS_WAITING))
    something: trio.Event = field(factory=trio.Event)

    def wake(self) -> None:
        """Something waits."""
        self.something.set()

    async def wait(self) -> None:
        """Until something waits."""
        await self.something.wait()
        self.something = trio.Event()


class Moment:
    """The topics as of ``now`` (microseconds since 1970), each made when it is first asked for."""

    def __init__(self, live: LiveState, now: int) -> None:
        self._live = live
        self._now = now
        self._made: dict[str, str] = {}

    def message(self, topics: frozenset[str]) -> str:
        """A metrics message with these topics."""
        wanted = [topic for topic in TOPICS if topic in topics]
        data = ",".join(f'"{topic}":{self._topic(topic)}' for topic in wanted)
        return f'{{"type":"metrics","timestamp":"{rfc3339(self._now)}","data":{{{data}}}}}'

    def _topic(self, topic: str) -> str:
        if topic not in self._made:
            self._made[topic] = to_json(self._figures(topic))
        return self._made[topic]

    def _figures(self, topic: str) -> Any:
        match topic:
            case "overview":
                return views.overview(self._overview)
            case "requestRate":
                return views.live_request_rate(*self._series)
            case "latencyPercentiles":
                return views.live_latency(*self._series)
            case "statusDistribution":
                return views.live_status_distribution(*self._series)
            case "topEndpoints":
                return views.live_endpoints(self._live.top_endpoints(TOP_ENDPOINTS))
            case _:
                return views.backends(self._overview.backends)

    @cached_property
    def _overview(self) -> Overview:
        return self._live.overview()

    @cached_property
    def _series(self) -> tuple[Range, Series]:
        return views.live_series(self._live, self._now)


class Hub:
    """All clients, and what they are sent.

    ``now`` moves the live state on, and gives the time in microseconds since 1970.
    """

    def __init__(self, live: LiveState, now: Callable[[], int], settings: WebSocket) -> None:
        self._live = live
        self._now = now
        self._clients: set[Client] = set()
        self._per_address: Counter[str] = Counter()
        self._interval = settings.update_interval_ms / 1000
        self._limit = settings.max_connections_per_ip
        self._moment: Moment | None = None
        self._left = MOMENTS
        self._somebody = trio.Event()

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    async def run(self) -> None:
        """Send to all, every interval, until cancelled."""
        next_time = trio.current_time()
        while True:
            if not self._clients:
                self._somebody = trio.Event()
                await self._somebody.wait()
                next_time = trio.current_time()
            next_time = max(next_time + self._interval, trio.current_time())
            await trio.sleep_until(next_time)
            self._publish()

    def _publish(self) -> None:
        self._moment, self._left = Moment(self._live, self._now()), MOMENTS
        messages: dict[frozenset[str], str] = {}
        for client in self._clients:
            if client.topics not in messages:
                messages[client.topics] = self._moment.message(client.topics)
            client.latest = messages[client.topics]
            client.wake()

    def message(self, topics: frozenset[str]) -> str:
        """A metrics message with these topics, as of now or of within an interval."""
        if self._moment is None or self._left:
            self._moment = Moment(self._live, self._now())
            self._left -= 1
        return self._moment.message(topics)

    def announce(self, alert: Alert) -> None:
        """Send an alert to all who want alerts, at once."""
        message = to_json(
            {"type": "alert", "timestamp": rfc3339(self._now()), "data": as_json(alert)}
        )
        for client in self._clients:
            if ALERTS in client.topics:
                client.alerts.append(message)
                client.wake()

    def has_room(self, address: str) -> bool:
        """Whether one more client may come from this address."""
        return self._per_address[address] < self._limit

    @contextmanager
    def joined(self, address: str) -> Iterator[Client]:
        """A new client from this address, for as long as the block lasts."""
        client = Client()
        self._clients.add(client)
        self._somebody.set()
        self._per_address[address] += 1
        try:
            yield client
        finally:
            self._clients.remove(client)
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]


async def serve_websocket(stream: trio.abc.Stream, address: str, hub: Hub) -> None:
    """One client's session, from the handshake to the end of the connection."""
    with hub.joined(address) as client:
        try:
            await _serve(stream, client, hub)
        except* (ConnectionClosed, HandshakeError):
            pass  # the client broke the protocol, or left, within the handshake


async def _serve(stream: trio.abc.Stream, client: Client, hub: Hub) -> None:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(HANDSHAKE_SECONDS):
            request = await wrap_server_stream(nursery, stream, max_message_size=MAX_MESSAGE_BYTES)
            connection = await request.accept()
        session = Session(connection, client, hub)
        nursery.start_soon(session.send_what_waits)
        nursery.start_soon(session.watch)
        await session.read()
        nursery.cancel_scope.cancel()


class Session:
    """What goes over one connection."""

    def __init__(self, connection: WebSocketConnection, client: Client, hub: Hub) -> None:
        self._connection = connection
        self._client = client
        self._hub = hub
        self._heard = trio.current_time()

    async def read(self) -> None:
        """Answer the client until the connection ends. Reading also answers its pings."""
        try:
            await self._send(self._hub.message(self._client.topics))
            while True:
                message = await self._connection.get_message()
                self._heard = trio.current_time()
                for answer in self._answers(message):
                    await self._send(answer)
        except (ConnectionClosed, HandshakeError, trio.TooSlowError):
            pass

    async def send_what_waits(self) -> None:
        """Send alerts and the latest metrics as they come."""
        client = self._client
        try:
            while True:
                await client.wait()
                while client.alerts:
                    await self._send(client.alerts.popleft())
                latest, client.latest = client.latest, None
                if latest is not None:
                    await self._send(latest)
        except (ConnectionClosed, trio.TooSlowError):
            await self.close()

    async def watch(self) -> None:
        """Ping now and then; close when the client was silent for too long."""
        async with trio.open_nursery() as nursery:
            while trio.current_time() - self._heard < SILENCE_SECONDS:
                nursery.start_soon(self._ping)
                await trio.sleep(PING_SECONDS)
            nursery.cancel_scope.cancel()
        await self.close()

    async def _ping(self) -> None:
        try:
            await self._connection.ping()  # returns with the pong
        except ConnectionClosed:
            return
        self._heard = trio.current_time()

    async def close(self) -> None:
        """End the connection, by the rules where that is quick."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._connection.aclose(1001)

    async def _send(self, message: str) -> None:
        with trio.fail_after(SEND_SECONDS):
            await self._connection.send_message(message)

    def _answers(self, message: str | bytes) -> list[str]:
        try:
            asked = json.loads(message)
        except (ValueError, RecursionError):
            return [_error("bad_message", "not JSON")]
        match asked:
            case {"type": "ping"}:
                return ['{"type":"pong"}']
            case {"type": "subscribe", "data": dict(wanted)}:
                return self._subscribe(wanted)
            case {"type": "subscribe"}:
                return [_error("bad_message", "subscribe needs data, a map of topics")]
        return [_error("unknown_type", "type is subscribe or ping")]

    def _subscribe(self, wanted: dict[str, Any]) -> list[str]:
        known = (*TOPICS, ALERTS)
        for topic, on in wanted.items():
            if topic not in known:
                return [_error("unknown_topic", f"{topic!r} is not one of {' '.join(known)}")]
            if not isinstance(on, bool):
                return [_error("bad_message", f"{topic} is true or false")]
        on = {topic for topic, value in wanted.items() if value}
        self._client.topics = self._client.topics.difference(wanted) | on
        self._client.latest = None  # made for the topics until now
        subscribed = {topic: topic in self._client.topics for topic in known}
        return [
            to_json({"type": "subscribed", "data": subscribed}),
            self._hub.message(self._client.topics),
        ]


def _error(code: str, message: str) -> str:
    return to_json({"type": "error", "error": {"code": code, "message": message}})

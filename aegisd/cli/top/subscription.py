"""A daemon's live metrics and open alerts, over its WebSocket.

A connection that ends is made again, after 0.5 s at first and up to 5 s later; until then the last
metrics stay. Alerts come in two ways: ``GET /api/alerts`` lists those that were open before, and
the WebSocket sends each change. What the WebSocket sent over this connection is newer than the
list.
"""

import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import h11
import httpx
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from aegisd.cli.top.api import (
    TOPICS,
    Alert,
    Alerts,
    Message,
    Metrics,
    UnexpectedAnswer,
    parse,
)
from aegisd.cli.top.target import Target
from aegisd.config.load import TOKEN_VARIABLE

CONNECT_SECONDS = 5
FIRST_SECONDS = 10  # for the first metrics; a healthy daemon sends them at once
PING_SECONDS = 5
PONG_SECONDS = 5  # so a daemon is gone after 10 s of silence, as on the dashboard page
CLOSE_SECONDS = 1
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 5.0
ALERTS_RETRY_SECONDS = 10
MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # a message is some 20 KB
MAX_ALERTS = 100
OPEN = ("active", "acknowledged")

LOST = "connection lost, trying again"

_SUBSCRIPTION = json.dumps({"type": "subscribe", "data": dict.fromkeys((*TOPICS, "alerts"), True)})

_REFUSALS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: f"a token is needed, set {TOKEN_VARIABLE} to a valid one",
    HTTPStatus.NOT_FOUND: "it has no WebSocket at this path (dashboard.websocket)",
    HTTPStatus.MISDIRECTED_REQUEST: "the name is not its own, add it to http.allowed_hosts",
    HTTPStatus.TOO_MANY_REQUESTS: "too many connections from here",
}


class NoConnection(Exception):
    """The daemon was never reached; the text says why."""


class AlertsUnavailable(Exception):
    """The daemon can't list its alerts now; the text says why."""


class Subscription:
    """The latest metrics and the open alerts. ``changed`` is called at each change.

    ``notice`` says why there is no connection, ``alerts_notice`` why earlier alerts are not known;
    both are empty where all is well. ``alerts_asked``: the list of alerts was asked for once.
    """

    def __init__(self, target: Target, changed: Callable[[], None]) -> None:
        self._target = target
        self._changed = changed
        self._alerts: dict[str, Alert] = {}
        self._pushed: set[str] = set()  # ids of alerts that came over this connection
        self._subscribed = False  # over this connection
        self.metrics: Metrics | None = None
        self.notice = ""
        self.alerts_notice = ""
        self.alerts_asked = False

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The open alerts."""
        return tuple(self._alerts.values())

    async def run(self) -> None:
        """Follow the daemon until cancelled. Raises NoConnection where it was never reached."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with _connected(self._target) as connection, trio.open_nursery() as nursery:
                    nursery.start_soon(_keep_alive, connection)
                    nursery.start_soon(self._load_alerts)
                    self._subscribed = False
                    await connection.send_message(_SUBSCRIPTION)
                    with trio.fail_after(FIRST_SECONDS):
                        while not (await self._read(connection) == "metrics" and self._subscribed):
                            pass
                    pause = FIRST_PAUSE_SECONDS
                    while True:
                        await self._read(connection)
            except* Exception as group:
                problem = _problem(group)
            if self.metrics is None:
                raise NoConnection(problem)
            self.notice = f"{LOST} ({problem})"
            self._changed()
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _read(self, connection: WebSocketConnection) -> str:
        """Take one message; return its type."""
        text = await connection.get_message()
        message = parse(text, Message)
        match message.type:
            case "metrics" if self._subscribed:  # before, it lacks topics
                self.metrics, self.notice = parse(text, Metrics), ""
                self._changed()
            case "subscribed":
                self._subscribed = True
            case "alert":
                self._take_alert(parse(message.data, Alert))
                self._changed()
            case "error":
                raise UnexpectedAnswer("it doesn't know what was asked for")
        return message.type

    def _take_alert(self, pushed: Alert) -> None:
        self._pushed.add(pushed.id)
        self._alerts.pop(pushed.id, None)
        if pushed.status in OPEN and len(self._alerts) < MAX_ALERTS:
            self._alerts[pushed.id] = pushed

    async def _load_alerts(self) -> None:
        """Ask for the alerts that were open before the connection, until there is an answer."""
        self._pushed.clear()
        while True:
            try:
                listed = [alert for status in OPEN for alert in await self._get_alerts(status)]
            except (httpx.HTTPError, UnexpectedAnswer, AlertsUnavailable) as error:
                reason = str(error) if isinstance(error, AlertsUnavailable) else "no answer"
                self.alerts_notice = f"earlier alerts are not known: {reason}"
            else:
                newer = {id_: a for id_, a in self._alerts.items() if id_ in self._pushed}
                self._alerts = {a.id: a for a in listed if a.id not in self._pushed} | newer
                self.alerts_notice = ""
            self.alerts_asked = True
            self._changed()
            if not self.alerts_notice:
                return
            await trio.sleep(ALERTS_RETRY_SECONDS)

    async def _get_alerts(self, status: str) -> tuple[Alert, ...]:
        url = f"{self._target.url}{self._target.alerts_path}?status={status}&limit={MAX_ALERTS}"
        async with (
            httpx.AsyncClient(
                headers=self._target.headers,
                verify=self._target.tls or False,  # False makes no context: there is no TLS
                timeout=CONNECT_SECONDS,
                trust_env=False,  # the WebSocket takes no proxy either
            ) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                raise AlertsUnavailable("the database is away")
            if response.status_code != HTTPStatus.OK:
                raise AlertsUnavailable(f"HTTP {response.status_code}")
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_MESSAGE_BYTES:
                    raise UnexpectedAnswer("too long")
        return parse(bytes(body), Alerts).data


@asynccontextmanager
async def _connected(target: Target) -> AsyncIterator[WebSocketConnection]:
    """An open connection, which is closed at the end."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(CONNECT_SECONDS):
            stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
            if target.tls is None:
                stream = await trio.open_tcp_stream(target.host, target.port)
            else:
                stream = await trio.open_ssl_over_tcp_stream(
                    target.host, target.port, ssl_context=target.tls, https_compatible=True
                )
                await stream.do_handshake()
            connection = await wrap_client_stream(
                nursery,
                stream,
                target.authority,
                target.websocket_path,
                extra_headers=[(k.encode(), v.encode()) for k, v in target.headers.items()],
                max_message_size=MAX_MESSAGE_BYTES,
            )
        try:
            yield connection
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await connection.aclose()
            nursery.cancel_scope.cancel()


async def _keep_alive(connection: WebSocketConnection) -> None:
    """Ping the daemon, which may send metrics rarely."""
    while True:
        await trio.sleep(PING_SECONDS)
        with trio.fail_after(PONG_SECONDS):
            await connection.ping()


def _problem(error: BaseException) -> str:
    """Why there is no connection, without any text that the other side chose."""
    if isinstance(error, BaseExceptionGroup):
        return _problem(error.exceptions[0])
    cause = error.__cause__
    match error:
        case ConnectionRejected(status_code=status):
            return f"HTTP {status}: {_REFUSALS.get(status, 'refused')}"
        case trio.TooSlowError():
            return "no answer"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted, {error.verify_message}"
        case ConnectionClosed() | HandshakeError():
            return "the connection was closed"
        case trio.BrokenResourceError() if cause is not None:
            return _problem(cause)
        case trio.BrokenResourceError() | trio.ClosedResourceError():
            return "the connection was closed"
        case UnexpectedAnswer() | h11.ProtocolError():  # trio-websocket passes h11's errors on
            return "it doesn't answer as aegisd does"
        case ssl.SSLError():
            return f"TLS fails ({(error.reason or 'unknown').replace('_', ' ').lower()})"
        case socket.gaierror():
            return error.strerror or "the name is not known"
        case OSError(errno=int(number)):
            return os.strerror(number)
        case OSError() if cause is not None:  # every attempt to connect failed: why the first did
            return _problem(cause)
    raise error

"""Takes connections: HTTP by h11, and WebSocket handed over with what was read already.

No library serves both on one port under trio. A request's head is read here, under a deadline
and a limit; where it asks for a WebSocket, the stream goes on with its bytes put in front.
Whatever happens in a connection ends that connection only.
"""

import binascii
import ssl
from base64 import b64decode
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus

import structlog
import trio

from aegisd.web.api import Api
from aegisd.web.http.connections import Connection, Connections
from aegisd.web.http.exchange import HEAD_SECONDS, RECEIVE_BYTES, Exchange
from aegisd.web.http.guard import OPEN_PATHS, Guard
from aegisd.web.http.leaving import while_there
from aegisd.web.http.message import HttpError, Request, bad_request
from aegisd.web.websocket import Hub, serve_websocket

LINGER_SECONDS = 2
LINGER_BYTES = 4 * 1024 * 1024
"""A socket that is closed while the peer still sends resets the connection, and the answer may
be lost with it (RFC 9112, 9.6): so for a while, and for what may be under way, we read on."""

WEBSOCKET_VERSION = "13"
KEY_BYTES = 16

log = structlog.get_logger()


class Server:
    """One listening port."""

    def __init__(
        self,
        api: Api,
        hub: Hub,
        guard: Guard,
        connections: Connections,
        websocket_path: str | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._api = api
        self._hub = hub
        self._guard = guard
        self._connections = connections
        self._websocket_path = websocket_path
        self._tls = tls

    async def connection(self, socket: trio.SocketStream) -> None:
        """Serve one connection; nothing that happens in it gets out, but a cancellation."""
        try:
            # at once: a peer that is gone has no address any more
            peer, local = (
                str(name[0]) for name in (socket.socket.getpeername(), socket.socket.getsockname())
            )
            with self._connections.joined(peer) as connection, connection.scope:
                stream = await self._secured(socket)
                if await self._serve(socket, stream, connection, peer, local):
                    await _linger(socket)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
            pass  # the peer's business
        except* Exception:
            log.exception("a connection ended by a fault of ours")
        finally:
            await trio.aclose_forcefully(socket)

    async def _secured(self, socket: trio.SocketStream) -> trio.abc.Stream:
        if self._tls is None:
            return socket
        stream = trio.SSLStream(socket, self._tls, server_side=True, https_compatible=True)
        with trio.fail_after(HEAD_SECONDS):
            await stream.do_handshake()
        return stream

    async def _serve(
        self,
        socket: trio.SocketStream,
        stream: trio.abc.Stream,
        connection: Connection,
        peer: str,
        local: str,
    ) -> bool:
        """Answer requests; at the end, whether the peer may still be reading an answer."""
        exchange = Exchange(stream)
        while True:
            with ExitStack() as place:
                try:
                    request = await exchange.request(peer, local)
                    if request is None:
                        return False
                    request = self._guard.check(request)
                    if request.path == self._websocket_path:
                        self._check_upgrade(request, connection)
                        place.enter_context(self._connections.place(connection))
                        await serve_websocket(exchange.handed_over(), connection.group, self._hub)
                        return False
                    handler = self._api.handler(request)
                    await exchange.skip_body(request)
                    if request.path not in OPEN_PATHS:
                        place.enter_context(self._connections.place(connection))
                    work = partial(self._api.answer, handler, request)
                    response = await while_there(socket, work)
                except HttpError as error:
                    self._connections.refused[error.code] += 1
                    response = error.response()
                if not await exchange.respond(response):
                    return True

    def _check_upgrade(self, request: Request, connection: Connection) -> None:
        if not request.wants_websocket:
            raise HttpError(
                HTTPStatus.UPGRADE_REQUIRED,
                "upgrade_required",
                f"{request.path} speaks WebSocket",
                {"Upgrade": "websocket"},
            )
        _check_handshake(request)
        self._guard.check_origin(request)
        if not self._hub.has_room(connection.group):
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_connections",
                "too many WebSocket connections from this address",
            )


def _check_handshake(request: Request) -> None:
    """Raise HttpError where it is no handshake by RFC 6455, 4.2.1."""
    headers = request.headers
    if headers.get("sec-websocket-version") != WEBSOCKET_VERSION:
        raise HttpError(
            HTTPStatus.UPGRADE_REQUIRED,
            "bad_version",
            f"Sec-WebSocket-Version takes {WEBSOCKET_VERSION}",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": WEBSOCKET_VERSION},
        )
    if (
        request.method != "GET"
        or request.has_body
        or not all(value.isascii() for value in headers.values())
    ):
        raise bad_request("a handshake is a GET without a body, its headers ASCII")
    tokens = [token.strip() for token in headers.get("connection", "").lower().split(",")]
    if "upgrade" not in tokens or not _is_key(headers):
        raise bad_request("a handshake has Connection: Upgrade and a Sec-WebSocket-Key")


def _is_key(headers: dict[str, str]) -> bool:
    try:
        return len(b64decode(headers.get("sec-websocket-key", ""), validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


async def _linger(socket: trio.SocketStream) -> None:
    read = 0
    with trio.move_on_after(LINGER_SECONDS):
        await socket.send_eof()
        while read < LINGER_BYTES and (piece := await socket.receive_some(RECEIVE_BYTES)):
            read += len(piece)

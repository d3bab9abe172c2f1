"""Serves one port: HTTP/1.1, and WebSocket on one path of it.

h11 reads each request's head; where it asks for a WebSocket, ``websocket`` gets the stream and the
bytes that came behind the head. Hypercorn serves both under trio, too, but has no rules like those
of ``http.connections``, by which health checks are answered beside any crowd of clients.

The order for each request: head, guard, route, what a write needs, body, place, answer. So a
refusal costs no body and no place. A fault in one connection ends that connection only.
"""

import ssl
from contextlib import ExitStack
from functools import partial

import structlog
import trio
from attrs import evolve

from aegisd.web.api import Api
from aegisd.web.http import (
    HEAD_SECONDS,
    OPEN_PATHS,
    RECEIVE_BYTES,
    SAFE_METHODS,
    Connection,
    Connections,
    Exchange,
    Guard,
    HttpError,
    cancel_when_peer_leaves,
    check_handshake,
)
from aegisd.web.websocket import Hub, serve_websocket

LINGER_SECONDS = 2
LINGER_BYTES = 4 * 1024 * 1024
"""Bounds on reading after the last answer. A socket that is closed while the peer still sends
resets the connection, and the peer may lose the answer (RFC 9112, 9.6)."""

log = structlog.get_logger()


class Server:
    """One listening port; ``connection`` is called for each connection."""

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
        """Serve one connection; raises nothing but cancellations."""
        try:
            # first of all: a socket whose peer has left has no addresses any more
            peer, local = (
                str(name[0]) for name in (socket.socket.getpeername(), socket.socket.getsockname())
            )
            with self._connections.joined(peer) as connection, connection.scope:
                stream = await self._secure(socket)
                if await self._serve(socket, stream, connection, peer, local):
                    await _linger(socket)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
            pass  # the peer left or is too slow
        except* Exception:
            log.exception("a connection ended by a fault of ours")
        finally:
            await trio.aclose_forcefully(socket)

    async def _secure(self, socket: trio.SocketStream) -> trio.abc.Stream:
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
        """Answer requests; return whether the peer may still be reading an answer at the end."""
        exchange = Exchange(stream)
        while True:
            with ExitStack() as place:
                try:
                    request = await exchange.request(peer, local)
                    if request is None:
                        return False
                    request = self._guard.check(request)
                    if request.path == self._websocket_path:
                        check_handshake(request)
                        self._guard.check_origin(request)
                        self._hub.check_room(connection.network)
                        self._connections.leave(connection)
                        network, early = connection.network, exchange.early
                        await serve_websocket(request, early, stream, socket, network, self._hub)
                        return False
                    request, handler = self._api.route(request)
                    if request.method not in SAFE_METHODS:
                        self._guard.check_write(request)
                    request = evolve(request, body=await exchange.body(request))
                    if request.path not in OPEN_PATHS:
                        place.enter_context(self._connections.place(connection))
                    work = partial(self._api.answer, handler, request)
                    response = await cancel_when_peer_leaves(socket, work)
                except HttpError as error:
                    self._connections.refused[error.code] += 1
                    response = error.response()
                if not await exchange.respond(response):
                    return True


async def _linger(socket: trio.SocketStream) -> None:
    """Send the end of our side, and read until the peer's end, within bounds."""
    received = 0
    with trio.move_on_after(LINGER_SECONDS):
        await socket.send_eof()
        while received < LINGER_BYTES and (chunk := await socket.receive_some(RECEIVE_BYTES)):
            received += len(chunk)

"""Serves one port: HTTP/1.1, and WebSocket on one path of it.

h11 reads each request's head; where it asks for a WebSocket, ``websocket`` gets the stream and the
bytes that came behind the head. Hypercorn serves both under trio, too, but has no rules like those
of ``http.connections``, by which health checks are answered beside any crowd of clients.

The order for each request: head, guard, route, what a write needs, body, place, answer. So a
refusal costs no body and no place, and an answer that is there already costs no place. A fault in
one connection ends that connection only.
"""

import ssl
from contextlib import nullcontext
from functools import partial

import structlog
import trio
from attrs import evolve

from aegisd.web.access import HEALTH_PATHS, Guard
from aegisd.web.api import Api
from aegisd.web.http import (
    HEAD_SECONDS,
    RECEIVE_BYTES,
    SAFE_METHODS,
    Connection,
    Connections,
    Cors,
    Exchange,
    HttpError,
    KeptHandler,
    Request,
    Response,
    cancel_when_peer_leaves,
    check_handshake,
    network_of,
    plain_address,
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
        cors: Cors,
    ) -> None:
        self._api = api
        self._hub = hub
        self._guard = guard
        self._connections = connections
        self._websocket_path = websocket_path
        self._tls = tls
        self._cors = cors

    async def connection(self, socket: trio.SocketStream) -> None:
        """Serve one connection; raises nothing but cancellations."""
        try:
            # first of all: a socket whose peer has left has no addresses any more
            peer, local = (
                plain_address(name[0])
                for name in (socket.socket.getpeername(), socket.socket.getsockname())
            )
            joined = self._connections.joined(peer, proxy=self._guard.trusts(peer))
            with joined as connection, connection.scope:
                stream = await self._secure(socket)
                if await self._serve(socket, stream, connection, peer, local):
                    await _linger(socket)
        except* trio.TooSlowError:  # it reads no answer, or does not go on with TLS
            self._connections.refused["too_slow"] += 1
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the peer left
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
            request = None
            try:
                request = await exchange.request(peer, local)
                if request is None:
                    return False
                if request.path == self._websocket_path:
                    asked = self._guard.check(request)
                    self._check_upgrade(asked)
                    self._connections.leave(connection)
                    network, early = network_of(asked.peer), exchange.early
                    allowed = partial(self._guard.still_allows, asked)
                    await serve_websocket(asked, early, stream, socket, network, self._hub, allowed)
                    return False
                response = self._cors.preflight(request)
                if response is None:
                    response = await self._answer(exchange, request, socket, connection)
            except HttpError as error:
                self._connections.refused[error.code] += 1
                response = error.response()
            if request is not None:
                response = self._cors.opened(request, response)
            head_only = request is not None and request.method == "HEAD"
            if not await exchange.respond(response, head_only=head_only):
                return True

    async def _answer(
        self,
        exchange: Exchange,
        request: Request,
        socket: trio.SocketStream,
        connection: Connection,
    ) -> Response:
        """Check, route and answer a request. Raises HttpError."""
        request, handler = self._api.route(self._guard.check(request))
        if request.method not in SAFE_METHODS:
            self._guard.check_write(request)
        if request.has_body:
            request = evolve(request, body=await exchange.body(request))
        if isinstance(handler, KeptHandler) and (ready := handler.ready(request)) is not None:
            return ready
        no_place = request.path in HEALTH_PATHS
        with nullcontext() if no_place else self._connections.place(connection, request.peer):
            work = partial(self._api.answer, handler, request)
            return await cancel_when_peer_leaves(socket, work)

    def _check_upgrade(self, request: Request) -> None:
        """Refuse a client with the reason; a page that asks again by a plain GET reads it.

        So the handshake is last: else that GET would only learn that it is no handshake.
        """
        self._guard.check_websocket(request)
        self._hub.check_room(network_of(request.peer))
        check_handshake(request)


async def _linger(socket: trio.SocketStream) -> None:
    """Send the end of our side, and read until the peer's end, within bounds."""
    received = 0
    with trio.move_on_after(LINGER_SECONDS):
        await socket.send_eof()
        while received < LINGER_BYTES and (chunk := await socket.receive_some(RECEIVE_BYTES)):
            received += len(chunk)

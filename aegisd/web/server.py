"""Takes connections: HTTP by h11, and WebSocket handed over with what was read already.

No library serves both on one port under trio. A request's head is read here, under a deadline
and a limit; where it asks for a WebSocket, the stream goes on with its bytes put in front.
Whatever happens in a connection ends that connection only.
"""

import binascii
import ssl
from base64 import b64decode
from functools import partial
from http import HTTPStatus

import h11
import structlog
import trio

from aegisd import __version__
from aegisd.web.api import Api
from aegisd.web.guard import Guard
from aegisd.web.leaving import while_there
from aegisd.web.message import HttpError, Request, Response, bad_request
from aegisd.web.websocket import Hub, serve_websocket

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_CONNECTIONS = 500
HEAD_SECONDS = 10
IDLE_SECONDS = 75  # between the requests of one connection
SEND_SECONDS = 30
LINGER_SECONDS = 2
"""A socket that is closed while the peer still sends resets the connection, and the answer may
be lost with it (RFC 9112, 9.6): so for a while we read on."""

RECEIVE_BYTES = 16 * 1024

WEBSOCKET_VERSION = "13"
KEY_BYTES = 16

log = structlog.get_logger()


class PrefixedStream(trio.abc.Stream):
    """A stream that gives ``prefix`` first."""

    def __init__(self, prefix: bytes, stream: trio.abc.Stream) -> None:
        self._prefix = prefix
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream does."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The prefix, then as the stream does."""
        if not self._prefix:
            return await self._stream.receive_some(max_bytes)
        end = len(self._prefix) if max_bytes is None else max_bytes
        data, self._prefix = self._prefix[:end], self._prefix[end:]
        await trio.lowlevel.checkpoint()
        return data

    async def aclose(self) -> None:
        """As the stream does."""
        await self._stream.aclose()


class Server:
    """One listening port."""

    def __init__(
        self,
        api: Api,
        hub: Hub,
        guard: Guard,
        websocket_path: str | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._api = api
        self._hub = hub
        self._guard = guard
        self._websocket_path = websocket_path
        self._tls = tls
        self._connections = 0

    async def connection(self, socket: trio.SocketStream) -> None:
        """Serve one connection; nothing that happens in it gets out, but a cancellation."""
        if self._connections >= MAX_CONNECTIONS:
            await trio.aclose_forcefully(socket)
            return
        self._connections += 1
        try:
            # at once: a peer that is gone has no address any more
            peer, local = (
                str(name[0]) for name in (socket.socket.getpeername(), socket.socket.getsockname())
            )
            if await self._serve(socket, await self._secured(socket), peer, local):
                await _linger(socket)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
            pass  # the peer's business
        except* Exception:
            log.exception("a connection ended by a fault of ours")
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(socket)

    async def _secured(self, socket: trio.SocketStream) -> trio.abc.Stream:
        if self._tls is None:
            return socket
        stream = trio.SSLStream(socket, self._tls, server_side=True, https_compatible=True)
        with trio.fail_after(HEAD_SECONDS):
            await stream.do_handshake()
        return stream

    async def _serve(
        self, socket: trio.SocketStream, stream: trio.abc.Stream, peer: str, local: str
    ) -> bool:
        """Answer requests; at the end, whether the peer may still be reading an answer."""
        exchange = Exchange(stream)
        while True:
            try:
                request = await exchange.request(peer, local)
                if request is None:
                    return False
                self._guard.check(request)
                if request.path == self._websocket_path:
                    self._check_upgrade(request, peer)
                    await serve_websocket(exchange.handed_over(), peer, self._hub)
                    return False
                response = await while_there(socket, partial(self._api.answer, request))
            except HttpError as error:
                response = error.response()
            if not await exchange.respond(response):
                return True

    def _check_upgrade(self, request: Request, peer: str) -> None:
        if not request.wants_websocket:
            raise HttpError(
                HTTPStatus.UPGRADE_REQUIRED,
                "upgrade_required",
                f"{request.path} speaks WebSocket",
                {"Upgrade": "websocket"},
            )
        _check_handshake(request)
        self._guard.check_origin(request)
        if not self._hub.has_room(peer):
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
    if request.method != "GET" or not all(value.isascii() for value in headers.values()):
        raise bad_request("a handshake is a GET, its headers ASCII")
    tokens = [token.strip() for token in headers.get("connection", "").lower().split(",")]
    if "upgrade" not in tokens or not _is_key(headers):
        raise bad_request("a handshake has Connection: Upgrade and a Sec-WebSocket-Key")


def _is_key(headers: dict[str, str]) -> bool:
    try:
        return len(b64decode(headers.get("sec-websocket-key", ""), validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


async def _linger(socket: trio.SocketStream) -> None:
    with trio.move_on_after(LINGER_SECONDS):
        await socket.send_eof()
        while await socket.receive_some(RECEIVE_BYTES):
            pass


class Exchange:
    """The requests and responses of one connection, one after the other."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._read = bytearray()  # since the request began
        self._first = True
        self._head_only = False

    async def request(self, peer: str, local: str) -> Request | None:
        """The next request, its body read and let go; None where the client is done.

        Raises HttpError where it is none.
        """
        self._head_only = False
        with trio.move_on_after(HEAD_SECONDS if self._first else IDLE_SECONDS) as scope:
            try:
                event = await self._next_event()
                if not isinstance(event, h11.Request):
                    return None
                self._head_only = event.method == b"HEAD"
                headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in event.headers}
                method, target = event.method.decode("ascii"), event.target.decode("latin-1")
                request = Request.parse(method, target, headers, peer, local)
                if not request.wants_websocket:
                    await self._skip_body()
            except h11.RemoteProtocolError as error:
                raise HttpError(error.error_status_hint, "bad_request", str(error)) from None
            except ValueError as error:
                raise HttpError(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None
        self._first = False
        return None if scope.cancelled_caught else request

    async def respond(self, response: Response) -> bool:
        """Send the response; whether another request may follow."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Server": f"aegisd/{__version__}",
        } | response.headers
        head = h11.Response(
            status_code=response.status, headers=list(headers.items()), reason=_reason(response)
        )
        pieces = [
            self._h11.send(head),
            self._h11.send(h11.Data(data=b"" if self._head_only else response.body)),
            self._h11.send(h11.EndOfMessage()),
        ]
        with trio.fail_after(SEND_SECONDS):
            await self._stream.send_all(b"".join(piece or b"" for piece in pieces))
        if set(self._h11.states.values()) != {h11.DONE}:
            return False
        self._read = bytearray(self._h11.trailing_data[0])
        self._h11.start_next_cycle()
        return True

    def handed_over(self) -> trio.abc.Stream:
        """The stream, with everything read since the request began in front."""
        return PrefixedStream(bytes(self._read), self._stream)

    async def _skip_body(self) -> None:
        size = 0
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            size += len(event.data) if isinstance(event, h11.Data) else 0
            if size > MAX_BODY_BYTES or isinstance(event, h11.ConnectionClosed):
                raise HttpError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "too_large",
                    f"a body of more than {MAX_BODY_BYTES} bytes",
                )

    async def _next_event(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            self._read += data
            self._h11.receive_data(bytes(data))
        return event


def _reason(response: Response) -> str:
    return HTTPStatus(response.status).phrase

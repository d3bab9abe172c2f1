"""The requests and responses of one connection; h11 reads, one parser for each request.

A client that polls sends the same head again and again. Where exactly the bytes of the last head
come, in one piece, they are not parsed again. A response is a head and a body of known length, so
no state machine writes it.

A request's head is read first, under a deadline and a limit. ``body`` reads what follows; the
caller checks the head before, so a refusal needs no body. The bound on a body counts its chunk
headers and trailers too: h11 drops those silently and sets no other bound.
"""

from collections.abc import Iterable
from http import HTTPStatus

import h11
import trio

from aegisd import __version__
from aegisd.web.http.message import HttpError, Request, Response

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
"""On the wire. The API's bodies have a few hundred bytes."""

HEAD_SECONDS = 10
IDLE_SECONDS = 75  # between the requests of one connection
BODY_SECONDS = 10
SEND_SECONDS = 30
RECEIVE_BYTES = 16 * 1024

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every answer; the page has a Content-Security-Policy of its own. Strict-Transport-Security is
left to who owns the name: it would bind all ports and services of the host for months."""

HEADERS = {"Cache-Control": "no-store", "Server": f"aegisd/{__version__}"} | SECURITY_HEADERS
"""Of each response that does not set them itself."""

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"

WITHOUT_CONTENT = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
"""Such a response has no body, and no header that tells of one (RFC 9110, 8.6)."""


class Exchange:
    """The requests and responses of one connection, in turn."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._parser = h11.Connection(h11.SERVER)
        self._came = b""  # the head of this request, and what came with it
        self._left = b""  # what came behind the last request
        self._last: tuple[bytes, Request] | None = None  # a head that may come again
        self._first = True
        self._keep_alive = False  # whether this client wants to send another request

    async def request(self, peer: str, local: str) -> Request | None:
        """Read the head of the next request; None where the client is done, or sends nothing more.

        Raises HttpError where it is no valid HTTP, or comes too slowly.
        """
        came = await self._first_bytes()
        self._came = b""
        if self._last is not None and self._last[0] == came:
            self._came, self._left = came, b""
            return self._last[1]
        self._last = None
        self._keep_alive = False
        if not came:
            return None
        with trio.move_on_after(HEAD_SECONDS):
            try:
                return await self._parse(came, peer, local)
            except h11.RemoteProtocolError as error:
                raise HttpError(error.error_status_hint, "bad_request", str(error)) from None
            except ValueError as error:
                raise HttpError(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None
        raise _too_slow("head", HEAD_SECONDS)

    async def _first_bytes(self) -> bytes:
        """What a request begins with; empty where the client is done or sends nothing more."""
        seconds = HEAD_SECONDS if self._first else IDLE_SECONDS
        self._first = False
        with trio.move_on_after(seconds):
            return self._left or bytes(await self._stream.receive_some(RECEIVE_BYTES))
        return b""

    async def _parse(self, came: bytes, peer: str, local: str) -> Request | None:
        self._came = came
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._parser.receive_data(came)
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            self._came += await self._receive()
        if not isinstance(event, h11.Request):
            return None
        headers = _by_name(event.headers)
        method, target = event.method.decode("ascii"), event.target.decode("latin-1")
        request = Request.parse(method, target, headers, peer, local)
        if request.has_body:
            self._left = b""
        else:
            self._parser.next_event()  # EndOfMessage: another request may follow any answer
            self._left = self._parser.trailing_data[0]
        options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
        self._keep_alive = event.http_version >= b"1.1" and "close" not in options
        if self._keep_alive and not request.has_body and not self._left:
            self._last = self._came, request
        return request

    async def body(self, request: Request) -> bytes:
        """Read the body. Raises HttpError where it is too large or too slow."""
        if not request.has_body:
            return b""
        if request.announced_bytes > MAX_BODY_BYTES:
            raise _too_large()
        with trio.move_on_after(BODY_SECONDS):
            try:
                return await self._read_body()
            except h11.RemoteProtocolError as error:
                raise HttpError(error.error_status_hint, "bad_request", str(error)) from None
        raise _too_slow("body", BODY_SECONDS)

    async def _read_body(self) -> bytes:
        if self._parser.they_are_waiting_for_100_continue:
            await self._stream.send_all(GO_ON)
        body = bytearray()
        received = len(self._parser.trailing_data[0])  # what came with the head
        while not isinstance(event := self._parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                if received >= MAX_BODY_BYTES:  # h11 wants more, so all of it was the body's
                    raise _too_large()
                received += len(await self._receive())
        self._left = self._parser.trailing_data[0]
        return bytes(body)

    async def _receive(self) -> bytes:
        data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        self._parser.receive_data(data)
        return data

    async def respond(self, response: Response, *, head_only: bool) -> bool:
        """Send the response; return whether another request may follow.

        After HEAD the body stays here (``head_only``). A body of theirs that was not read stays
        unread, and the connection ends.
        """
        unread = self._parser.their_state in (h11.SEND_BODY, h11.ERROR)
        goes_on = self._keep_alive and not unread
        data = _head_of(response, goes_on=goes_on)
        if not head_only:
            data += response.body
        with trio.fail_after(SEND_SECONDS):
            await self._stream.send_all(data)
        return goes_on

    @property
    def early(self) -> bytes:
        """What came behind the request's head and was not read; the request has no body."""
        return self._left


def _head_of(response: Response, *, goes_on: bool) -> bytes:
    """The response's head; no text of a client is in it, so it needs no escaping."""
    headers = HEADERS | response.headers
    if response.status not in WITHOUT_CONTENT:
        headers["Content-Type"] = response.content_type
        headers["Content-Length"] = str(len(response.body))
    if not goes_on:
        headers["Connection"] = "close"
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    reason = HTTPStatus(response.status).phrase
    return f"HTTP/1.1 {response.status:d} {reason}\r\n{lines}\r\n".encode("ascii")


def _too_slow(what: str, seconds: float) -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_TIMEOUT, "timeout", f"the {what} has not come within {seconds} s"
    )


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names. Those that come in several lines are one list (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name_, value_ in headers:
        name, value = name_.decode("latin-1"), value_.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _too_large() -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_large",
        f"a body of more than {MAX_BODY_BYTES} bytes, what frames its chunks included",
    )

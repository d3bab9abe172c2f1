"""The requests and responses of one connection, by h11.

A request's head is read first, under a deadline and a limit. ``body`` reads what follows; the
caller checks the head before, so a refusal needs no body. The bound on a body counts its chunk
headers and trailers too: h11 drops those silently and sets no other bound.
"""

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

WITHOUT_CONTENT = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
"""Such a response has no body, and no header that tells of one (RFC 9110, 8.6)."""


class Exchange:
    """The requests and responses of one connection, in turn."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._first = True
        self._head_only = False

    async def request(self, peer: str, local: str) -> Request | None:
        """Read the head of the next request; None where the client is done or too slow.

        Raises HttpError where it is no valid HTTP.
        """
        self._head_only = False
        with trio.move_on_after(HEAD_SECONDS if self._first else IDLE_SECONDS) as scope:
            try:
                while (event := self._h11.next_event()) is h11.NEED_DATA:
                    await self._receive()
                if not isinstance(event, h11.Request):
                    return None
                self._head_only = event.method == b"HEAD"
                headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in event.headers}
                method, target = event.method.decode("ascii"), event.target.decode("latin-1")
                request = Request.parse(method, target, headers, peer, local)
                if not request.has_body:
                    self._h11.next_event()  # EndOfMessage: another request may follow any answer
            except h11.RemoteProtocolError as error:
                raise HttpError(error.error_status_hint, "bad_request", str(error)) from None
            except ValueError as error:
                raise HttpError(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None
        self._first = False
        return None if scope.cancelled_caught else request

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
        raise HttpError(
            HTTPStatus.REQUEST_TIMEOUT, "timeout", f"the body has not come within {BODY_SECONDS} s"
        )

    async def _read_body(self) -> bytes:
        if self._h11.they_are_waiting_for_100_continue:
            goes_on = h11.InformationalResponse(
                status_code=HTTPStatus.CONTINUE, reason="Continue", headers=[]
            )
            await self._stream.send_all(self._h11.send(goes_on) or b"")
        body = bytearray()
        received = len(self._h11.trailing_data[0])  # what came with the head
        while not isinstance(event := self._h11.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                if received >= MAX_BODY_BYTES:  # h11 wants more, so all of it was the body's
                    raise _too_large()
                received += len(await self._receive())
        return bytes(body)

    async def _receive(self) -> bytes:
        data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        self._h11.receive_data(data)
        return data

    async def respond(self, response: Response) -> bool:
        """Send the response; return whether another request may follow."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        headers = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Server": f"aegisd/{__version__}",
        } | response.headers
        if response.status not in WITHOUT_CONTENT:
            headers["Content-Type"] = response.content_type
            headers["Content-Length"] = str(len(response.body))
        if self._h11.their_state is h11.SEND_BODY:  # the rest of their body stays unread
            headers["Connection"] = "close"
        head = h11.Response(
            status_code=response.status, headers=list(headers.items()), reason=_reason(response)
        )
        chunks = [
            self._h11.send(head),
            self._h11.send(h11.Data(data=b"" if self._head_only else response.body)),
            self._h11.send(h11.EndOfMessage()),
        ]
        with trio.fail_after(SEND_SECONDS):
            await self._stream.send_all(b"".join(chunk or b"" for chunk in chunks))
        if set(self._h11.states.values()) != {h11.DONE}:
            return False
        self._h11.start_next_cycle()
        return True

    @property
    def early(self) -> bytes:
        """What came behind the request's head and was not read; the request has no body."""
        return bytes(self._h11.trailing_data[0])


def _too_large() -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_large",
        f"a body of more than {MAX_BODY_BYTES} bytes, what frames its chunks included",
    )


def _reason(response: Response) -> str:
    return HTTPStatus(response.status).phrase

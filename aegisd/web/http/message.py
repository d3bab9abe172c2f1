"""HTTP requests and responses as values, and the API's envelope around JSON."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

JSON = "application/json"

RETRY_SECONDS = 5
"""After which a client that was refused for a crowd or a fault may ask again, if nobody knows
better."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that change nothing (RFC 9110, 9.2.1)."""


@frozen
class Site:
    """Where a browser sees this service, as far as that is known."""

    scheme: str | None = None  # http or https; None where a proxy may have ended TLS
    host: str = ""  # what the browser sent as Host, or a proxy made of it; empty where it is lost
    proxied: bool = False  # by a trusted proxy


@frozen
class Request:
    """A request's head, and its body where that was read. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    peer: str  # the client's address
    local: str  # our address that it connected to
    admin: bool = False  # whether the guard found it to be an admin's
    name: str | None = None  # the name of its token; None where it has none
    by_cookie: bool = False  # whether a session's cookie brought the name
    site: Site = Site()
    item: str = ""  # what stands in the path for the {…} of its route
    body: bytes = b""

    @classmethod
    def parse(
        cls, method: str, target: str, headers: dict[str, str], peer: str, local: str
    ) -> "Request":
        """Split the target into path and query. Raises ValueError where it is invalid."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=20))
        return cls(method, unquote(parts.path), query, headers, peer, local)

    def asked_by(
        self, peer: str, *, admin: bool, name: str | None, by_cookie: bool, site: Site
    ) -> "Request":
        """The same head, with who asks. Each request takes this way; attrs' evolve is slower."""
        return Request(
            self.method,
            self.path,
            self.query,
            self.headers,
            peer,
            self.local,
            admin=admin,
            name=name,
            by_cookie=by_cookie,
            site=site,
        )

    @property
    def wants_websocket(self) -> bool:
        """Whether it asks for an upgrade to WebSocket (RFC 6455)."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def announced_bytes(self) -> int:
        """The body's length by its head; 0 where it is sent in chunks."""
        return int(self.headers.get("content-length", "0"))

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head."""
        return "transfer-encoding" in self.headers or self.announced_bytes > 0


@frozen
class Response:
    """A response with its whole body."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(factory=dict)
    compressed: bytes = b""  # the body by gzip, where that was done before


Handler = Callable[[Request], Awaitable[Response]]
"""What answers a request. It raises HttpError where it can't."""


class HttpError(Exception):
    """A request that is refused: ``code`` is for programs, ``message`` for people."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def response(self) -> Response:
        """The answer in the API's envelope."""
        error = {"code": self.code, "message": self.message}
        body = to_json({"success": False, "error": error})
        headers = self.headers
        if self.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers = {"Retry-After": str(RETRY_SECONDS)} | headers
        return Response(self.status, body.encode(), headers=headers)


def bad_request(message: str) -> HttpError:
    """Make a 400; the message names the parameter and what it takes."""
    return HttpError(HTTPStatus.BAD_REQUEST, "bad_request", message)


def success(data: Any, **beside: Any) -> Response:
    """Make a 200 with ``data`` in the API's envelope, and ``beside`` as more keys of it."""
    return Response(HTTPStatus.OK, to_json({"success": True, "data": data, **beside}).encode())


def to_json(value: Any) -> str:
    """Write compact JSON. Raises ValueError for NaN and infinities, which JSON has not."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

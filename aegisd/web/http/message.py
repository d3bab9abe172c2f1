"""HTTP requests and responses as values, and the API's envelope around JSON."""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

JSON = "application/json"


@frozen
class Request:
    """A request's head, taken apart. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    peer: str  # the address it came from
    local: str  # and the one of ours it came to
    admin: bool = False  # whether it has shown an admin's right

    @classmethod
    def parse(
        cls, method: str, target: str, headers: dict[str, str], peer: str, local: str
    ) -> "Request":
        """Take the target apart; ValueError where it is none."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=20))
        return cls(method, unquote(parts.path), query, headers, peer, local)

    @property
    def wants_websocket(self) -> bool:
        """Whether it asks for an upgrade to WebSocket (RFC 6455)."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def announced_bytes(self) -> int:
        """How long the body is to be; 0 also where that only shows at its end."""
        return int(self.headers.get("content-length", "0"))

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head."""
        return "transfer-encoding" in self.headers or self.announced_bytes > 0


@frozen
class Response:
    """A response, its length known."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(factory=dict)


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
        """As it is answered."""
        error = {"code": self.code, "message": self.message}
        body = to_json({"success": False, "error": error})
        return Response(self.status, body.encode(), headers=self.headers)


def bad_request(message: str) -> HttpError:
    """400; the message names the parameter and what it takes."""
    return HttpError(HTTPStatus.BAD_REQUEST, "bad_request", message)


def success(data: Any, **beside: Any) -> Response:
    """The API's envelope around an answer, and what stands ``beside`` it."""
    return Response(HTTPStatus.OK, to_json({"success": True, "data": data, **beside}).encode())


def to_json(value: Any) -> str:
    """Compact JSON; NaN and infinities would be no JSON, and are an error."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

"""What of an answer goes over the wire: nothing where the client has it, gzip where it is large.

An answer with an ETag is the same as long as the daemon runs; browsers ask each time whether it is
still that (``no-cache``), and get a 304. All other answers are figures of a moment: ``no-store``.
"""

import gzip
import hashlib
from http import HTTPStatus

import trio
from attrs import evolve, field, frozen

from aegisd.threads import in_thread
from aegisd.web.http.message import Handler, Request, Response

GZIP_ABOVE = 1024
"""Bytes of a body. A smaller one fits into a segment or two of TCP as it is."""

THREAD_ABOVE = 256 * 1024
"""Bytes. So much takes about 3 ms to compress; more is done in a thread, and the loop goes on."""

QUICK, SMALL = 1, 9
"""Levels of gzip: for a figure that is sent once, for what is compressed once and sent often."""

ENCODING = "Accept-Encoding"

GZIP_TAG = '-gzip"'
"""The end of the compressed form's ETag: other bytes need another one (RFC 9110, 8.8.3)."""


@frozen
class LastingHandler:
    """A handler whose answers stay the same while the daemon runs, by the item of the path."""

    make: Handler
    _made: dict[str, Response] = field(factory=dict, init=False)

    async def __call__(self, request: Request) -> Response:
        """Give the answer, with an ETag; the first request has it made and compressed."""
        made = self._made.get(request.item)
        if made is None:
            made = self._made[request.item] = _lasting(await self.make(request))
        return made


def _lasting(response: Response) -> Response:
    tag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    headers = response.headers | {"ETag": tag, "Cache-Control": "no-cache"}
    compressed = b""
    if len(response.body) > GZIP_ABOVE:
        compressed = gzip.compress(response.body, SMALL, mtime=0)
    return evolve(response, headers=headers, compressed=compressed)


class Fitting:
    """Fits answers to what their clients take."""

    def __init__(self) -> None:
        self._thread = trio.CapacityLimiter(1)  # large answers, one at a time

    async def fit(self, request: Request, response: Response) -> Response:
        """The response as this client takes it. One that was fitted already stays as it is."""
        headers = dict(response.headers)
        if ENCODING in headers.get("Vary", ""):
            return response
        body = response.body
        if len(body) > GZIP_ABOVE:
            headers["Vary"] = f"{headers['Vary']}, {ENCODING}" if "Vary" in headers else ENCODING
            if takes_gzip(request):
                headers["Content-Encoding"] = "gzip"
                body = response.compressed or await self._compress(body)
                if "ETag" in headers:
                    headers["ETag"] = headers["ETag"][:-1] + GZIP_TAG
        if "ETag" in headers and _has(request, headers["ETag"]):
            headers.pop("Content-Encoding", None)
            return Response(HTTPStatus.NOT_MODIFIED, b"", headers=headers)
        return evolve(response, body=body, headers=headers)

    async def _compress(self, body: bytes) -> bytes:
        if len(body) <= THREAD_ABOVE:
            return gzip.compress(body, QUICK, mtime=0)
        async with self._thread:
            return await in_thread(gzip.compress, body, QUICK)


def takes_gzip(request: Request) -> bool:
    """Whether the client takes gzip, by its Accept-Encoding (RFC 9110, 12.5.3)."""
    header = request.headers.get("accept-encoding")
    if not header:
        return False
    weights = {}
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _weight(parameter)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameter: str) -> float:
    """The number of ``q=…``; 1 without it, 0 where it is none."""
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _has(request: Request, tag: str) -> bool:
    """Whether the client has what this ETag names. Proxies may have made the tag a weak one."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag in [t.strip().removeprefix("W/") for t in known.split(",")]

"""Lets pages of configured sites read answers (CORS, the Fetch standard).

An origin is let in as a whole and by its exact name. It may ask GET with a bearer token of its own;
cookies are never sent along, as no answer says Access-Control-Allow-Credentials.
"""

from collections.abc import Sequence
from http import HTTPStatus

from attrs import evolve

from aegisd.web.http.message import Request, Response

PREFLIGHT_SECONDS = 600
"""For which a browser may remember that it may ask: a change of the configuration counts then."""


class Cors:
    """The origins whose pages may read."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: Request) -> Response | None:
        """The answer to a page that asks whether it may; None where the request is no such."""
        headers = request.headers
        if request.method != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        if headers.get("origin") not in self._origins:
            return None
        allowed = {
            "Access-Control-Allow-Methods": "GET, HEAD",
            "Access-Control-Allow-Headers": "Authorization",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return Response(HTTPStatus.NO_CONTENT, b"", headers=allowed)

    def opened(self, request: Request, response: Response) -> Response:
        """The response, readable for the page that asked if its site is let in."""
        if not self._origins:
            return response
        varies = [name for name in (response.headers.get("Vary"), "Origin") if name]
        headers = response.headers | {"Vary": ", ".join(varies)}
        origin = request.headers.get("origin")
        if origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
        return evolve(response, headers=headers)

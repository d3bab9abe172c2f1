"""Checks who may ask: by a request's Host, Origin and bearer token.

A page on another site can make a browser talk to a service on loopback in two ways. DNS rebinding
uses a name of the attacker's own, so the Host is checked. WebSocket has no same-origin policy, so
the Origin is checked.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from attrs import evolve

from aegisd.config.address import split_address
from aegisd.config.settings import Http, Token
from aegisd.web.http.message import JSON, HttpError, Request

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:\[\]]+))(?::[0-9]*)?")

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Supervisors ask these without a token. The answers tell nothing about the traffic."""


class Guard:
    """The checks, from the configuration."""

    def __init__(self, settings: Http, allowed_origins: Sequence[str]) -> None:
        host, _ = split_address(settings.listen)
        self._hosts = LOOPBACK_NAMES | {host.lower()} | {h.lower() for h in settings.allowed_hosts}
        self._origins = {origin.lower().rstrip("/") for origin in allowed_origins}
        self._tokens = settings.tokens

    def check(self, request: Request) -> Request:
        """Return the request with ``admin`` set. Raises HttpError where it may not ask.

        Without tokens only this machine reaches us, and every request is an admin's.
        """
        host = request.headers.get("host", "")
        # DNS rebinding brings a name, never an address of ours as a number. So the address that the
        # connection came to is good: where all addresses are listened on, only that one is known
        name = _name_of(host)
        if name not in self._hosts and name != _as_in_host(request.local):
            raise HttpError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "misdirected",
                f"'{host}' is no name of this service; add it to http.allowed_hosts",
            )
        token = self._token(request)
        if self._tokens and request.path not in OPEN_PATHS and token is None:
            raise HttpError(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "a valid bearer token is needed",
                {"WWW-Authenticate": "Bearer"},
            )
        admin = token.role == "admin" if token is not None else not self._tokens
        return evolve(request, admin=admin, name=None if token is None else token.name)

    def check_write(self, request: Request) -> None:
        """Raise HttpError where the request, which ``check`` returned, may change nothing.

        A page of another site can send a form, but JSON only with our leave (CORS).
        """
        if not request.admin:
            raise HttpError(HTTPStatus.FORBIDDEN, "forbidden", "an admin's token is needed")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != JSON:
            raise HttpError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", f"send {JSON}"
            )
        self.check_origin(request)

    def check_origin(self, request: Request) -> None:
        """Raise HttpError where a page of another site asks."""
        origin = request.headers.get("origin")
        if origin is None:  # no browser
            return
        try:
            site = urlsplit(origin.lower()).netloc
        except ValueError:
            site = ""
        same = bool(site) and site == request.headers.get("host", "").lower()
        if not same and origin.lower().rstrip("/") not in self._origins:
            raise HttpError(
                HTTPStatus.FORBIDDEN,
                "forbidden_origin",
                f"'{origin}' is not among dashboard.websocket.allowed_origins",
            )

    def _token(self, request: Request) -> Token | None:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest = hashlib.sha256(bearer.strip().encode("latin-1")).hexdigest()  # bytes as sent
        found = None
        for token in self._tokens:  # all of them: the time must not tell which one matched
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found


def _as_in_host(address: str) -> str:
    """An address as a Host header has it: IPv4 also where a dual-stack socket maps it to IPv6."""
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return address if mapped is None else str(mapped)


def _name_of(header: str) -> str:
    """A Host header without its port and an IPv6 address' brackets; empty where it is invalid."""
    match = _HOST.fullmatch(header.lower())
    return (match[1] or match[2]).rstrip(".") if match else ""

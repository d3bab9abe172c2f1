"""Who may ask: the Host a request names, the Origin it comes from, the token it bears.

A page on another site can make a browser talk to a service on loopback: by DNS rebinding under
a name of its own (so the Host is checked), and by WebSocket, which knows no same-origin policy
(so the Origin is checked).
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
from aegisd.web.http.message import HttpError, Request

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:\[\]]+))(?::[0-9]*)?")

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What supervisors ask without a token. It tells nothing about the traffic."""


class Guard:
    """The checks, from the configuration."""

    def __init__(self, settings: Http, allowed_origins: Sequence[str]) -> None:
        host, _ = split_address(settings.listen)
        self._hosts = LOOPBACK_NAMES | {host.lower()} | {h.lower() for h in settings.allowed_hosts}
        self._origins = {origin.lower().rstrip("/") for origin in allowed_origins}
        self._tokens = settings.tokens

    def check(self, request: Request) -> Request:
        """The request, with the right it has shown. Raises HttpError where it has none.

        Without tokens all that reach us are on this machine, and have every right.
        """
        named = request.headers.get("host", "")
        # our own address, as a number, is no name that rebinding could have brought here; a
        # daemon that listens on all addresses is asked under it
        if (host := _host_of(named)) not in self._hosts and host != _plain(request.local):
            raise HttpError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "misdirected",
                f"'{named}' is no name of this service; add it to http.allowed_hosts",
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
        return evolve(request, admin=admin)

    def check_origin(self, request: Request) -> None:
        """Raise HttpError for a WebSocket from a page of another site."""
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
        digest = hashlib.sha256(bearer.strip().encode("latin-1")).hexdigest()  # as it came
        found = None
        for token in self._tokens:  # all of them, so that time tells nothing
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found


def _plain(address: str) -> str:
    """An address as a Host header has it: one of IPv4 also where the socket is of both kinds."""
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return address if mapped is None else str(mapped)


def _host_of(header: str) -> str:
    """The Host header without its port; IPv6 without brackets. Empty where it is no host."""
    match = _HOST.fullmatch(header.lower())
    return (match[1] or match[2]).rstrip(".") if match else ""

"""Checks who may ask: by a request's Host, Origin, bearer token and session.

A page on another site can make a browser talk to this service in three ways. DNS rebinding uses a
name of the attacker's own, so the Host is checked, and what a proxy says it was. WebSocket has no
same-origin policy, and a form can be sent to any site; so the Origin is checked for both, and what
changes something must be JSON, which a page of another site may not send.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import structlog
from attrs import evolve

from aegisd.config.address import split_address
from aegisd.config.settings import Http, Token
from aegisd.web.access.failures import MAX_FAILURES, WINDOW_SECONDS, Failures
from aegisd.web.access.forwarded import TrustedProxies
from aegisd.web.access.origins import Host, Origin, is_same_origin
from aegisd.web.access.sessions import Sessions
from aegisd.web.access.tokens import Tokens, presented
from aegisd.web.http import JSON, HttpError, Request, Site, network_of

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Supervisors ask these without a token. The answers tell nothing about the traffic."""

SESSION_PATH = "/api/session"
OPEN_PATHS = HEALTH_PATHS | {"/", SESSION_PATH, "/openapi.json"}
OPEN_FOLDER = "/assets/"
"""What a browser needs before its login. Nothing of it tells about the traffic."""

log = structlog.get_logger()


class Guard:
    """The checks, from the configuration. ``clock`` gives steady seconds."""

    def __init__(
        self,
        settings: Http,
        allowed_origins: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host, self._port = split_address(settings.listen)
        self._own_names = LOOPBACK_NAMES | {host.lower()}
        self._names = self._own_names | {h.lower() for h in settings.allowed_hosts}
        self._origins = {Origin.parse(origin) for origin in allowed_origins} - {None}
        self._tls = bool(settings.tls_certificate)
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._tokens = Tokens(settings.tokens)
        self._sessions = Sessions()
        self._failures = Failures()
        self._clock = clock

    @property
    def needs_token(self) -> bool:
        """Whether tokens are configured. Else only this machine reaches us, and is an admin."""
        return bool(self._tokens)

    def trusts(self, peer: str) -> bool:
        """Whether the peer is a trusted proxy, whose connections are those of many clients."""
        return self._proxies.trust(peer)

    def check(self, request: Request) -> Request:
        """Return the request with what is known about who asks. Raises HttpError if it may not.

        Its ``peer`` is then the client's address also behind a trusted proxy.
        """
        headers, local = request.headers, request.local
        way = self._proxies.way_of(request.peer, headers)
        if (health_check := _without_host(request)) is not None:
            return evolve(health_check, peer=way.client)
        seen = headers.get("host", "")
        host = self._known(seen, local)
        if way.host is not None:
            self._known(way.host, local)
            seen = way.host
        elif way.proxied and self._is_own(host, local):
            seen = ""
        # without a trusted proxy's word, a plain connection may still come from a proxy with TLS
        scheme = "https" if self._tls and not way.proxied else way.scheme
        token, by_cookie = self._identify(request.path, way.client, headers)
        return request.asked_by(
            way.client,
            admin=not self._tokens if token is None else token.role == "admin",
            name=None if token is None else token.name,
            by_cookie=by_cookie,
            site=Site(scheme, seen, way.proxied),
        )

    def _known(self, header: str, local: str) -> Host:
        """The host that a header names. Raises HttpError where it is none of ours."""
        # DNS rebinding brings a name, never an address of ours as a number. So the address that the
        # connection came to is good: where all addresses are listened on, only that one is known
        host = Host.parse(header)
        if host is None or (host.name not in self._names and host.name != local):
            raise HttpError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "misdirected",
                f"'{header}' is no name of this service; add it to http.allowed_hosts",
            )
        return host

    def _is_own(self, host: Host, local: str) -> bool:
        """Whether it is the address that a proxy connects to, not what a browser asked for."""
        return host.port == self._port and (host.name in self._own_names or host.name == local)

    # who asks

    def _identify(
        self, path: str, client: str, headers: Mapping[str, str]
    ) -> tuple[Token | None, bool]:
        """The token, and whether a cookie brought it. Raises HttpError where one is needed."""
        if not self._tokens:
            return None, False
        is_open = path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
        secret = presented(headers)
        try:
            if secret is not None:
                return self._token(client, secret), False
            token = self._sessions.token_of(headers, self._tokens, self._clock())
            if token is None and not is_open:
                raise _unauthorized("a valid bearer token or a session is needed")
        except HttpError:
            if not is_open:
                raise
            token = None
        return token, token is not None

    def _token(self, client: str, secret: str) -> Token:
        """The token with this text. Raises HttpError where there is none, or after too many."""
        network, now = network_of(client), self._clock()
        if seconds := self._failures.wait(network, now):
            # also where the token is right: else the answers would tell which one is
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_failures",
                f"{MAX_FAILURES} wrong tokens from this address within {WINDOW_SECONDS} s;"
                f" try again in {seconds} s",
                {"Retry-After": str(seconds)},
            )
        token = self._tokens.of_secret(secret)
        if token is None:
            self._failures.add(network, now)
            if self._failures.wait(network, now):
                log.warning("too many wrong tokens", client=client, wait=WINDOW_SECONDS)
            raise _unauthorized("this token is not among http.tokens")
        return token

    def log_in(self, request: Request, secret: str) -> tuple[Request, str]:
        """Begin a session: the request as its token's, and the Set-Cookie header.

        Raises HttpError where the token is wrong.
        """
        token = self._token(request.peer, secret)
        identifier = self._sessions.begin(token, self._clock())
        known = evolve(request, name=token.name, admin=token.role == "admin")
        return known, self._cookie(request, identifier)

    def log_out(self, request: Request) -> tuple[Request, str]:
        """End the session: the request as nobody's, and the Set-Cookie header."""
        self._sessions.end(request.headers)
        nobody = evolve(request, name=None, admin=not self._tokens, by_cookie=False)
        return nobody, self._cookie(request, "")

    def still_allows(self, request: Request) -> bool:
        """Whether a connection that began with this request may go on: a session may have ended."""
        if not request.by_cookie:
            return True
        return self._sessions.token_of(request.headers, self._tokens, self._clock()) is not None

    def _cookie(self, request: Request, identifier: str) -> str:
        """A page that was loaded over https says so, if no proxy does."""
        origin = Origin.parse(request.headers.get("origin", ""))
        secure = "https" in {request.site.scheme, origin.scheme if origin else None}
        return self._sessions.cookie(identifier, secure=secure)

    # from where

    def check_write(self, request: Request) -> None:
        """Raise HttpError where the request, which ``check`` returned, may change nothing."""
        if not request.admin and request.path != SESSION_PATH:
            raise HttpError(HTTPStatus.FORBIDDEN, "forbidden", "an admin's token is needed")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != JSON:
            raise HttpError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", f"send {JSON}"
            )
        self._check_origin(request, request.headers.get("origin"), required=request.by_cookie)

    def check_websocket(self, request: Request) -> None:
        """Raise HttpError where a page of another site wants the WebSocket.

        A page that was refused can't see why. It may ask again by a plain GET, where browsers send
        no Origin; its Referer says the same then.
        """
        origin = request.headers.get("origin")
        if not request.wants_websocket and origin is None:
            origin = request.headers.get("referer")
            origin = None if origin is None else "/".join(origin.split("/")[:3])
        if origin is None or Origin.parse(origin) not in self._origins:
            required = request.by_cookie and request.wants_websocket
            self._check_origin(request, origin, required=required)

    def _check_origin(self, request: Request, origin: str | None, *, required: bool) -> None:
        """Raise HttpError where another site's page asks. Without an Origin no browser does."""
        fetch_site = request.headers.get("sec-fetch-site")
        if origin is None:
            if not required and fetch_site not in ("cross-site", "same-site"):
                return
            why = "a request with a session's cookie needs an Origin"
        else:
            parsed, names = Origin.parse(origin), self._names | {request.local}
            if parsed is not None and is_same_origin(parsed, request.site, fetch_site, names):
                return
            seen = f"{request.site.scheme or 'http(s)'}://{request.site.host or '(unknown)'}"
            why = (
                f"'{origin}' is not the origin of this service, which is reached as {seen};"
                " behind a proxy see docs/proxies.md; for the WebSocket of another site add it to"
                " dashboard.websocket.allowed_origins"
            )
        raise HttpError(HTTPStatus.FORBIDDEN, "forbidden_origin", why)


def _unauthorized(message: str) -> HttpError:
    challenge = {"WWW-Authenticate": "Bearer"}
    return HttpError(HTTPStatus.UNAUTHORIZED, "unauthorized", message, challenge)


def _without_host(request: Request) -> Request | None:
    """A load balancer's health check as a GET; None where the request is none.

    HAProxy's own check is ``OPTIONS / HTTP/1.0``, and ``option httpchk /readyz`` asks with OPTIONS,
    too; both without a Host.
    """
    if "host" in request.headers:
        return None
    is_check = request.method == "OPTIONS"
    path = "/readyz" if is_check and request.path == "/" else request.path
    if path not in HEALTH_PATHS:
        return None
    return evolve(request, path=path, method="GET" if is_check else request.method)

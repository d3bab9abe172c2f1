"""Which daemon ``aegisd top`` watches, and how it is reached."""

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from aegisd.config.address import join_address, split_address
from aegisd.config.load import TOKEN_VARIABLE, load
from aegisd.config.settings import Settings, WebSocket
from aegisd.errors import AegisdError, ConfigError

PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
SECURE = ("https", "wss")
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - one who listens everywhere

_PEM_END = "-----END CERTIFICATE-----"


@frozen
class Target:
    """A daemon's address. ``tls`` is None for plain HTTP; ``token`` is empty where none is set."""

    host: str
    port: int
    websocket_path: str  # with its query
    alerts_path: str
    tls: ssl.SSLContext | None = None
    token: str = ""

    @property
    def authority(self) -> str:
        """Host and port, as in a URL and in the Host header."""
        return join_address(self.host, self.port)

    @property
    def url(self) -> str:
        """The URL of its HTTP interface."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def find_target(url: str | None, config: Path | None) -> Target:
    """The daemon at ``url``, else the one that the configuration describes.

    Raises ConfigError for a wrong URL, AegisdError where the configuration gives no address.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError([f"{TOKEN_VARIABLE}: has characters that can't be sent"])
    if url is None:
        return _from_config(load(config), token)
    return _from_url(url, config, token)


def _from_config(settings: Settings, token: str) -> Target:
    http, websocket = settings.http, settings.dashboard.websocket
    host, port = split_address(http.listen)
    if not websocket.enabled:
        raise AegisdError("the configuration turns the live view off (dashboard.websocket.enabled)")
    if not port:
        raise AegisdError("http.listen leaves the port open; name the daemon with --url")
    tls = _own_tls(http.tls_certificate) if http.tls_certificate else None
    host = LOOPBACK_OF.get(host, host)
    return Target(host, port, websocket.path, "/api/alerts", tls, token)


def _from_url(url: str, config: Path | None, token: str) -> Target:
    wrong = ConfigError([f"--url: {url!r} is not http://HOST:PORT (or https://, ws://, wss://)"])
    try:
        parts = urlsplit(url)
        port = PORTS[parts.scheme] if parts.port is None else parts.port
    except (ValueError, KeyError):
        raise wrong from None
    sendable = url.isascii() and url.isprintable() and " " not in url
    if not sendable or not parts.hostname or not port:
        raise wrong
    if "@" in parts.netloc:
        raise ConfigError([f"--url: takes no password; set {TOKEN_VARIABLE}"])
    path = parts.path
    if path in ("", "/"):
        path = load(config).dashboard.websocket.path
        prefix = ""
    else:  # behind a proxy, the API has the WebSocket's prefix
        own = WebSocket().path
        prefix = path.removesuffix(own) if path.endswith(own) else ""
    resource = f"{path}?{parts.query}" if parts.query else path
    tls = ssl.create_default_context() if parts.scheme in SECURE else None
    return Target(parts.hostname, port, resource, f"{prefix}/api/alerts", tls, token)


def _own_tls(certificate: str) -> ssl.SSLContext:
    """TLS that trusts only the configured certificate, whatever host names it is for."""
    try:
        leaf = Path(certificate).read_text(encoding="ascii").partition(_PEM_END)[0] + _PEM_END
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=leaf[leaf.index("-----BEGIN CERTIFICATE") :])
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) else "not a PEM certificate"
        raise AegisdError(
            f"can't read http.tls_certificate {certificate}: {reason}; name the daemon with --url"
        ) from None
    return context

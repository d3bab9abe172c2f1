"""Hosts and origins as a browser means them: scheme, host and port (RFC 6454).

A proxy changes what arrives of them. It may end TLS, so the scheme is often unknown; it may send
the host without its port (nginx's ``$host``), or the name of its upstream (nginx's default). So a
page is of this service if one of these is so:

1. The browser says so itself: ``Sec-Fetch-Site: same-origin``, which no page can write. It compares
   what the person sees. The origin must still be a name of this service, against DNS rebinding.
   Browsers leave it out of plain HTTP beyond loopback, and Chromium out of WebSocket.
2. Without that header, the origin is what the request went to: the same host; the same scheme,
   where ours is known; the same port, where a missing one is the scheme's own (80, 443).
3. A host without a port that a trusted proxy sends fits any port: proxies drop ports, browsers do
   not. Without a trusted proxy it does not fit: then a page on another port of the same host could
   have sent it.
4. A trusted proxy that sends our own address as the Host and tells no other (nginx's default) has
   lost what the browser asked for. Then the origin's host must be a name of this service.

What 3 and 4 let in are pages of the same host at other ports, and of the other names. They are the
price of such a proxy; one that sends the Host as it came (nginx's ``$http_host``) does not pay it.
A page with another name never passes.
"""

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache
from urllib.parse import urlsplit

from attrs import frozen

from aegisd.web.http import Site

DEFAULT_PORTS = {"http": 80, "https": 443}

MAX_HOST_CHARACTERS = 261
"""A name of 255 and a port (RFC 1035)."""

REMEMBERED_HOSTS = 256
"""Each request has one, nearly always the same."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:\[\]/?#@,]+))(?::([0-9]{0,5}))?")


@frozen
class Host:
    """What a Host header names."""

    name: str  # in lower case, an IPv6 address without brackets
    port: int | None = None  # None where it names none

    @staticmethod
    def parse(header: str) -> "Host | None":
        """Read a Host header; None where it is invalid."""
        return _read_host(header) if len(header) <= MAX_HOST_CHARACTERS else None


@lru_cache(REMEMBERED_HOSTS)
def _read_host(header: str) -> Host | None:
    match = _HOST.fullmatch(header.lower())
    if match is None:
        return None
    name = (match[1] or match[2]).rstrip(".")
    return Host(name, int(match[3]) if match[3] else None) if name else None


@frozen
class Origin:
    """What an Origin header names, with the port also where it is the scheme's own."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, header: str) -> "Origin | None":
        """Read an Origin header; None where it is ``null`` or invalid."""
        try:
            parts = urlsplit(header.lower().rstrip("/"))
        except ValueError:
            return None
        host = Host.parse(parts.netloc)
        if host is None or parts.scheme not in DEFAULT_PORTS or parts.path or parts.query:
            return None
        port = DEFAULT_PORTS[parts.scheme] if host.port is None else host.port
        return cls(parts.scheme, host.name, port)


def is_same_origin(
    origin: Origin, site: Site, fetch_site: str | None, names: AbstractSet[str]
) -> bool:
    """Whether a page of ``origin`` is of this service, which is reached as ``site``.

    ``fetch_site`` is the header Sec-Fetch-Site; ``names`` are this service's names.
    """
    if fetch_site is not None:
        return fetch_site == "same-origin" and origin.host in names
    if site.scheme is not None and site.scheme != origin.scheme:
        return False
    if site.proxied and not site.host:
        return origin.host in names
    host = Host.parse(site.host)
    if host is None or host.name != origin.host:
        return False
    if host.port is None:
        return site.proxied or origin.port == DEFAULT_PORTS[origin.scheme]
    return host.port == origin.port

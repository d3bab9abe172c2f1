"""Who the client is behind proxies, by X-Forwarded-For, -Proto, -Host and Forwarded (RFC 7239).

A header says what anybody wrote into it. Each proxy appends the address of its own peer, so a list
is read from its end, and only as long as the one who appended is trusted:

1. A peer that is no trusted proxy is the client, whatever it sends.
2. Else the last address is believed. Where that is a trusted proxy too, so is the one before it.
3. Where the address is no address (``unknown``, ``_hidden``, garbage), the proxy that appended it
   stands for its client.
4. Where X-Forwarded-For and Forwarded name different clients, one of the two is passed through as a
   client sent it. Which one can't be known, so neither is believed: the peer stands for the client.

Scheme and host are those that the nearest proxy tells: the last of each list, for Forwarded those
of the element that names the client.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from attrs import frozen

from aegisd.web.http import plain_address

HEADERS = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"})
"""Without any, a trusted address asks for itself, as a browser beside a proxy on loopback does."""

MAX_HOPS = 32
"""Addresses that are read of a list. No chain of proxies is so long; a head has room for 8,000."""

SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""What X-Forwarded-Proto is; Traefik writes ``wss`` for a WebSocket."""

REMEMBERED_PEERS = 1024
"""Whether they are trusted: reading an address takes longer than all else here."""

_ADDRESS = re.compile(
    r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})"
)
"""An IPv6 address in brackets, an IPv4 address, both perhaps with a port; a bare IPv6 address."""

_PAIR = re.compile(
    r"""[ \t]*(?:([A-Za-z0-9!#$%&'*+.^_`|~-]+)=("(?:[^"\\]|\\.)*"|[^\s",;]*)[ \t]*)?(;|,|$)"""
)
"""A parameter of Forwarded, and what ends it: ``;`` the parameter, ``,`` the element."""


@frozen
class Way:
    """How a request came."""

    client: str  # address
    proxied: bool = False  # a trusted proxy says that it passed the request on
    scheme: str | None = None  # http or https, as the client used it; None where nobody tells
    host: str | None = None  # the Host that the client sent; None where nobody tells


class TrustedProxies:
    """The proxies whose word is taken."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._trusts = lru_cache(REMEMBERED_PEERS)(self._find)

    def trust(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        return bool(self._networks) and self._trusts(address)

    def _find(self, address: str) -> bool:
        return any(_holds(network, address) for network in self._networks)

    def way_of(self, peer: str, headers: Mapping[str, str]) -> Way:
        """How a request with these headers came, over a connection from ``peer``."""
        if HEADERS.isdisjoint(headers) or not self.trust(peer):
            return Way(peer)
        elements = parse_forwarded(headers.get("forwarded"))
        listed = headers.get("x-forwarded-for")
        told = [] if listed is None else [listed.rsplit(",", MAX_HOPS)[-MAX_HOPS:]]
        if elements:
            told.append([element.get("for", "") for element in elements[-MAX_HOPS:]])
        walks = [self._walk(peer, addresses) for addresses in told]
        if len({client for client, _ in walks}) > 1:
            return Way(peer, proxied=True)
        client, hops = walks[-1] if walks else (peer, 0)
        element = elements[-max(hops, 1)] if elements else {}
        scheme = _last(headers, "x-forwarded-proto") or element.get("proto", "")
        host = _last(headers, "x-forwarded-host") or element.get("host", "")
        return Way(client, True, SCHEMES.get(scheme.lower()), host.lower() or None)

    def _walk(self, peer: str, addresses: Sequence[str]) -> tuple[str, int]:
        """The client, and how many of the addresses were believed."""
        client, hops = peer, 0
        for text in reversed(addresses):
            address = parse_address(text)
            if address is None or not self.trust(client):
                break
            client, hops = address, hops + 1
        return client, hops


def parse_address(text: str) -> str | None:
    """The address of ``192.0.2.1``, ``192.0.2.1:80``, ``[2001:db8::1]:80`` …, or None."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return plain_address(match[1] or match[2] or match[3])
    except ValueError:
        return None


def parse_forwarded(header: str | None) -> list[dict[str, str]]:
    """The elements of a Forwarded header, names in lower case, values without their quotes.

    One empty element where it breaks the grammar; none where there is no header.
    """
    if header is None:
        return []
    elements: list[dict[str, str]] = [{}]
    end = 0
    while (match := _PAIR.match(header, end)) is not None:
        name, value, separator = match.groups()
        if name is not None and elements[-1].setdefault(name.lower(), _unquoted(value)) != (
            _unquoted(value)
        ):
            break
        if not separator:
            return elements
        if separator == ",":
            elements.append({})
        end = match.end()
    return [{}]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _last(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "").rpartition(",")[2].strip()


def _holds(network: IPv4Network | IPv6Network, address: str) -> bool:
    parsed = ip_address(address)
    return parsed.version == network.version and parsed in network

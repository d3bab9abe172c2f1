"""Addresses of peers: one form for each, and what a limit counts as one client."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

NETWORK_BITS = 64
"""Of an IPv6 address: a host has a whole /64 to itself (RFC 6177, RFC 4862)."""

REMEMBERED = 1024
"""Addresses whose network is known: reading one anew takes some µs, several times a request."""


def plain_address(text: str) -> str:
    """An address in its usual form; IPv4 also where a dual-stack socket maps it to IPv6.

    Raises ValueError where it is none.
    """
    parsed = ip_address(text)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(parsed if mapped is None else mapped)


@lru_cache(REMEMBERED)
def network_of(address: str) -> str:
    """What an address counts as: an IPv4 address as itself, an IPv6 address as its network."""
    parsed = ip_address(plain_address(address))
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    network = int(parsed) >> (128 - NETWORK_BITS) << (128 - NETWORK_BITS)
    return f"{IPv6Address(network)}/{NETWORK_BITS}"

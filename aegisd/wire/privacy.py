"""Removes from a block what may not be kept, before anything keeps it.

Both work on the distinct texts of a block, not on its events.
"""

import ipaddress

from aegisd.config.settings import Privacy
from aegisd.wire.block import Block
from aegisd.wire.protocol import REQUEST

IPV4_PREFIX = 24
IPV6_PREFIX = 48


def protect(block: Block, privacy: Privacy) -> Block:
    """The block without query strings and client addresses, as ``privacy`` says."""
    if block.kind != REQUEST:
        return block
    if privacy.strip_query:
        block = block.with_text("path", block.texts["path"].map(without_query))
    if privacy.client_ip == "truncate":
        return block.with_text("client_ip", block.texts["client_ip"].map(truncate_address))
    if privacy.client_ip == "drop":
        return block.with_text("client_ip", block.texts["client_ip"].map(lambda _: None))
    return block


def without_query(path: str) -> str:
    """The path before its query and fragment."""
    return path.partition("?")[0].partition("#")[0]


def truncate_address(text: str) -> str | None:
    """The network of an address: IPv4 /24, IPv6 /48. What is no address is dropped."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX
    return str(ipaddress.ip_network((address, prefix), strict=False).network_address)

"""Removes from a block what may not be kept.

It changes the values of the text columns, not event by event.
"""

import ipaddress
import re

from aegisd.config.settings import Privacy
from aegisd.events.block import Block, Text
from aegisd.events.protocol import REQUEST

IPV4_PREFIX = 24
IPV6_PREFIX = 48

_PARAMETERS = re.compile(r";[^/]*")
"""The parameters of a path's segment (RFC 3986, 3.3), such as ``;jsessionid=…``: Java's servers
keep the session there."""

_QUERY_IN_ROUTE = re.compile(r"\?[^?#(){}=]+=.*|;[^/?#(){};=]+=[^/?#]*", re.DOTALL)
"""``?name=value`` and ``;name=value`` in a route, as of a gateway whose routes are URLs. A route is
usually a template, where question marks and semicolons mean something else: ``/:id?``, ``{?page}``,
``{;page}``, ``(?P<id>…)``."""

_QUERY_IN_MESSAGE = re.compile(r"(/[^\s/?#;\"'<>]*+)[?;][^\s=\"'<>]{1,100}+=[^\s\"'<>]*")
"""A URL in an error message: a path, then ``?name=value`` or ``;name=value`` up to a space or a
quote. Names are limited in length: otherwise each slash would be followed to the message's end."""


def protect(block: Block, privacy: Privacy) -> Block:
    """The block without queries, path parameters and client addresses, as ``privacy`` says."""
    if block.kind != REQUEST:
        return block
    cleared: dict[str, Text] = {}
    if privacy.strip_query:
        for name, strip in _STRIPS.items():
            if has_query(block.texts[name]):
                cleared[name] = block.texts[name].map(strip)
    if privacy.client_ip == "truncate":
        cleared["client_ip"] = block.texts["client_ip"].map(truncate_address)
    elif privacy.client_ip == "drop":
        cleared["client_ip"] = Text.constant(None, block.size)
    return Block(block.kind, block.size, block.numbers, block.texts | cleared)


def has_query(text: Text) -> bool:
    """Whether any of the texts may have a query or parameters: a quick look, as most have none."""
    joined = "".join([value for value in text.values if value is not None])
    return "?" in joined or "#" in joined or ";" in joined


def without_query(path: str) -> str:
    """The path without query, fragment and parameters."""
    bare = path.partition("?")[0].partition("#")[0]
    return _PARAMETERS.sub("", bare) if ";" in bare else bare


def route_without_query(route: str) -> str:
    """The route without the query and parameters of a URL."""
    return _QUERY_IN_ROUTE.sub("", route)


def _message_without_query(message: str) -> str:
    return _QUERY_IN_MESSAGE.sub(r"\1", message)


_STRIPS = {
    "path": without_query,
    "route": route_without_query,
    "error_message": _message_without_query,
}
"""The fields that may have a path, and what strips queries from each."""


def truncate_address(text: str) -> str | None:
    """The network of an address: IPv4 /24, IPv6 /48; None if ``text`` is no address.

    An IPv6 address that holds an IPv4 address (mapped, or 6to4: RFC 3056) counts as that one.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX
    return str(ipaddress.ip_network((address, prefix), strict=False).network_address)

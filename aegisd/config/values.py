"""Checks the value of one key alone, by its named type in ``settings``.

A check gives the value as a setting. It raises ValueError with the rest of a sentence that starts
with the key's path, such as "5 is not text" for "node: 5 is not text".
"""

import math
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aegisd.config import patterns
from aegisd.config import settings as s
from aegisd.config.address import MAX_PORT, split_address
from aegisd.config.libpq.dsn import complete_dsn

MAX_IDENTIFIER_CHARACTERS = 255
MAX_INTEGER = 2**63 - 1  # what TOML can write
MAX_DAYS = 36_500
MAX_ENDPOINTS = 100_000  # each has a sketch of 6 kB
MAX_SCRAPED_ENDPOINTS = 100  # each is five series in Prometheus, and new ones come all the time
MIN_SHARE = 1e-6  # below, hardly a row is stored, for more requests than there are
MAX_SOCKET_BUFFER = 2**31 - 1  # socket(7) takes an int
MAPPED_BITS = 96  # of an IPv6 address that maps an IPv4 one, before that one (RFC 4291, 2.5.5.2)

Check = Callable[[Any, Any], Any]
"""Takes a plain value and its type, as cattrs' hooks do."""


def _text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _bool(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _positive(value: Any, _: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_INTEGER:
        raise ValueError(f"{value!r} is not a whole number of at least 1")
    return value


def _up_to(limit: int, least: int = 1) -> Check:
    def check(value: Any, _: Any) -> int:
        if type(value) is not int or not least <= value <= limit:
            raise ValueError(f"{value!r} is not a whole number from {least} to {limit}")
        return value

    return check


def _share(value: Any, type_: Any) -> float:
    number = _number(value, type_)
    if not MIN_SHARE <= number <= 1:
        raise ValueError(f"{value!r} is not from {MIN_SHARE:f} to 1")
    return number


def _identifier(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    if not text or len(text) > MAX_IDENTIFIER_CHARACTERS or not text.isprintable():
        raise ValueError(f"{text!r} is not 1 to {MAX_IDENTIFIER_CHARACTERS} printable characters")
    return text


def _address(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    split_address(text)
    return text


def _optional_address(value: Any, type_: Any) -> str:
    return "" if value == "" else _address(value, type_)


def _mode(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"'{text}' is not a file mode like 0660")
    return text


def _hex_digest(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("is not the 64 hex digits of a SHA-256")
    return text.lower()


def _site_origin(value: Any, type_: Any) -> str:
    text = _text(value, type_).lower()
    match = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", text)
    if match is None:
        raise ValueError(f"'{value}' is not a site such as https://name or http://name:8080")
    scheme, host, port = match.groups()
    default = {"http": ":80", "https": ":443"}[scheme]
    return f"{scheme}://{host}{port if port and port != default else ''}"


def _network(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    try:
        if "%" in text:
            raise ValueError("a zone is the proxy's own")
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not an address or network: {error}") from None
    return str(_unmapped(network))


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """A network of IPv4 also where it is written as ``::ffff:10.0.0.0/104``."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))


def _url_path(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
        raise ValueError(f"'{text}' is not a path like /ws/metrics")
    return text


def _path_pattern(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    patterns.parse(text)
    return text


CHECKS: dict[Any, Check] = {
    str: _text,
    bool: _bool,
    float: _number,
    s.Positive: _positive,
    s.Days: _up_to(MAX_DAYS),
    s.EndpointCount: _up_to(MAX_ENDPOINTS),
    s.ScrapedEndpoints: _up_to(MAX_SCRAPED_ENDPOINTS, least=0),
    s.SocketBuffer: _up_to(MAX_SOCKET_BUFFER),
    s.Port: _up_to(MAX_PORT),
    s.Share: _share,
    s.Identifier: _identifier,
    s.Address: _address,
    s.OptionalAddress: _optional_address,
    s.Mode: _mode,
    s.HexDigest: _hex_digest,
    s.SiteOrigin: _site_origin,
    s.Network: _network,
    s.UrlPath: _url_path,
    s.PathPattern: _path_pattern,
}
"""The check of each type that needs nothing else."""


# secrets


def secret_checks(environment: Mapping[str, str]) -> dict[Any, Check]:
    """The checks of secrets, whose text may be in a file or in a variable of ``environment``."""
    finish: dict[Any, Callable[[str], str]] = {
        s.Secret: str,
        s.SecretUrl: _secret_url,
        s.Dsn: lambda dsn: dsn if dsn == "embedded" else complete_dsn(dsn, environment),
    }
    return {type_: _secret(environment, each) for type_, each in finish.items()}


def _secret(environment: Mapping[str, str], finish: Callable[[str], str]) -> Check:
    """A secret is text, or a table that names the file or the variable with that text."""

    def check(value: Any, _: Any) -> Any:
        if isinstance(value, str):
            return finish(value)
        match value:
            case {"file": str(path), **rest} if not rest:
                try:
                    return finish(Path(path).read_text(encoding="utf-8").rstrip("\r\n"))
                except (OSError, UnicodeDecodeError) as error:
                    reason = getattr(error, "strerror", None) or "not UTF-8 text"
                    raise ValueError(f"can't read {path}: {reason}") from None
            case {"env": str(name), **rest} if not rest:
                if name not in environment:
                    raise ValueError(f"the environment has no variable {name}")
                return finish(environment[name])
        raise ValueError('is not text, { file = "…" } or { env = "…" }')

    return check


def _secret_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http:// or https:// address")
    return text

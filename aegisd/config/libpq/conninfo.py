"""Postgres' connection strings, read as libpq reads them: a URI, or key=value pairs.

An error shows no part of a malformed string, since any part may belong to a password.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

MASK = "***"

_URI = re.compile(r"postgres(?:ql)?://", re.ASCII)
_BAD_URI = (
    "can't be read as a postgresql:// address: special characters in its user, password and"
    " parameters are percent-encoded"
)
_BAD_PAIRS = (
    "can't be read as key=value pairs: a value with spaces is put in single quotes, and a"
    " backslash stands before a quote or backslash in it"
)

_HOST_AND_PORT = re.compile(r"(?:\[([^\]]+)\]|((?!\[)[^:/?,]*))(?::([^/?,]*))?")
"""One host with its port. As in libpq, only these characters end them."""

_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})?")

_PAIR = re.compile(
    r"\s*([^\s=]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(?!')((?:\\.|[^\s\\])*))\s*", re.ASCII | re.DOTALL
)


def is_uri(text: str) -> bool:
    """Whether a connection string is a URI; else it is pairs."""
    return _URI.match(text) is not None


def advice(text: str) -> str:
    """How to correct a malformed connection string."""
    return _BAD_URI if is_uri(text) else _BAD_PAIRS


def parse(text: str) -> list[tuple[str, str]]:
    """The parameters of a connection string, in order; of equal names the last one counts.

    Raises ValueError where the string is malformed.
    """
    uri = _URI.match(text)
    try:
        return list(_of_uri(text[uri.end() :]) if uri else _of_pairs(text))
    except ValueError:
        raise ValueError(advice(text)) from None


def render(parameters: Mapping[str, str]) -> str:
    """Parameters as key=value pairs."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in parameters.items())


# the two forms


def _of_uri(rest: str) -> Iterator[tuple[str, str]]:
    if "@" in rest.partition("/")[0]:
        credentials, _, rest = rest.partition("@")
        user, _, password = credentials.partition(":")
        yield from _unless_empty(user=user, password=password)
    hosts, ports = [], []
    end = -1
    while end < 0 or rest[end : end + 1] == ",":
        found = _HOST_AND_PORT.match(rest, end + 1)
        if found is None:
            raise ValueError
        hosts.append(found[1] or found[2])
        ports.append(found[3] or "")
        end = found.end()
    if rest[end : end + 1] not in ("", "/", "?"):  # text behind the bracket of an IPv6 address
        raise ValueError
    path, _, query = rest[end:].partition("?")
    yield from _unless_empty(host=",".join(hosts), port=",".join(ports), dbname=path[1:])
    for piece in query.removesuffix("&").split("&") if query else ():
        name, equals, value = piece.partition("=")
        if not equals or not name:
            raise ValueError
        yield _as_libpq_names(_decoded(name), _decoded(value))


def _unless_empty(**parameters: str) -> Iterator[tuple[str, str]]:
    return ((name, _decoded(value)) for name, value in parameters.items() if value)


def _as_libpq_names(name: str, value: str) -> tuple[str, str]:
    """A parameter by libpq's name. libpq also takes JDBC's ``ssl=true``."""
    return ("sslmode", "require") if (name, value) == ("ssl", "true") else (name, value)


def _decoded(text: str) -> str:
    if any(escape[1] in (None, "00") for escape in _ESCAPE.finditer(text)):
        raise ValueError
    return unquote(text, errors="strict")


def _of_pairs(text: str) -> Iterator[tuple[str, str]]:
    end = 0
    while end < len(text):
        pair = _PAIR.match(text, end)
        if pair is None:
            raise ValueError
        end = pair.end()
        value = pair[3] if pair[2] is None else pair[2]
        yield pair[1], re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def _quoted(value: str) -> str:
    if re.fullmatch(r"[^\s'\\]+", value):
        return value
    return "'" + re.sub(r"(['\\])", r"\\\1", value) + "'"


# masking


_PASSWORD_PARAMETER = re.compile(r"([?&])([^=&]*)=[^&]*")
_PASSWORD = re.compile(r"^(\w+://(?:[^:/@]*(?=[^/]*@)|[^:/?#@[]*):).*@", re.DOTALL)
"""Up to the last @, since a password may hold an @ that was not escaped."""


def mask(text: str) -> str:
    """A connection string with each password in it masked."""
    if "://" in text.partition("=")[0]:
        return _PASSWORD.sub(rf"\1{MASK}@", _PASSWORD_PARAMETER.sub(_masked_parameter, text))
    if "=" not in text:
        return text
    try:
        parameters = dict(_of_pairs(text))
    except ValueError:
        return MASK
    return render({n: MASK if "password" in n else value for n, value in parameters.items()})


def _masked_parameter(parameter: re.Match[str]) -> str:
    name = parameter[2]
    return f"{parameter[1]}{name}={MASK}" if "password" in unquote(name) else parameter[0]

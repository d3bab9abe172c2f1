"""The libpq that the embedded Postgres brings along: what it knows, how it reads a string."""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path

from aegisd.store.embedded import programs

NEW_IN_18 = {
    "min_protocol_version",
    "max_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "scram_client_key",
    "scram_server_key",
    "sslkeylogfile",
}


class Option(ctypes.Structure):
    """A PQconninfoOption."""

    _fields_ = [
        *((name, ctypes.c_char_p) for name in ("keyword", "variable", "compiled", "value")),
        *((name, ctypes.c_char_p) for name in ("label", "display")),
        ("size", ctypes.c_int),
    ]


@cache
def library() -> ctypes.CDLL:
    spec = importlib.util.find_spec(programs.PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parents[1] / programs.INSTALLED / "lib" / "libpq.so.5"
    libpq = ctypes.CDLL(str(file))
    for function in (libpq.PQconndefaults, libpq.PQconninfoParse):
        function.restype = ctypes.POINTER(Option)
    return libpq


def options(first: "ctypes._Pointer[Option]") -> list[Option]:
    found = []
    while first[len(found)].keyword:
        found.append(first[len(found)])
    return found


def variables() -> dict[str, str]:
    """Every parameter, with the variable that fills it in, or nothing."""
    defaults = options(library().PQconndefaults())
    return {each.keyword.decode(): (each.variable or b"").decode() for each in defaults}


def read(text: str) -> dict[str, str] | None:
    """What it reads in a connection string; None where it refuses it."""
    error = ctypes.c_char_p()
    parsed = library().PQconninfoParse(text.encode(), ctypes.byref(error))
    if not parsed:
        return None
    return {
        each.keyword.decode(): each.value.decode(errors="surrogateescape")
        for each in options(parsed)
        if each.value is not None
    }

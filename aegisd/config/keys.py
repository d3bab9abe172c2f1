"""The names of the configuration's keys, and the declared type behind a path of them."""

import difflib
from typing import Any, cast

import attrs

from aegisd.config.settings import Settings


def key_of(attribute: "attrs.Attribute[Any]") -> str:
    """The key of a setting: its name, except that ``from`` can't be a name in Python."""
    return str(attribute.metadata.get("key", attribute.name))


def unknown_key(name: str, known: list[str]) -> str:
    """The problem of an unknown key, with the nearest known one."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"unknown key; the nearest known one is {close[0]}" if close else "unknown key"


def type_at(path: list[str]) -> Any:
    """The declared type of the key at ``path``. Raises LookupError with the problem."""
    type_: Any = Settings
    for i, key in enumerate(path):
        names = {key_of(a): a for a in attrs.fields(type_)} if attrs.has(type_) else {}
        if key not in names:
            raise LookupError(
                unknown_key(".".join(path), [".".join([*path[:i], n]) for n in names])
            )
        type_ = names[key].type
    return cast(Any, type_)

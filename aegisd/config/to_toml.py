"""Settings as plain values that TOML can write, with their secrets masked."""

from typing import Any
from urllib.parse import urlsplit

import attrs

from aegisd.config import settings as s
from aegisd.config.keys import key_of
from aegisd.config.libpq import conninfo
from aegisd.config.libpq.conninfo import MASK


def as_toml_values(value: Any) -> Any:
    """Settings as tables, lists and plain values. Keys without a value are left out."""
    if isinstance(value, tuple):
        return [as_toml_values(item) for item in value]
    if not attrs.has(type(value)):
        return value
    if isinstance(value, tuple(s.ACTIONS.values())):
        name = next(name for name, cls in s.ACTIONS.items() if isinstance(value, cls))
        config = _table(value)
        return {"type": name, "config": config} if config else {"type": name}
    return _table(value)


def _table(settings: Any) -> dict[str, Any]:
    fields = attrs.fields(type(settings))
    values = {key_of(a): (a.type, getattr(settings, a.name)) for a in fields}
    return {
        key: _masked(type_, value) for key, (type_, value) in values.items() if value is not None
    }


def _masked(type_: Any, value: Any) -> Any:
    if type_ is s.Secret:
        return MASK if value else ""
    if type_ is s.SecretUrl:
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASK}"
    if type_ is s.Dsn:
        return conninfo.mask(value)
    if type_ == dict[str, s.Secret]:
        return dict.fromkeys(value, MASK)
    return as_toml_values(value)

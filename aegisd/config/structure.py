"""Turns plain values (from TOML or the environment) into settings, or says all that is wrong.

cattrs walks the settings' classes and collects every error with its path. For each named type it
calls the check in ``values``.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import attrs
from cattrs import Converter, transform_error
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
)
from cattrs.gen import make_dict_structure_fn, override

from aegisd.config import settings as s
from aegisd.config.keys import key_of, unknown_key
from aegisd.config.values import CHECKS, Check, secret_checks
from aegisd.errors import ConfigError

_LINE_END = "\0"
"""Ends each line of a problem: cattrs puts the path behind the last one."""


def structure(data: Mapping[str, Any], environment: Mapping[str, str]) -> s.Settings:
    """Read ``data`` as settings; ``environment`` has the values of ``{ env = "…" }`` secrets.

    Raises ConfigError with every problem. Each is a line that starts with the key's path.
    """
    try:
        return _converter(environment).structure(data, s.Settings)
    except Exception as error:
        reports = transform_error(error, path="", format_exception=_explain)
        raise ConfigError(sorted(line for report in reports for line in _lines(report))) from None


def _lines(report: str) -> list[str]:
    """The lines of a cattrs report. There the path stands last, behind an ``@``; here first."""
    texts, _, path = report.partition(f"{_LINE_END} @ ")
    path = re.sub(r"_(?=[.[]|$)", "", path.lstrip("."))  # the attribute from_ is the key from
    return [
        _one_line(f"{path}{line}".lstrip(".") if line.startswith(".") else f"{path}: {line}")
        for line in texts.split(_LINE_END)
    ]


def _explain(error: BaseException, type_: type | None) -> str:
    return _problem(error, type_) + _LINE_END


def _problem(error: BaseException, type_: type | None) -> str:
    if isinstance(error, ForbiddenExtraKeysError):
        known = [key_of(a) for a in attrs.fields(error.cl)]
        return _LINE_END.join(
            f".{_one_line(key)}: {unknown_key(key, known)}" for key in sorted(error.extra_fields)
        )
    if isinstance(error, KeyError):
        return "is missing"
    if get_origin(type_) is Literal:
        value = _one_line(str(error).split(" not in literal ")[0])
        return f"'{value}' is not one of {' '.join(get_args(type_))}"
    return str(error)


def _one_line(text: str) -> str:
    """``text`` with unprintable characters escaped, so that it stays one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _converter(environment: Mapping[str, str]) -> Converter:
    converter = Converter(forbid_extra_keys=True)
    for type_, check in (CHECKS | secret_checks(environment)).items():
        converter.register_structure_hook(type_, check)
    converter.register_structure_hook_factory(
        attrs.has,
        lambda cls: _table(cls, make_dict_structure_fn(cls, converter, **_key_overrides(cls))),
    )
    converter.register_structure_hook_factory(
        _is_tuple, lambda type_: _list(get_args(type_)[0], converter)
    )
    converter.register_structure_hook(s.Action, _action(converter))
    return converter


def _is_tuple(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is tuple


def _key_overrides(cls: type) -> dict[str, Any]:
    return {
        a.name: override(rename=key_of(a)) for a in attrs.fields(cls) if key_of(a) != a.name
    } | {"_cattrs_forbid_extra_keys": True}


def _table(cls: type, read: Check) -> Check:
    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("is not a table")
        return read(value, cls)

    return check


def _list(item: Any, converter: Converter) -> Check:
    read = converter.get_structure_hook(list[item])

    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("is not a list")
        return tuple(read(value, list[item]))

    return check


def _action(converter: Converter) -> Check:
    """``{ type = …, config = { … } }`` as the action's own class."""

    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("is not a table")
        type_ = value.get("type")
        if not isinstance(type_, str) or type_ not in s.ACTIONS:
            raise ValueError(f".type: '{type_}' is not one of {' '.join(s.ACTIONS)}")
        if extra := set(value) - {"type", "config"}:
            name = min(extra)
            raise ValueError(f".{name}: {unknown_key(name, ['type', 'config'])}")
        try:
            return converter.structure(value.get("config", {}), s.ACTIONS[type_])
        except Exception as error:
            error.add_note(AttributeValidationNote("config", "config", s.ACTIONS[type_]))
            raise ClassValidationError("config", [error], s.ACTIONS[type_]) from None

    return check

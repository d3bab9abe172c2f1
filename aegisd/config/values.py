"""Turns plain values (from TOML or the environment) into settings, or says all that is wrong.

cattrs walks the settings' classes and collects every error with its path; the hooks here are
the checks themselves, one for each named type in ``settings``. A check raises ``ValueError``
with the rest of the sentence that starts with the key's path.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin
from urllib.parse import urlsplit

import attrs
from cattrs import Converter, transform_error
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
)
from cattrs.gen import make_dict_structure_fn, override

from aegisd.config import dsn, patterns
from aegisd.config import settings as s
from aegisd.config.address import MAX_PORT, is_loopback, split_address
from aegisd.errors import ConfigError

MAX_IDENTIFIER_CHARACTERS = 255
MAX_INTEGER = 2**63 - 1  # what TOML can write
MAX_DAYS = 36_500
MAX_ENDPOINTS = 100_000  # each has a sketch of 6 kB
MIN_SHARE = 1e-6  # of a smaller one hardly a row comes, each for more requests than there are
MAX_SOCKET_BUFFER = 2**31 - 1  # socket(7) takes an int

_END = "\0"  # of each line that is explained

Hook = Callable[[Any, Any], Any]


def structure(data: Mapping[str, Any], environment: Mapping[str, str]) -> s.Settings:
    """Read ``data`` as settings; ``environment`` serves ``{ env = "…" }`` secrets.

    Raises ConfigError with every problem, one a line, each led by its key's path.
    """
    try:
        return _converter(environment).structure(data, s.Settings)
    except Exception as error:
        reports = transform_error(error, path="", format_exception=_explain)
        raise ConfigError(sorted(line for report in reports for line in _lines(report))) from None


def key_of(attribute: "attrs.Attribute[Any]") -> str:
    """The configuration's name of a setting (``from`` can't be a Python name)."""
    return str(attribute.metadata.get("key", attribute.name))


def _lines(report: str) -> list[str]:
    """cattrs puts the path behind an ``@``; here it leads each line."""
    texts, _, path = report.partition(f"{_END} @ ")
    path = re.sub(r"_(?=[.[]|$)", "", path.lstrip("."))  # from_ stands for from
    return [
        _shown(f"{path}{line}".lstrip(".") if line.startswith(".") else f"{path}: {line}")
        for line in texts.split(_END)
    ]


def _explain(error: BaseException, type_: type | None) -> str:
    return _explanation(error, type_) + _END


def _explanation(error: BaseException, type_: type | None) -> str:
    if isinstance(error, ForbiddenExtraKeysError):
        known = [key_of(a) for a in attrs.fields(error.cl)]
        return _END.join(
            f".{_shown(key)}: {unknown_key(key, known)}" for key in sorted(error.extra_fields)
        )
    if isinstance(error, KeyError):
        return "is missing"
    if get_origin(type_) is Literal:
        value = _shown(str(error).split(" not in literal ")[0])
        return f"'{value}' is not one of {' '.join(get_args(type_))}"
    return str(error)


def _shown(text: str) -> str:
    """``text`` on one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def unknown_key(name: str, known: list[str]) -> str:
    """Say that a key is unknown, and which one may have been meant."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"unknown key; the nearest known one is {close[0]}" if close else "unknown key"


def _converter(environment: Mapping[str, str]) -> Converter:
    converter = Converter(forbid_extra_keys=True)
    for type_, check in _CHECKS.items():
        converter.register_structure_hook(type_, check)
    secrets: dict[Any, Callable[[str], str]] = {
        s.Secret: str,
        s.SecretUrl: _secret_url,
        s.Dsn: _dsn(environment),
    }
    for type_, finish in secrets.items():
        converter.register_structure_hook(type_, _secret(environment, finish))
    converter.register_structure_hook_factory(
        attrs.has, lambda cls: _table(cls, make_dict_structure_fn(cls, converter, **_renames(cls)))
    )
    converter.register_structure_hook_factory(
        _is_tuple, lambda type_: _list(get_args(type_)[0], converter)
    )
    converter.register_structure_hook(s.Action, _action(converter))
    return converter


def _is_tuple(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is tuple


def _renames(cls: type) -> dict[str, Any]:
    return {
        a.name: override(rename=key_of(a)) for a in attrs.fields(cls) if key_of(a) != a.name
    } | {"_cattrs_forbid_extra_keys": True}


def _table(cls: type, read: Hook) -> Hook:
    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("is not a table")
        return read(value, cls)

    return check


def _list(item: Any, converter: Converter) -> Hook:
    read = converter.get_structure_hook(list[item])

    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("is not a list")
        return tuple(read(value, list[item]))

    return check


def _action(converter: Converter) -> Hook:
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


def _secret(environment: Mapping[str, str], finish: Callable[[str], str]) -> Hook:
    """A secret in the file itself, or in the file or variable that a table names."""

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


def _up_to(limit: int) -> Hook:
    def check(value: Any, _: Any) -> int:
        if type(value) is not int or not 1 <= value <= limit:
            raise ValueError(f"{value!r} is not a whole number from 1 to {limit}")
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


def _url_path(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
        raise ValueError(f"'{text}' is not a path like /ws/metrics")
    return text


def _path_pattern(value: Any, type_: Any) -> str:
    text = _text(value, type_)
    patterns.parse(text)
    return text


def _secret_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http:// or https:// address")
    return text


def _dsn(environment: Mapping[str, str]) -> Callable[[str], str]:
    return lambda text: text if text == "embedded" else dsn.complete(text, environment)


_CHECKS: dict[Any, Hook] = {
    str: _text,
    bool: _bool,
    float: _number,
    s.Positive: _positive,
    s.Days: _up_to(MAX_DAYS),
    s.EndpointCount: _up_to(MAX_ENDPOINTS),
    s.SocketBuffer: _up_to(MAX_SOCKET_BUFFER),
    s.Port: _up_to(MAX_PORT),
    s.Share: _share,
    s.Identifier: _identifier,
    s.Address: _address,
    s.OptionalAddress: _optional_address,
    s.Mode: _mode,
    s.HexDigest: _hex_digest,
    s.UrlPath: _url_path,
    s.PathPattern: _path_pattern,
}


def consistency(settings: s.Settings) -> list[str]:
    """Problems that no key has alone, one line each."""
    problems = patterns.problems(settings.paths.patterns)
    host, _ = split_address(settings.http.listen)
    if not settings.http.tokens and not is_loopback(host):
        problems.append(
            f"http.listen: without http.tokens only loopback may be listened on, not {host!r}"
        )
    if bool(settings.http.tls_certificate) != bool(settings.http.tls_key):
        problems.append("http.tls_key: http.tls_certificate and http.tls_key go together")
    for name, values in {
        "alerts.rules": [rule.id for rule in settings.alerts.rules],
        "http.tokens": [token.name for token in settings.http.tokens],
    }.items():
        problems += [
            f"{name}[{i}]: '{value}' is there twice"
            for i, value in enumerate(values)
            if value in values[:i]
        ]
    return problems


def type_at(path: list[str]) -> Any:
    """The declared type of the key at ``path``; LookupError with the reason where there is none."""
    type_: Any = s.Settings
    for i, key in enumerate(path):
        names = {key_of(a): a for a in attrs.fields(type_)} if attrs.has(type_) else {}
        if key not in names:
            raise LookupError(
                unknown_key(".".join(path), [".".join([*path[:i], n]) for n in names])
            )
        type_ = names[key].type
    return cast(Any, type_)

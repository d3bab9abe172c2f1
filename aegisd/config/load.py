"""Loads the settings: defaults, over them the file, over that the environment.

What is read stays plain data here. ``structure`` checks each key, ``consistency`` keys together.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aegisd.config.consistency import consistency_problems
from aegisd.config.keys import type_at
from aegisd.config.settings import Settings
from aegisd.config.structure import structure
from aegisd.errors import ConfigError

DEFAULT_FILE = Path("/etc/aegisd/aegisd.toml")
ENVIRONMENT_PREFIX = "AEGISD_"
FILE_VARIABLE = "AEGISD_CONFIG"
TOKEN_VARIABLE = "AEGISD_TOKEN"  # noqa: S105 - a name; `aegisd top` reads its token there
MAX_FILE_BYTES = 1024 * 1024  # far above any configuration: stops at a wrong path


def load(file: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """The effective settings.

    ``file`` defaults to ``$AEGISD_CONFIG``, then ``/etc/aegisd/aegisd.toml`` where it exists.
    Raises ConfigError with every problem at once.
    """
    environment = os.environ if environment is None else environment
    data = _read_file(file or _default_file(environment))
    problems = _set_from_environment(data, environment)
    try:
        settings = structure(data, environment)
    except ConfigError as error:
        problems += error.problems
        settings = structure(_without_problems(data, error.problems), environment)
    problems += consistency_problems(settings)
    if problems:
        raise ConfigError(problems)
    return settings


def settings_of(data: Mapping[str, Any]) -> Settings:
    """The settings of plain data, as a file would give it. Raises ConfigError."""
    return structure(data, {})


def _without_problems(data: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The tables without a problem. Their consistency can still be checked."""
    return {
        key: value
        for key, value in data.items()
        if not any(line.startswith((f"{key}.", f"{key}:", f"{key}[")) for line in problems)
    }


def _default_file(environment: Mapping[str, str]) -> Path | None:
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    try:
        exists = DEFAULT_FILE.exists()
    except OSError:  # no permission; reading the file gives the error to show
        exists = True
    return DEFAULT_FILE if exists else None


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError([f"{file}: larger than {MAX_FILE_BYTES} bytes"])
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{file}: not TOML: {error}"]) from None


def _set_from_environment(data: dict[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Set the keys of variables such as ``AEGISD_HTTP__LISTEN`` in ``data``; return the problems.

    The value of a text key is taken as it is. Any other value is written as in TOML.
    """
    problems = []
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in (FILE_VARIABLE, TOKEN_VARIABLE):
            continue
        path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        try:
            type_ = type_at(path)
            value = text if _is_text(type_) else tomllib.loads(f"value = {text}")["value"]
            table = data
            for key in path[:-1]:
                table = table.setdefault(key, {})
            table[path[-1]] = value
        except LookupError as error:
            problems.append(f"{name}: {error.args[0]}")
        except (ValueError, RecursionError):  # the text may hold a secret
            problems.append(f"{name}: is not a value as TOML writes it")
        except (AttributeError, TypeError):  # the file has no table there: structure() reports it
            continue
    return problems


def _is_text(type_: Any) -> bool:
    base = getattr(type_, "__supertype__", type_)
    origin = getattr(type_, "__origin__", None)
    return base is str or (origin is not None and all(isinstance(a, str) for a in type_.__args__))

"""Where the settings come from: defaults, then the file, then the environment.

Everything read is data here; ``checks`` says whether it is right.
"""

import os
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from aegisd.config import checks, conninfo
from aegisd.config import settings as s
from aegisd.config.conninfo import MASK
from aegisd.errors import ConfigError

DEFAULT_FILE = Path("/etc/aegisd/aegisd.toml")
ENVIRONMENT_PREFIX = "AEGISD_"
FILE_VARIABLE = "AEGISD_CONFIG"
TOKEN_VARIABLE = "AEGISD_TOKEN"  # noqa: S105 - a name; `aegisd top` shows it to the daemon
MAX_FILE_BYTES = 1024 * 1024  # a configuration is read by people; this stops a wrong path


def load(file: Path | None, environment: Mapping[str, str] | None = None) -> s.Settings:
    """The effective settings.

    ``file`` defaults to ``$AEGISD_CONFIG``, then ``/etc/aegisd/aegisd.toml`` where it exists.
    Raises ConfigError with every problem at once.
    """
    environment = os.environ if environment is None else environment
    data = _read_file(file or _default_file(environment))
    problems = _overlay(data, environment)
    try:
        settings = checks.structure(data, environment)
    except ConfigError as error:
        problems += error.problems
        settings = checks.structure(_sound(data, error.problems), environment)
    problems += checks.consistency(settings)
    if problems:
        raise ConfigError(problems)
    return settings


def _sound(data: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The tables that no problem is about."""
    return {
        key: value
        for key, value in data.items()
        if not any(line.startswith((f"{key}.", f"{key}:", f"{key}[")) for line in problems)
    }


def _default_file(environment: Mapping[str, str]) -> Path | None:
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    try:
        there = DEFAULT_FILE.exists()
    except OSError:  # its directory is closed to us, and reading will say so
        there = True
    return DEFAULT_FILE if there else None


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


def _overlay(data: dict[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Set into ``data`` what ``AEGISD_HTTP__LISTEN`` and its like say; return the problems.

    Text is taken as it stands; any other type is written as in TOML.
    """
    problems = []
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in (FILE_VARIABLE, TOKEN_VARIABLE):
            continue
        path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        try:
            type_ = checks.type_at(path)
            value = text if _is_text(type_) else tomllib.loads(f"value = {text}")["value"]
            table = data
            for key in path[:-1]:
                table = table.setdefault(key, {})
            table[path[-1]] = value
        except LookupError as error:
            problems.append(f"{name}: {error.args[0]}")
        except (ValueError, RecursionError):  # the text may hold a secret
            problems.append(f"{name}: is not a value as TOML writes it")
        except (AttributeError, TypeError):  # the file has something else than a table on the way
            continue  # and structure() reports that
    return problems


def _is_text(type_: Any) -> bool:
    base = getattr(type_, "__supertype__", type_)
    origin = getattr(type_, "__origin__", None)
    return base is str or (origin is not None and all(isinstance(a, str) for a in type_.__args__))


def as_toml_values(value: Any) -> Any:
    """Settings as plain values that TOML can write, secrets masked, absent keys left out."""
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
    values = {checks.key_of(a): (a.type, getattr(settings, a.name)) for a in fields}
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


@attrs.frozen
class Directories:
    """The directories behind ``{runtime}`` and ``{state}``, and the name behind ``{hostname}``."""

    runtime: Path
    state: Path
    hostname: str

    @classmethod
    def of(cls, environment: Mapping[str, str], uid: int) -> "Directories":
        """As systemd names them, else the system's for root, else the user's (XDG)."""
        home = Path(environment.get("HOME") or "/")
        if given := environment.get("STATE_DIRECTORY"):
            state = Path(given.split(":")[0])  # systemd joins several with colons
        elif uid == 0:
            state = Path("/var/lib/aegisd")
        else:
            state = Path(environment.get("XDG_STATE_HOME") or home / ".local/state") / "aegisd"
        if given := environment.get("RUNTIME_DIRECTORY"):
            runtime = Path(given.split(":")[0])
        elif uid == 0:
            runtime = Path("/run/aegisd")
        elif given := environment.get("XDG_RUNTIME_DIR"):
            runtime = Path(given) / "aegisd"
        else:
            runtime = state / "run"  # no session, as under su or in a container
        return cls(runtime=runtime, state=state, hostname=socket.gethostname())

    @classmethod
    def here(cls) -> "Directories":
        """Those of this process."""
        return cls.of(os.environ, os.getuid())

    def expand(self, text: str) -> str:
        """``text`` with the places filled in."""
        return (
            text.replace("{runtime}", str(self.runtime))
            .replace("{state}", str(self.state))
            .replace("{hostname}", self.hostname)
        )

"""libpq's service files (``pg_service.conf``): each section is a named set of parameters."""

from collections.abc import Iterator, Mapping
from pathlib import Path


def read_service(service: str, environment: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """The first file that has the service, and its parameters. The user's file comes first.

    Raises ValueError where no file has it, or a file can't be read. The error shows no line, which
    may hold a password.
    """
    files = list(_files(environment))
    for file in files:
        lines = _lines(file)
        if f"[{service}]" in lines:
            return file, dict(_section(file, lines, lines.index(f"[{service}]") + 1))
    raise ValueError(
        f"service={service!r} is in no file ({', '.join(map(str, files)) or 'none is known'});"
        " PGSERVICEFILE names the file"
    )


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    if named := environment.get("PGSERVICEFILE"):
        yield Path(named)
    elif home := environment.get("HOME"):
        yield Path(home) / ".pg_service.conf"
    if system := environment.get("PGSYSCONFDIR"):
        yield Path(system) / "pg_service.conf"


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"service: can't read {file}: {reason}") from None


def _section(file: Path, lines: list[str], start: int) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines[start:], start + 1):
        if line.startswith("["):
            return
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or name.strip() == "service":
            what = "names another service" if equals else "is no key=value"
            raise ValueError(f"service: {file}, line {number}, {what}")
        yield name.strip(), value.strip()

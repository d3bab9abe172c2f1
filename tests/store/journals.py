"""What tests of the journal share: journals in directories, and what stands in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.segments import SUFFIX

PLENTY = 1024**3
SECOND = 1_790_000_000
UID = 1000


@contextmanager
def opened(directory: Path, max_bytes: int = PLENTY, now: int = 0) -> Iterator[Journal]:
    """A journal; ``now`` is where a new one starts."""
    journal = Journal(directory, max_bytes, now)
    try:
        yield journal
    finally:
        journal.close()


def add(journal: Journal, *entries: bytes, events: int = 1, **moved: int) -> None:
    for entry in entries:
        journal.append(events, entry, {(UID, name): mark for name, mark in moved.items()}, SECOND)


def held(journal: Journal, position: int = 0) -> list[tuple[int, bytes]]:
    """Position and entry of each record from a position on."""
    cursor = Cursor(journal, position)
    found = []
    while (record := cursor.next()) is not None:
        found.append((record.position, record.payload))
    cursor.close()
    return found


def entries(journal: Journal, position: int = 0) -> list[bytes]:
    return [entry for _, entry in held(journal, position)]


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{SUFFIX}"))


def aside(directory: Path) -> list[Path]:
    """What was set aside."""
    return sorted(directory.glob("*.corrupt"))


def flip(path: Path, offset: int) -> None:
    """Change a byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def known(journal: Journal, *sources: str) -> dict[str, Any]:
    return {source: journal.marks.get((UID, source)) for source in sources}

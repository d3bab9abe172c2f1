"""What tests of the journal share: journals in directories, and what their files hold."""

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


def add(journal: Journal, *payloads: bytes, events: int = 1, **moved: int) -> None:
    """Append a record for each payload."""
    for payload in payloads:
        journal.append(events, payload, {(UID, name): mark for name, mark in moved.items()}, SECOND)


def numbered_payloads(*ranges: range) -> list[bytes]:
    """Those of the records in the fixture ``three_segments``."""
    return [b"block %d" % number for range_ in ranges for number in range_]


def placed_payloads(journal: Journal, position: int = 0) -> list[tuple[int, bytes]]:
    """Position and payload of each record from a position on."""
    cursor = Cursor(journal, position)
    found = []
    while (record := cursor.next()) is not None:
        found.append((record.position, record.payload))
    cursor.close()
    return found


def payloads(journal: Journal, position: int = 0) -> list[bytes]:
    return [payload for _, payload in placed_payloads(journal, position)]


def files(directory: Path) -> list[Path]:
    """The segments' files."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def set_aside(directory: Path) -> list[Path]:
    """The files that were set aside."""
    return sorted(directory.glob("*.corrupt"))


def flip_byte(path: Path, offset: int) -> None:
    """Change a byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def marks_of(journal: Journal, *sources: str) -> dict[str, Any]:
    """The marks of these sources of UID."""
    return {source: journal.marks.get((UID, source)) for source in sources}

"""How far each source of the stream has come: the number of its events that are in the journal.

Marks are written with the entry that moves them, so that both are on disk or neither is, and all
of them once at the beginning of each segment, so that the last segment tells them all.
"""

from collections.abc import Iterable

import msgpack

KEEP_SECONDS = 24 * 3600
MAX_SOURCES = 100_000


class Marks:
    """The marks of the sources heard of lately. Times are wall-clock seconds since 1970."""

    def __init__(self) -> None:
        # in the order in which they were last heard of: the first is the one silent longest
        self._known: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, source: str) -> int | None:
        """How many of a source's events are in the journal; None where nothing is known of it."""
        known = self._known.get(source)
        return None if known is None else known[0]

    def put(self, moved: dict[str, int], now: int) -> None:
        """Move marks."""
        for source, mark in moved.items():
            self._known.pop(source, None)
            self._known[source] = mark, now
        while len(self._known) > MAX_SOURCES:
            del self._known[next(iter(self._known))]

    def forget(self, now: int) -> None:
        """Forget sources that were silent too long."""
        for source, (_, heard) in list(self._known.items()):
            if heard > now - KEEP_SECONDS:
                break
            del self._known[source]

    def pack(self) -> bytes:
        """All marks as bytes."""
        return _pack(self._known)

    def load(self, data: bytes) -> None:
        """Take over marks from bytes, which are later than those known. Raises ValueError."""
        try:
            marks = [(str(k), int(mark), int(heard)) for k, (mark, heard) in _items(data)]
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no marks: {error}") from error
        for source, mark, heard in marks:
            self.put({source: mark}, heard)


def _items(data: bytes) -> Iterable[tuple[str, tuple[int, int]]]:
    items: Iterable[tuple[str, tuple[int, int]]] = msgpack.unpackb(data).items()
    return items


def pack_moved(moved: dict[str, int], now: int) -> bytes:
    """Marks that an entry moves, as bytes."""
    return _pack({source: (mark, now) for source, mark in moved.items()}) if moved else b""


def _pack(known: dict[str, tuple[int, int]]) -> bytes:
    packed: bytes = msgpack.packb(known)
    return packed

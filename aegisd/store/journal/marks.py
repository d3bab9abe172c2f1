"""How far each source of the stream has come: the number of its events that are in the journal.

A source is a name and the uid of who sends under it: no process can move the mark of another user.
Marks are written with the record that moves them, so that both are on disk or neither is, and all
of them once at the beginning of each segment, so that the last segment tells them all.
"""

from typing import Any

import msgpack

from aegisd.events.units import DAY_SECONDS

KEEP_SECONDS = DAY_SECONDS
MAX_SOURCES = 100_000

ANY_UID = -1
"""The uid of marks that were written before marks had one."""

Source = tuple[int, str]
"""The uid of who sends, and the name."""


class Marks:
    """The marks of the sources heard of lately.

    Times are steady: a wall clock that is set forgets no mark. Nobody knows how long the daemon
    was away, so a mark that is loaded counts as just heard of.
    """

    def __init__(self) -> None:
        # of each uid in the order in which they were last heard of
        self._known: dict[int, dict[str, tuple[int, float]]] = {}
        self._size = 0
        self._begun: float | None = None  # the first time that is known
        self._now = 0.0  # seconds since then

    def __len__(self) -> int:
        return self._size

    def get(self, source: Source) -> int | None:
        """How many of a source's events are in the journal; None where nothing is known of it."""
        uid, name = source
        for known in (self._known.get(uid), self._known.get(ANY_UID)):
            if known is not None and name in known:
                return known[name][0]
        return None

    def move(self, moved: dict[Source, int]) -> None:
        """Move marks."""
        for (uid, name), mark in moved.items():
            known = self._known.setdefault(uid, {})
            self._size += name not in known
            known.pop(name, None)
            known[name] = mark, self._now
            if self._size > MAX_SOURCES:
                self._drop(max(self._known, key=lambda uid: len(self._known[uid])))

    def forget(self, now: float) -> None:
        """Forget sources that were silent too long; ``now`` is in steady seconds."""
        if self._begun is None:  # marks were loaded before: a machine may be up for long by then
            self._begun = now
        self._now = now - self._begun
        for uid, known in list(self._known.items()):
            while known and next(iter(known.values()))[1] <= self._now - KEEP_SECONDS:
                self._drop(uid)

    def _drop(self, uid: int) -> None:
        """Drop a uid's source that was silent longest."""
        known = self._known[uid]
        del known[next(iter(known))]
        self._size -= 1
        if not known:
            del self._known[uid]

    def pack(self) -> bytes:
        """All marks as bytes."""
        return _packed(
            [uid, name, mark]
            for uid, known in self._known.items()
            for name, (mark, _) in known.items()
        )

    def load(self, data: bytes) -> None:
        """Take over marks from bytes, which are later than those known. Raises ValueError."""
        try:
            marks = list(map(_checked, _rows(msgpack.unpackb(data))))
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"no marks: {error}") from error
        for source, mark in marks:
            self.move({source: mark})


def pack_moved(moved: dict[Source, int]) -> bytes:
    """Marks that a record moves, as bytes."""
    return _packed([*source, mark] for source, mark in moved.items()) if moved else b""


def _packed(rows: Any) -> bytes:
    packed: bytes = msgpack.packb(list(rows))
    return packed


def _rows(read: Any) -> Any:
    if isinstance(read, dict):  # of journals from before marks had a uid: {name: [mark, time]}
        return [(ANY_UID, name, mark) for name, (mark, _) in read.items()]
    return read


def _checked(row: Any) -> tuple[Source, int]:
    uid, name, mark = row
    if not (isinstance(uid, int) and isinstance(name, str) and isinstance(mark, int)):
        raise TypeError(f"{row!r}")
    return (uid, name), mark

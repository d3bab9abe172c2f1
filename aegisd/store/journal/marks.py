"""Marks: up to where the journal has the events of each of the stream's sources.

A source is a name and the uid of the process that sends under it, so no user's process can move
the mark of another user's source. A mark is the seq behind the source's last message that was
taken: nothing before it is taken again. A record has the marks it moves, so that events and marks
reach the disk together or not at all. Each segment begins with all marks, so the last segment is
enough to know them.

On disk, marks are a MessagePack list of ``[uid, name, mark]``. Journals of the first releases have
a map of ``name`` to ``[mark, time]``, without uids.
"""

from typing import Any

import msgpack

from aegisd.events.units import DAY_SECONDS

KEEP_SECONDS = DAY_SECONDS
MAX_SOURCES = 100_000
"""With more, the uid that has the most sources loses the one that was silent longest."""

ANY_UID = -1
"""The uid of marks that were stored without one: they hold for the name, whatever the uid."""

SourceKey = tuple[int, str]
"""A uid and a name."""


class Marks:
    """The marks of the sources that moved theirs within KEEP_SECONDS.

    Times are steady, so no mark is forgotten when the wall clock is set. How long the daemon was
    down is not known, so a mark that is loaded counts as moved now.
    """

    def __init__(self) -> None:
        # uid -> name -> (mark, when it moved), the names of a uid in the order of these times
        self._known: dict[int, dict[str, tuple[int, float]]] = {}
        self._size = 0
        self._begun: float | None = None  # the steady time of the first ``forget``
        self._now = 0.0  # seconds since then

    def __len__(self) -> int:
        return self._size

    def get(self, source: SourceKey) -> int | None:
        """A source's mark; None where it is not known."""
        uid, name = source
        for known in (self._known.get(uid), self._known.get(ANY_UID)):
            if known is not None and name in known:
                return known[name][0]
        return None

    def move(self, moved: dict[SourceKey, int]) -> None:
        """Set marks."""
        for (uid, name), mark in moved.items():
            known = self._known.setdefault(uid, {})
            self._size += name not in known
            known.pop(name, None)
            known[name] = mark, self._now
            if len(self) > MAX_SOURCES:
                self._drop(max(self._known, key=lambda uid: len(self._known[uid])))

    def forget(self, now: float) -> None:
        """Forget the marks that did not move for KEEP_SECONDS; ``now`` is in steady seconds."""
        if self._begun is None:  # marks loaded before it have the time 0, whatever ``now`` is
            self._begun = now
        self._now = now - self._begun
        for uid, known in list(self._known.items()):
            while known and next(iter(known.values()))[1] <= self._now - KEEP_SECONDS:
                self._drop(uid)

    def _drop(self, uid: int) -> None:
        """Drop the source of a uid whose mark moved first."""
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
        """Set the marks that bytes hold. Raises ValueError where they hold none; then sets none."""
        try:
            marks = list(map(_checked, _rows(msgpack.unpackb(data))))
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"no marks: {error}") from error
        for source, mark in marks:
            self.move({source: mark})


def pack_moved(moved: dict[SourceKey, int]) -> bytes:
    """The marks that a record moves, as bytes: none where it moves none."""
    return _packed([*source, mark] for source, mark in moved.items()) if moved else b""


def _packed(rows: Any) -> bytes:
    packed: bytes = msgpack.packb(list(rows))
    return packed


def _rows(read: Any) -> Any:
    if isinstance(read, dict):  # {name: [mark, time]}
        return [(ANY_UID, name, mark) for name, (mark, _) in read.items()]
    return read


def _checked(row: Any) -> tuple[SourceKey, int]:
    uid, name, mark = row
    if not (isinstance(uid, int) and isinstance(name, str) and isinstance(mark, int)):
        raise TypeError(f"{row!r}")
    return (uid, name), mark

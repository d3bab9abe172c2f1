"""The journal on disk: what was accepted, until it is in the database.

Each event has a position, its number in the journal. Records are appended to the newest segment,
synced together, read in order by a ``Cursor``, and deleted from the front, a segment at a time.
How it is opened is in ``opening``, how the newest segment reaches the disk in ``segment_writer``.

::

    segments   |======= 0 =======|===== 1000 =====|          |==== 9000 =====>
                       ^                          ^          ^               ^
                   committed               previous end    first            end
                                           of the last     of the last

Invariants:

1. Positions grow and are never given twice. The files have no event at some positions: those that a
   start leaves out (see ``opening.first_position``); one behind each segment that has no event,
   since a segment's name is its first position and the next segment needs another name; and those
   that ``skip`` gives to events that only memory has.
2. A segment is named after its first position, and its head has the end of the segment before
   (``_previous_ends``). So it is known how many events a segment had whose file is lost.
3. A segment begins with all marks. So it is begun when the segment before is on the disk, and the
   older segments are deleted when its beginning is on the disk.
4. A segment is deleted when all its events are committed. A damaged one is read up to the damage,
   and set aside under another name instead.
5. The files take at most ``max_bytes``. Once that limit refuses a record, ``append`` refuses all
   until a segment is deleted: else small records would still find room, and large ones never.

Times are in seconds since 1970, except where a name ends in ``_us``.

Threads: all methods are for trio's thread, but ``sync``, which may run in another one.
"""

import os
from contextlib import suppress
from pathlib import Path

import structlog

from aegisd.errors import AegisdError
from aegisd.events.units import SECOND_US
from aegisd.store.journal import opening
from aegisd.store.journal.marks import Marks, SourceKey, pack_moved
from aegisd.store.journal.note import Note
from aegisd.store.journal.segment_writer import SegmentWriter
from aegisd.store.journal.segments import (
    Segment,
    pack_head,
    pack_record,
    record_bytes,
    segment_named,
    set_aside,
)

SEGMENT_BYTES = 64 * 1024 * 1024
"""Where a new segment is begun: disk space comes back a segment at a time."""


log = structlog.get_logger()


class JournalUnavailable(Exception):
    """The journal can't be written or synced now.

    ``Backlog`` and ``Sync`` raise it, and the intake catches it.
    """


class JournalFull(Exception):
    """A record would take the files beyond ``max_bytes``; see invariant 5."""


class Journal:
    """An open journal."""

    def __init__(self, directory: Path, max_bytes: int, now_us: int) -> None:
        """Open or make the journal in ``directory``; ``now_us`` is in microseconds since 1970.

        Raises AegisdError.
        """
        self._directory = directory
        self._max_bytes = max_bytes
        self.marks = Marks()
        self._appended_at = now_us // SECOND_US  # the last record, for segments' marks
        self._full = False
        self._damaged: set[Segment] = set()
        self._marks_on_disk: Segment | None = None  # the newest segment whose beginning is synced
        try:
            opening.make_directory(directory)
            self._lock = opening.lock_journal(directory)
            self.uuid = opening.identify(directory)
            self._note = Note(directory, self.uuid)
            found = opening.find_end(directory, self.uuid, self.marks)
            self._segments, self._previous_ends = found.segments, found.previous_ends
            self.bytes = sum(segment.path.stat().st_size for segment in found.segments)
            self.end = opening.first_position(now_us, found.end)  # behind the newest event
            self._written_end = self.end  # behind the last record
            segment = segment_named(directory, self.end)
            previous_end = self.end if found.end is None else found.end
            head = self._head(segment, previous_end)
            self._last = SegmentWriter(segment, head)
            self._add(segment, previous_end, head)
        except OSError as error:
            raise AegisdError(
                f"can't use the journal in {directory}: {error.strerror}; set storage.journal"
            ) from None

    # writing

    def append(self, events: int, payload: bytes, moved: dict[SourceKey, int], now: int) -> int:
        """Write a record, into the page cache at least; return its position.

        ``moved`` are the marks that it moves, ``now`` is in seconds since 1970. Raises JournalFull
        and OSError; then nothing was written.
        """
        self._appended_at = now
        marks = pack_moved(moved)
        size = record_bytes(marks, payload)
        if self._full or self.bytes + size > self._max_bytes:
            self._full = True
            raise JournalFull
        if self._last.size >= SEGMENT_BYTES:
            self._last.finish()
            self._begin_next()
        position = self.end
        self._last.append(pack_record(position, events, now, marks, payload), size)
        self.bytes += size
        self.marks.move(moved)
        self.end = self._written_end = position + events
        return position

    def skip(self, events: int) -> int:
        """Give positions to events that only memory has; return the first."""
        position, self.end = self.end, self.end + events
        return position

    def _begin_next(self) -> None:
        """Begin the segment behind the last one. Raises OSError.

        Where the last one holds no event, the next would have the same name: so a position is left
        out between them.
        """
        previous_end = self.end
        segment = segment_named(self._directory, max(self.end, self._segments[-1].first + 1))
        head = self._head(segment, previous_end)
        self._last.begin(segment, head)
        self._add(segment, previous_end, head)
        self.end = segment.first

    def _head(self, segment: Segment, previous_end: int) -> bytes:
        """What a segment begins with: its head, and all marks."""
        marks = pack_record(segment.first, 0, self._appended_at, self.marks.pack(), b"")
        return b"".join([pack_head(self.uuid, segment.first, previous_end), *marks])

    def _add(self, segment: Segment, previous_end: int, head: bytes) -> None:
        self._segments.append(segment)
        self._previous_ends.append(previous_end)
        self.bytes += len(head)

    # syncing

    def sync(self) -> None:
        """Bring all that was appended before to the disk.

        May run in another thread while this one appends. Raises OSError; then the next call writes
        the file anew (see ``segment_writer``).
        """
        self._last.sync()

    @property
    def needs_sync(self) -> bool:
        """Whether ``sync`` has something to do."""
        return self._last.needs_sync

    @property
    def records_appended(self) -> int:
        """Records since the start."""
        return self._last.records_appended

    @property
    def records_synced(self) -> int:
        """How many of those records are on the disk."""
        return self._last.records_synced

    # reading

    @property
    def start(self) -> int:
        """The position of the first event, if there is one."""
        return self._segments[0].first

    @property
    def committed(self) -> int:
        """The committed position, as far as the journal itself knows."""
        return max(self.start, self._note.position)

    def events_from(self, position: int) -> int:
        """How many events have this position or a later one; events that only memory has count."""
        ends = [*self._previous_ends[1:], self.end]
        spans = zip(self._segments, ends, strict=True)
        return sum(max(0, end - max(segment.first, position)) for segment, end in spans)

    def segment_at(self, position: int) -> Segment | None:
        """The segment that holds the event at ``position``, or else the next one."""
        before = [segment for segment in self._segments if segment.first <= position]
        return before[-1] if before else next(iter(self._segments), None)

    def segment_after(self, segment: Segment) -> Segment | None:
        """The segment behind one."""
        return next((s for s in self._segments if s.first > segment.first), None)

    @property
    def rewrites(self) -> int:
        """How often the last segment's file was replaced: then a reader opens it again."""
        return self._last.rewrites

    def mark_damaged(self, segment: Segment) -> bool:
        """Have a segment set aside when it is due for deletion; return whether it was not before.

        A damaged last segment gets no more records: the next one is begun. Raises OSError.
        """
        news = segment not in self._damaged
        self._damaged.add(segment)
        if segment == self._segments[-1]:
            self._begin_next()
        return news

    # deleting

    def trim(self, position: int) -> None:
        """Delete the segments whose events all lie before ``position``: they are committed.

        A failed deletion is tried again by the next call.
        """
        if position != self._note.position:
            with suppress(OSError):  # the database knows it too
                self._note.write(position)
        try:
            if self._full and position >= self._written_end and len(self._segments) == 1:
                self._begin_next()
            while len(self._segments) > 1 and self._previous_ends[1] <= position:
                self._sync_marks()
                self._delete(self._segments[0])
                del self._segments[0], self._previous_ends[0]
                self._full = False
                self.bytes = sum(_size(segment.path) for segment in self._segments)
        except OSError as error:
            log.warning("a file of the journal can't be deleted", why=str(error))

    def _sync_marks(self) -> None:
        """Bring the beginning of the newest segment to the disk: soon it alone has all marks."""
        if self._marks_on_disk != self._segments[-1]:
            with suppress(OSError):  # a full disk first needs the room that a deletion gives
                self.sync()
                self._marks_on_disk = self._segments[-1]

    def _delete(self, segment: Segment) -> None:
        with suppress(FileNotFoundError):
            if segment in self._damaged:
                set_aside(segment.path)
            else:
                segment.path.unlink()
        self._damaged.discard(segment)

    def close(self) -> None:
        """Close the files, and let another process have the journal."""
        self._note.close()
        self._last.close()
        os.close(self._lock)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # somebody has deleted it

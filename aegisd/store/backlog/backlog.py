"""The backlog: the events that are accepted and not committed, in the order of their positions.

All of them are in the journal, and as many as there is room for in memory too, so that a database
that keeps up has nothing read back. While the journal can't be written, new events are in memory
alone; those that find no room there are dropped and counted.

::

      first                                                            end
        v                                                               v
        |== front ==|......gap......|== later ==|.gap.|== later ==|.gap.|
          in memory   journal alone   in memory         in memory

- ``append`` puts a record at the end: into later, or where memory is full into the last gap. A
  record that the journal could not take always goes into later.
- ``next_batch`` grows the front until it has enough events: by the first record of later where no
  event lies before it, else by the gap's next record, which is read from the journal. The front
  stays until it is committed.
- ``commit`` moves ``first`` forward, and drops the records of the front that end before it. One
  that reaches over it stays whole; the next batch begins within it.
- ``resume_from`` moves ``first`` to where the database is, and makes the front a part of later
  again. The next batch begins there.

Invariants:

1. The records in memory do not overlap, and are in order. Each event from ``first`` to the front's
   end is in the front, or counted as lost.
2. An event in a gap is in the journal, or can't be read any more. It is counted as lost, once, when
   the front grows past it: ``_counted_to`` is how far that was.
3. ``_buffered_bytes`` is the size of front and later. ``append`` keeps it within
   MAX_BUFFERED_BYTES; the front may go beyond it by the events of one batch.
4. ``_gaps`` has where each gap that ``append`` made began, and when its first event came.

Positions that a start of the journal left out have no event and are no gap.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

import structlog
from attrs import define

from aegisd.events.block import Block
from aegisd.store.backlog.buffered import Batch, BufferedRecord
from aegisd.store.journal import (
    Cursor,
    Journal,
    JournalFull,
    JournalUnavailable,
    SourceKey,
    pack_blocks,
    unpack_blocks,
)

MAX_BUFFERED_BYTES = 128 * 1024 * 1024
"""About: two to three million requests that were sent in lists."""

log = structlog.get_logger()


@define
class BacklogFigures:
    """What the backlog could not keep."""

    no_room: int = 0  # events that neither the journal nor memory had room for
    lost_with_files: int = 0  # events in the journal that can't be read any more
    error: str | None = None  # why the journal can't be written now


class Backlog:
    """The backlog over a journal. ``clock`` gives seconds since 1970."""

    def __init__(self, journal: Journal, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock
        self._first = journal.start
        self._cursor = Cursor(journal, journal.start)
        self._front: deque[BufferedRecord] = deque()
        self._later: deque[BufferedRecord] = deque()
        self._buffered_bytes = 0
        self._gaps: dict[int, int] = {}  # their start, and when its event came
        self._last_gap_end = -1
        self._counted_to = journal.start
        self.figures = BacklogFigures()

    @property
    def journal_uuid(self) -> UUID:
        """The journal's name in the database."""
        return self._journal.uuid

    @property
    def committed(self) -> int:
        """The position before which all is in the database, as far as the journal itself knows."""
        return self._journal.committed

    @property
    def end(self) -> int:
        """The position behind the newest event."""
        return self._journal.end

    @property
    def events(self) -> int:
        """How many events wait."""
        return self._journal.events_from(self._first)

    # in

    def append(self, blocks: Sequence[Block]) -> None:
        """Keep blocks in the journal, or else in memory alone, or else drop and count them."""
        events = sum(block.size for block in blocks)
        if not events:
            return
        now = int(self._clock())
        try:
            position = self._append(pack_blocks(blocks), events, {}, now)
        except JournalUnavailable:
            if self._buffered_bytes + sum(block.nbytes for block in blocks) > MAX_BUFFERED_BYTES:
                self.figures.no_room += events
                return
            position = self._journal.skip(events)
        self._buffer(BufferedRecord.of(position, list(blocks), now, self._journal.end))

    def append_with_marks(
        self, blocks: Sequence[Block], packed: bytes, moved: dict[SourceKey, int]
    ) -> int:
        """Keep blocks in the journal, with the marks that they move; return the record's number.

        ``packed`` is their payload. They are on the disk when so many records are synced. Raises
        JournalUnavailable; then nothing is kept.
        """
        events = sum(block.size for block in blocks)
        now = int(self._clock())
        position = self._append(packed, events, moved, now)
        if events:
            self._buffer(BufferedRecord.of(position, list(blocks), now, self._journal.end))
        return self._journal.records_appended

    def _append(self, packed: bytes, events: int, moved: dict[SourceKey, int], now: int) -> int:
        """Append to the journal; return the position. Raises JournalUnavailable."""
        try:
            position = self._journal.append(events, packed, moved, now)
        except JournalFull:
            self._note_error("it is full (storage.journal_max_bytes)")
            raise JournalUnavailable from None
        except OSError as error:
            self._note_error(str(error))
            raise JournalUnavailable from None
        if self.figures.error is not None:
            self.figures.error = None
            log.info("the journal is written again")
        return position

    def _note_error(self, why: str) -> None:
        if self.figures.error != why:
            log.error("the journal can't be written, events wait in memory alone", why=why)
        self.figures.error = why

    def _buffer(self, record: BufferedRecord) -> None:
        """Put a new record into later, or where memory is full into a gap."""
        in_journal = self.figures.error is None
        if in_journal and self._buffered_bytes + record.nbytes > MAX_BUFFERED_BYTES:
            if record.position != self._last_gap_end:
                self._gaps[record.position] = record.since
            self._last_gap_end = record.end
            return
        self._later.append(record)
        self._buffered_bytes += record.nbytes

    # out

    def resume_from(self, position: int) -> None:
        """Go on from where the database is: all before ``position`` is in it."""
        self._first = max(position, self._journal.start)
        while self._front:
            self._later.appendleft(self._front.pop())
        while self._later and self._later[0].end <= self._first:
            self._buffered_bytes -= self._later.popleft().nbytes
        self._read_from(self._first)
        self._journal.trim(self._first)

    def next_batch(self, max_events: int) -> Batch | None:
        """The first events that wait, at most so many; None where none waits. They go on waiting.

        Raises OSError where the journal can't be read now, but may be later.
        """
        events = sum(record.end - max(record.position, self._first) for record in self._front)
        while events < max_events and (record := self._take_record()) is not None:
            self._front.append(record)
            events += record.events
        if not self._front:
            self._count_lost(self._first, self._journal.end)
            self._first = self._journal.end  # all that seemed to wait is lost
            return None
        blocks = [placed for record in self._front for placed in record.placed()]
        begin, end = self._front[0].position, self._front[-1].end
        start = max(self._first, begin)
        return Batch(begin, end, blocks).part(start, min(end, start + max_events))

    def commit(self, position: int) -> None:
        """All before ``position`` is in the database."""
        self._first = position
        while self._front and self._front[0].end <= position:
            self._buffered_bytes -= self._front.popleft().nbytes
        self._gaps = {start: since for start, since in self._gaps.items() if start >= position}
        self._journal.trim(position)

    def _take_record(self) -> BufferedRecord | None:
        """Take the record behind the front out of later, or read it; None where there is none.

        Later has it where no event lies between the two. Else the cursor reads the next record:

        1. It lies before later's first one: it is of the gap, and is taken.
        2. It does not, or there is none: what lies in the gap is lost, and later's first is taken.
        """
        end = self._front[-1].end if self._front else self._first
        if self._later and self._is_empty(end, self._later[0].position):
            return self._later.popleft()
        self._cursor.seek(end)
        record = self._cursor.next()
        if self._later and (record is None or record.position >= self._later[0].position):
            # the cursor has read too far: what it has read comes again, unless later has it
            self._read_from(self._later[0].position)
            self._count_lost(end, self._later[0].position)
            return self._later.popleft()
        if record is None:
            return None
        self._count_lost(end, record.position)
        try:
            blocks = unpack_blocks(record.payload)
        except ValueError as error:
            log.error("a record of the journal can't be read", why=str(error))
            self._count_lost(record.position, record.end)
            blocks = []
        read = BufferedRecord.of(record.position, blocks, record.written, record.end)
        self._buffered_bytes += read.nbytes
        return read

    def _read_from(self, position: int) -> None:
        self._cursor.close()
        self._cursor = Cursor(self._journal, position)

    def _is_empty(self, start: int, end: int) -> bool:
        """Whether no event lies between two positions; some positions have none."""
        return end <= start or not self._events_between(start, end)

    def _events_between(self, start: int, end: int) -> int:
        return self._journal.events_from(start) - self._journal.events_from(max(start, end))

    def _count_lost(self, start: int, end: int) -> None:
        """Count the events between two positions as lost, those not yet counted."""
        start = max(start, self._counted_to)
        self._counted_to = max(end, self._counted_to)
        if lost := self._events_between(start, end):
            self.figures.lost_with_files += lost
            log.error("events of the journal are lost", lost=lost, position=start)

    def close(self) -> None:
        """Close the file that is being read."""
        self._cursor.close()

    # what waits

    def buffered(self) -> list[BufferedRecord]:
        """The records in memory, in order. Some of their events may be committed."""
        return [*self._front, *self._later]

    def unbuffered(self) -> list[tuple[int, int]]:
        """The gaps: where each ends, and a time in seconds since 1970.

        All events that came before that time stand before the gap. It is when the gap's first
        event came; where its beginning has been read into the front, when the last event of that
        came.
        """
        since = self.load_oldest() or 0  # then the record is in memory; 0 where none waits
        at = self._front[0].position if self._front else self._first
        found = []
        for record in self.buffered():
            if record.position > at and self._events_between(at, record.position):
                found.append((record.position, self._gaps.get(at, since)))
            at, since = max(at, record.end), record.since
        if self._journal.events_from(at):
            found.append((self._journal.end, self._gaps.get(at, since)))
        return found

    def load_oldest(self) -> int | None:
        """When the first event that waits came, in seconds since 1970; None where none waits.

        Takes its record into the front, which may read it from the journal.
        """
        with suppress(OSError):  # the writer meets it too, and logs it
            if self.events and self.next_batch(1) is not None:
                return self._front[0].since
        return None

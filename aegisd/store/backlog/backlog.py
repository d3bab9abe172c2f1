"""The backlog: the events that are accepted and not committed, in the order of their positions.

All of them are in the journal. As many as there is room for are buffered in memory too: while the
database keeps up, nothing is read back from the journal. While the journal can't be written, new
events are in memory alone; those that find no room there are dropped and counted.

::

      first                                                            end
        v                                                               v
        |== front ==|......gap......|== later ==|.gap.|== later ==|.gap.|
          buffered    journal alone    buffered          buffered

The buffered records are in two queues, ``_front`` and ``_later``. The next batch is taken from the
front. A gap is a stretch of records that are not buffered.

- ``append`` buffers a record at the end of ``_later``. Where memory is full it does not: the record
  then extends the last gap, or begins one. A record that the journal could not take is in no gap:
  it is buffered, or dropped where memory is full.
- ``next_batch`` grows the front until it has enough events, record by record:

  1. No event lies between the front and the first record of ``_later``: this record moves over.
  2. A gap lies there: its next record is read from the journal.

  The front stays buffered until it is committed.
- ``commit`` moves ``first`` forward, and drops the records of the front that end before it. A
  record with events on both sides of ``first`` stays whole; the next batch begins within it.
- ``resume_from`` moves ``first`` to the committed position that the database has, and moves the
  front back into ``_later``. The next batch begins there.

Invariants:

1. The buffered records do not overlap, and are in order. Each event from ``first`` to the front's
   end is in the front, or counted as lost.
2. An event in a gap is in the journal, or can't be read any more. One that can't be read is counted
   as lost, once, when the front grows past it: ``_counted_to`` is how far that was.
3. ``_buffered_bytes`` is the size of the front and ``_later``. ``append`` keeps it within
   MAX_BUFFERED_BYTES; the front may go beyond it by the events of one batch.
4. ``_gaps`` has where each gap that ``append`` made began, and when its first event was accepted.

The journal leaves out positions when it starts. No event has them, so they are no gap.
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
        self._gaps: dict[int, int] = {}  # a gap's first position -> when its event was accepted
        self._last_gap_end = -1
        self._counted_to = journal.start
        self.figures = BacklogFigures()

    @property
    def journal_uuid(self) -> UUID:
        """The journal's name in the database."""
        return self._journal.uuid

    @property
    def committed(self) -> int:
        """The committed position, as far as the journal itself knows."""
        return self._journal.committed

    @property
    def end(self) -> int:
        """The position behind the newest event."""
        return self._journal.end

    @property
    def events(self) -> int:
        """How many events it has."""
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
        """Buffer a new record; where memory is full it becomes part of a gap."""
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
        """Go on from the committed position that the database has."""
        self._first = max(position, self._journal.start)
        while self._front:
            self._later.appendleft(self._front.pop())
        while self._later and self._later[0].end <= self._first:
            self._buffered_bytes -= self._later.popleft().nbytes
        self._read_from(self._first)
        self._journal.trim(self._first)

    def next_batch(self, max_events: int) -> Batch | None:
        """The first events of the backlog, at most ``max_events``; None where there are none.

        They stay in the backlog; their records are moved or read into the front. Raises OSError
        where the journal can't be read now, but may be later.
        """
        events = sum(record.end - max(record.position, self._first) for record in self._front)
        while events < max_events and (record := self._take_record()) is not None:
            self._front.append(record)
            events += record.positions
        if not self._front:
            self._count_lost(self._first, self._journal.end)
            self._first = self._journal.end  # all that was left is lost
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
        """Take the next record for the front, out of ``_later`` or the journal; None at the end.

        1. No event lies between the front and the first record of ``_later``: take this record.
        2. A gap lies there. The cursor reads the journal's next record:

           a. It lies in the gap: take it.
           b. It lies behind the gap, or there is none: what is left of the gap is lost. Take the
              first record of ``_later``, if there is one.
        """
        end = self._front[-1].end if self._front else self._first
        if self._later and self._is_empty(end, self._later[0].position):
            return self._later.popleft()
        self._cursor.seek(end)
        record = self._cursor.next()
        if self._later and (record is None or record.position >= self._later[0].position):
            # the cursor has read too far: set it back
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

    # what the backlog has

    def buffered(self) -> list[BufferedRecord]:
        """The buffered records, in order. Some of their events may be committed."""
        return [*self._front, *self._later]

    def unbuffered(self) -> list[tuple[int, int]]:
        """The gaps: where each ends, and a time in seconds since 1970.

        All events that were accepted before that time lie before the gap. It is when the gap's
        first event was accepted. Where the gap's beginning has been read into the front already, it
        is when the front's last event was accepted.

        Changes the front as ``load_oldest`` does.
        """
        since = self.load_oldest() or 0  # 0 where the backlog is empty
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
        """When the oldest event was accepted, in seconds since 1970; None where there is none.

        Moves or reads its record into the front, as ``next_batch`` does, and counts events before
        it as lost that can't be read.
        """
        with suppress(OSError):  # the writer meets it too, and logs it
            if self.events and self.next_batch(1) is not None:
                return self._front[0].since
        return None

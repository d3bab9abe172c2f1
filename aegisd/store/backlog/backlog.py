"""What was accepted and is not in the database yet, in the order of its positions.

All of it is in the journal, and the newest also in memory, as far as there is room: mostly the
database keeps up, and nothing is read back. While the journal can't be written, memory alone
holds what comes, and what finds no room is dropped and counted.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

import structlog
from attrs import define

from aegisd.events.block import Block
from aegisd.store.backlog.batch import Batch, BufferedRecord
from aegisd.store.journal import Cursor, Journal, JournalFull, JournalUnavailable, Source, payload

MAX_BUFFERED_BYTES = 128 * 1024 * 1024
"""In memory, about: two to three million requests in lists."""

log = structlog.get_logger()


@define
class BacklogFigures:
    """What could not be kept."""

    dropped: int = 0  # events that neither the journal nor memory had room for
    error: str | None = None  # why the journal can't be written


class Backlog:
    """The events that wait. ``clock`` gives seconds since 1970."""

    def __init__(self, journal: Journal, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock
        self._position = journal.start
        self._cursor = Cursor(journal, journal.start)
        self._front: deque[BufferedRecord] = deque()  # from the position on, without gaps
        self._later: deque[BufferedRecord] = deque()  # what lies between the two is in the journal
        self._buffered_bytes = 0
        self._unbuffered: dict[
            int, int
        ] = {}  # where stretches begin that had no room, when they came
        self._unbuffered_end = -1  # of the last one
        self._looked_to = journal.start  # what is lost before is counted
        self.figures = BacklogFigures()

    @property
    def journal(self) -> UUID:
        """The journal's name in the database."""
        return self._journal.uuid

    @property
    def lost_with_files(self) -> int:
        """Events that stood where nothing can be read any more."""
        return self._journal.figures.lost

    @property
    def dropped(self) -> int:
        """Events that were accepted and then lost here."""
        return self.figures.dropped + self.lost_with_files

    @property
    def committed(self) -> int:
        """From where on there may be events that are not stored."""
        return self._journal.committed

    @property
    def end(self) -> int:
        """The position behind the newest event."""
        return self._journal.end

    # what comes in

    def append(self, blocks: Sequence[Block]) -> None:
        """Keep blocks that came together, on disk or in memory at the least."""
        events = sum(block.size for block in blocks)
        if not events:
            return
        now = int(self._clock())
        try:
            position = self._append(payload.pack(blocks), events, {}, now)
        except JournalUnavailable:
            if self._buffered_bytes + sum(block.nbytes for block in blocks) > MAX_BUFFERED_BYTES:
                self.figures.dropped += events
                return
            position = self._journal.skip(events)
        self._buffer(BufferedRecord.of(position, list(blocks), now, self._journal.end))

    def append_durably(
        self, blocks: Sequence[Block], packed: bytes, moved: dict[Source, int]
    ) -> int:
        """Keep blocks in the journal, with the marks that they move; return the record's number.

        ``packed`` is what ``payload`` makes of them. They are on disk when that many records are
        synced. Raises JournalUnavailable.
        """
        events = sum(block.size for block in blocks)
        now = int(self._clock())
        position = self._append(packed, events, moved, now)
        if events:
            self._buffer(BufferedRecord.of(position, list(blocks), now, self._journal.end))
        return self._journal.records_appended

    def _append(self, packed: bytes, events: int, moved: dict[Source, int], now: int) -> int:
        try:
            position = self._journal.append(events, packed, moved, now)
        except JournalFull:
            self._cannot_write("it is full (storage.journal_max_bytes)")
            raise JournalUnavailable from None
        except OSError as error:
            self._cannot_write(str(error))
            raise JournalUnavailable from None
        if self.figures.error is not None:
            self.figures.error = None
            log.info("the journal is written again")
        return position

    def _cannot_write(self, why: str) -> None:
        if self.figures.error != why:
            log.error("the journal can't be written, events wait in memory alone", why=why)
        self.figures.error = why

    def _buffer(self, record: BufferedRecord) -> None:
        """Keep a record in memory, if there is room, or it is nowhere else."""
        on_disk = self.figures.error is None
        if on_disk and self._buffered_bytes + record.nbytes > MAX_BUFFERED_BYTES:
            if record.position != self._unbuffered_end:
                self._unbuffered[record.position] = record.since
            self._unbuffered_end = record.end
            return
        self._later.append(record)
        self._buffered_bytes += record.nbytes

    # what goes out

    def resume_from(self, position: int) -> None:
        """Begin where the database is: what lies before is in it."""
        self._position = max(position, self._journal.start)
        while self._front:
            self._later.appendleft(self._front.pop())
        while self._later and self._later[0].end <= self._position:
            self._buffered_bytes -= self._later.popleft().nbytes
        self._read_from(self._position)
        self._journal.trim(self._position)

    def next_batch(self, max_events: int) -> Batch | None:
        """The next batch, of at most so many events; it stays. None where nothing waits."""
        events = sum(record.end - max(record.position, self._position) for record in self._front)
        while events < max_events and (record := self._next()) is not None:
            self._front.append(record)
            events += record.events
        if not self._front:
            self._miss(self._position, self._journal.end)
            self._position = self._journal.end  # there is nothing to be had before
            return None
        blocks = [placed for record in self._front for placed in record.placed()]
        first, last = self._front[0].position, self._front[-1].end
        start = max(self._position, first)
        return Batch(first, last, blocks).part(start, min(last, start + max_events))

    def buffered(self) -> list[BufferedRecord]:
        """The records in memory, in order: what may not be in the database yet."""
        return [*self._front, *self._later]

    def unbuffered(self) -> list[tuple[int, int]]:
        """The stretches of what waits that are in the journal alone: each one's end, and a time.

        All that came before that time (seconds since 1970) stands before the stretch. It is when
        the stretch's first events came; or when those right before them did, where those were read
        from the journal.
        """
        since = self.oldest or 0  # its record is in memory then; else nothing is known
        at = self._front[0].position if self._front else self._position
        found = []
        for record in self.buffered():
            if record.position > at and self._events(at, record.position):
                found.append((record.position, self._unbuffered.get(at, since)))
            at, since = max(at, record.end), record.since
        if self._journal.events_from(at):
            found.append((self._journal.end, self._unbuffered.get(at, since)))
        return found

    def commit(self, position: int) -> None:
        """All before ``position`` is in the database."""
        self._position = position
        while self._front and self._front[0].end <= position:
            self._buffered_bytes -= self._front.popleft().nbytes
        self._unbuffered = {at: since for at, since in self._unbuffered.items() if at >= position}
        self._journal.trim(position)

    def _next(self) -> BufferedRecord | None:
        """The record behind the front: from memory where it is there, else from the journal."""
        end = self._front[-1].end if self._front else self._position
        if self._later and self._nothing_between(end, self._later[0].position):
            return self._later.popleft()
        self._cursor.seek(end)
        record = self._cursor.next()
        if self._later and (record is None or record.position >= self._later[0].position):
            # there was nothing between them; the record may be behind what memory alone has
            self._read_from(self._later[0].position)
            self._miss(end, self._later[0].position)
            return self._later.popleft()
        if record is None:
            return None
        self._miss(end, record.position)
        try:
            blocks = payload.unpack(record.payload)
        except ValueError as error:
            log.error("a record of the journal can't be read", why=str(error))
            self._miss(record.position, record.end)
            blocks = []
        read = BufferedRecord.of(record.position, blocks, record.written, record.end)
        self._buffered_bytes += read.nbytes
        return read

    def _nothing_between(self, start: int, end: int) -> bool:
        """Whether no event stands between two positions; some positions no event has."""
        if end <= start:
            return True
        return self._journal.events_from(start) == self._journal.events_from(end)

    def _read_from(self, position: int) -> None:
        self._cursor.close()
        self._cursor = Cursor(self._journal, position)

    def _miss(self, start: int, end: int) -> None:
        """Count the events between two positions, which can't be read any more."""
        start = max(start, self._looked_to)
        self._looked_to = max(end, self._looked_to)
        if lost := self._events(start, end):
            self._journal.figures.lost += lost
            log.error("events of the journal are lost", lost=lost, position=start)

    def _events(self, start: int, end: int) -> int:
        """How many events there are between two positions: a start leaves a gap between them."""
        return self._journal.events_from(start) - self._journal.events_from(max(start, end))

    def close(self) -> None:
        """Close the file that was being read."""
        self._cursor.close()

    @property
    def events(self) -> int:
        """Events that wait."""
        return self._journal.events_from(self._position)

    @property
    def oldest(self) -> int | None:
        """What ``find_oldest`` finds."""
        return self.find_oldest()

    def find_oldest(self) -> int | None:
        """When the oldest waiting event came, in seconds since 1970; None where none waits.

        Reads its record into memory where it is in the journal alone.
        """
        with suppress(OSError):  # the writer finds it, and says so
            if self.events and self.next_batch(1) is not None:
                return self._front[0].since
        return None

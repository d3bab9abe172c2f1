"""Writes the backlog to Postgres in batches, each event exactly once.

States:

=========  ======================================================================================
away       The database, or a file of the journal, can't be used (``figures.connected`` is False).
           The writer reads the committed position and flushes. After a failure it pauses, at
           first 0.5 s, then twice as long up to 30 s. A committed batch ends this state, and so
           does a flush that has nothing to write.
flushing   It writes batch after batch, up to where the backlog ended when the flush began.
waiting    Until the backlog has ``batch_size`` events, or ``flush_interval_ms`` after the last
           flush began.
stopping   After ``stop``: it no longer waits, pauses 0.5 s, and returns when nothing is left.
=========  ======================================================================================

The size of a batch. It is not the setting ``batch_size``, which is the number of events that starts
a flush. A batch has all events of the backlog, within two limits:

- At most ``_max_events``. This is MAX_BATCH_EVENTS at first. A time-out makes it a quarter of what
  the batch had, but no less than MIN_BATCH_EVENTS. A batch that took no longer than QUICK_SECONDS
  doubles it, up to MAX_BATCH_EVENTS.
- At most MAX_BATCH_BYTES as rows. A larger batch is written in halves.

Exactly once. The table ``journals`` has the committed position. A batch is the events between two
positions of the journal. Its transaction writes the rows, and moves the committed position from the
batch's start to its end, if it is at the start. The journal keeps all events from the committed
position on. So after a failure the writer reads it and goes on from there. What a failed write can
mean:

1. The transaction never came to COMMIT. The server rolls it back, the position is the batch's
   start, and the batch is written again.
2. COMMIT was lost on its way. As 1.
3. The server has committed, and its answer was lost. The position is the batch's end: the batch is
   counted as committed (``_sent``), and the next one follows.
4. The server is still at COMMIT when the position is read. The transaction has the row of
   ``journals`` locked, so the reading waits for its end, and finds 1 or 3.
5. The daemon died meanwhile. The next start reads the position, and finds 1 or 3.
6. Somebody else has moved the position. The transaction fails, and the writer goes on from where
   the position is now.

Rows that Postgres refuses are left out. Where it does not tell which ones these are, the batch is
halved until a single event is left, and that event is left out.
"""

import random
from collections.abc import Callable
from math import inf

import structlog
import trio
from attrs import define, frozen

from aegisd.config.settings import Metrics
from aegisd.errors import DatabaseSlow, DatabaseUnavailable, DataRefused, kind_of
from aegisd.events.block import Block, concatenate
from aegisd.events.protocol import REQUEST
from aegisd.store.backlog import Backlog, Batch
from aegisd.store.database import WRITE_SECONDS, Move, Postgres, Refused, TableRows
from aegisd.store.rollups import piece_rows, roll_up
from aegisd.store.schema import RAW
from aegisd.store.write.rows import table_rows
from aegisd.store.write.sampling import Sampler
from aegisd.threads import in_thread

MAX_BATCH_EVENTS = 100_000
"""COPY gains little from more; one transaction takes about a second."""

MIN_BATCH_EVENTS = 1000
"""Time-outs make a batch no smaller: where so few take WRITE_SECONDS, fewer would not help."""

MAX_BATCH_BYTES = 64 * 1024 * 1024
"""Of rows as they are sent. Ordinary rows take about 100 bytes. With paths of 2 kB, on a slow line,
a larger batch would take longer than WRITE_SECONDS."""

REPORT_SECONDS = 60.0
"""Between two log lines on the rows that a table refuses: the reason may differ from row to row."""

QUICK_SECONDS = WRITE_SECONDS / 8
"""After a batch that took no longer, the next one may have twice as many events."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

log = structlog.get_logger()


@define
class WriterFigures:
    """How the writing goes. Times are wall-clock seconds since 1970."""

    connected: bool = False
    batches: int = 0
    rows: int = 0
    failures: int = 0
    refused: int = 0  # events whose rows Postgres refused
    sampled_out: int = 0  # requests whose rows sampling left out
    last_flush: float | None = None
    last_error: str | None = None
    last_error_kind: str | None = None  # of that error


@frozen
class _Sent:
    """A batch that was sent, and what it adds to the figures once it is known to be committed."""

    end: int
    rows: int
    sampled_out: int


class Writer:
    """The task that empties the backlog. ``clocks`` gives wall and steady time.

    State, beside the figures:

    ``_position``      the committed position, as far as the writer knows
    ``_sent``          the last batch that was sent, while it is not known whether it is committed
    ``_max_events``    in a batch (see above)
    ``_flush_due``     when the next flush is, however few events the backlog has
    ``_flush_wanted``  set to flush before that: the backlog has ``_flush_at_events``, or ``stop``
    """

    def __init__(
        self,
        postgres: Postgres,
        backlog: Backlog,
        settings: Metrics,
        node: str,
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._postgres = postgres
        self._backlog = backlog
        self._flush_at_events = settings.batch_size
        self._interval = settings.flush_interval_ms / 1000
        self._node = node
        self._clocks = clocks
        sampling = settings.sampling
        self._sampler = Sampler(sampling.rate) if sampling.enabled and sampling.rate < 1 else None
        self._position = 0
        self._sent: _Sent | None = None
        self._max_events = MAX_BATCH_EVENTS
        self._flush_due = -inf
        self._reported: dict[str, float] = {}  # when each table's refused rows were last reported
        self._flush_wanted = trio.Event()
        self._stopping = trio.Event()
        self.ready = trio.Event()
        """Set when the database was reached for the first time, its schema up to date."""
        self.figures = WriterFigures()

    def notice(self) -> None:
        """Start a flush where the backlog has enough events; called after each append to it."""
        if self._backlog.events >= self._flush_at_events:
            self._flush_wanted.set()

    def stop(self) -> None:
        """Let ``run`` write all that is left and return."""
        self._stopping.set()
        self._flush_wanted.set()

    async def run(self) -> None:
        """Write until ``stop``, then until nothing is left."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                if not self.figures.connected:
                    await self._resume()
                    self.ready.set()
                await self._flush()
                self._mark_connected()
            except (DatabaseUnavailable, OSError) as error:  # OSError: the journal can't be read
                if self.figures.connected:  # a flush succeeded since the last failure
                    pause = FIRST_PAUSE_SECONDS
                self._mark_away(error)
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            if self._stopping.is_set() and not self._backlog.events:
                return
            await self._wait()

    # between flushes

    async def _resume(self) -> None:
        """Read the committed position, and go on from there."""
        await self._postgres.prepare()
        journal, first = self._backlog.journal_uuid, self._backlog.committed
        self._position = await self._postgres.position(journal, self._node, first)
        if self._sent is not None and self._position >= self._sent.end:  # case 3
            self._count_committed(self._sent)
        self._sent = None
        self._backlog.resume_from(self._position)

    async def _wait(self) -> None:
        """Wait until a flush is wanted or due."""
        if self._backlog.events < self._flush_at_events and not self._stopping.is_set():
            self._flush_wanted = trio.Event()
            with trio.move_on_at(self._flush_due):
                await self._flush_wanted.wait()

    async def _pause(self, seconds: float) -> None:
        """Pause before the next try. ``stop`` ends the pause: the last flush has little time."""
        if self._stopping.is_set():
            await trio.sleep(FIRST_PAUSE_SECONDS)
            return
        # 0.5 to 1.5 times as long, so that not all daemons come back at the same moment
        with trio.move_on_after(seconds * (0.5 + random.random())):  # noqa: S311 # no secret
            await self._stopping.wait()

    def _mark_connected(self) -> None:
        """End the state away. A connection alone proves nothing: the database may take no rows."""
        if self.figures.connected:
            return
        self.figures.connected = True
        log.info("connected to the database", waiting=self._backlog.events)

    def _mark_away(self, error: Exception) -> None:
        why = str(error)
        self.figures.failures += 1
        if self.figures.connected or self.figures.last_error != why:
            log.warning(
                "the database can't be used, events wait in the journal",
                why=why,
                waiting=self._backlog.events,
            )
        self.figures.connected = False
        self.figures.last_error, self.figures.last_error_kind = why, kind_of(error)

    # a flush

    async def _flush(self) -> None:
        """Write what the backlog has now, batch by batch; later events are for the next flush."""
        end = self._backlog.end
        self._flush_due = trio.current_time() + self._interval
        while (batch := self._backlog.next_batch(self._max_events)) is not None:
            await self._write(batch)
            if batch.end >= end:
                return

    async def _write(self, batch: Batch) -> None:
        """Write a batch; leave out the rows that Postgres refuses."""
        # in a thread: a batch of many names takes a tenth of a second, while other tasks run
        rows, pieces = await in_thread(self._lay_out, batch)
        tables = rows + pieces
        if batch.events > 1 and sum(table.nbytes for table in tables) > MAX_BATCH_BYTES:
            await self._write_halves(batch)
            return
        sampled = sum(table.size for table in rows)
        self._sent = sent = _Sent(batch.end, sampled, batch.events - sampled)
        begun = trio.current_time()
        try:
            refused = await self._postgres.write(tables, self._move(batch))
        except DataRefused as error:
            if batch.events > 1:
                await self._write_halves(batch)
            else:
                await self._leave_out(batch, str(error))
            return
        except DatabaseSlow:
            self._max_events = max(min(batch.events, self._max_events) // 4, MIN_BATCH_EVENTS)
            raise
        if trio.current_time() - begun <= QUICK_SECONDS:
            self._max_events = min(2 * self._max_events, MAX_BATCH_EVENTS)
        self._mark_connected()
        self._count_committed(sent)
        self._sent = None
        self._report_refused(refused)
        self._commit(batch)

    async def _write_halves(self, batch: Batch) -> None:
        for half in batch.halves():
            await self._write(half)

    def _lay_out(self, batch: Batch) -> tuple[list[TableRows], list[TableRows]]:
        """A batch as rows and as pieces of rollups; pieces also count what sampling leaves out."""
        whole = concatenate(block for _, block in batch.blocks)
        sampled = whole
        if self._sampler is not None:
            sampled = concatenate(self._sample(position, block) for position, block in batch.blocks)
        rows = [table_rows(block, self._node) for block in sampled if block.size]
        return rows, piece_rows(roll_up(whole), self._node)

    def _sample(self, position: int, block: Block) -> Block:
        if self._sampler is None or block.kind != REQUEST:
            return block
        return self._sampler.sample(block, position)

    async def _leave_out(self, batch: Batch, why: str) -> None:
        """Move the position past a single event that Postgres refuses."""
        self._sent = None
        await self._postgres.write([], self._move(batch))
        self.figures.refused += batch.events
        log.error("Postgres refused a row, it is left out", kind=batch.blocks[0][1].kind, why=why)
        self._commit(batch)

    def _move(self, batch: Batch) -> Move:
        return Move(self._backlog.journal_uuid, self._node, self._position, batch.end)

    def _commit(self, batch: Batch) -> None:
        self._position = batch.end
        self._backlog.commit(batch.end)

    # figures

    def _count_committed(self, sent: _Sent) -> None:
        figures = self.figures
        figures.rows += sent.rows
        figures.sampled_out += sent.sampled_out
        figures.batches += 1
        figures.last_flush = self._clocks()[0]

    def _report_refused(self, refused: list[Refused]) -> None:
        """Count the rows that were left out, and log each table once in REPORT_SECONDS."""
        now = trio.current_time()
        for each in refused:
            if each.table in RAW:
                self.figures.refused += each.rows
                self.figures.rows -= each.rows
            if now - self._reported.get(each.table, -inf) >= REPORT_SECONDS:
                self._reported[each.table] = now
                log.error(
                    "Postgres refused rows, they are left out",
                    table=each.table,
                    rows=each.rows,
                    why=each.why,
                )

"""Writes what was accepted to Postgres, in batches, by size or by time.

Events wait in the backlog. A batch leaves it when its transaction is committed, and the position
up to which the journal is stored moves in the same transaction. So after any failure, also one
that leaves open whether a COMMIT came through, the database itself says where to go on.
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
"""COPY gains little beyond; one transaction stays a matter of a second."""

MIN_BATCH_EVENTS = 1000
"""A database that does not take so few in its time is away."""

MAX_BATCH_BYTES = 64 * 1024 * 1024
"""Of rows as they are sent. Ordinary ones take some 100 bytes; with paths of 2 kB, on a slow line,
a batch would not be through in its time."""

TELL_SECONDS = 60.0
"""Between two lines on what a table refuses: the reasons may differ from row to row."""

QUICK_SECONDS = WRITE_SECONDS / 8
"""A batch that took no longer may be followed by one of twice as many events."""

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
    refused: int = 0  # events whose rows Postgres would not take
    sampled_out: int = 0  # requests that are not to be stored
    last_flush: float | None = None
    last_error: str | None = None
    last_kind: str | None = None  # of that error


@frozen
class _Tried:
    """A batch that was sent: what it adds to the figures once it is stored."""

    end: int
    rows: int
    sampled_out: int


class Writer:
    """The task that empties the backlog. ``clocks`` gives wall and steady time."""

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
        self._batch_size = settings.batch_size
        self._interval = settings.flush_interval_ms / 1000
        self._node = node
        self._clocks = clocks
        sampling = settings.sampling
        self._sampler = Sampler(sampling.rate) if sampling.enabled and sampling.rate < 1 else None
        self._position = 0  # the database's
        self._due = -inf  # when the next flush is, whatever waits
        self._tried: _Tried | None = None
        self._most = MAX_BATCH_EVENTS  # in a batch
        self._told: dict[str, float] = {}  # the tables that refused rows, and when that was told
        self._enough = trio.Event()
        self._stopping = trio.Event()
        self.ready = trio.Event()
        """Set when the database, its schema included, could be used for the first time."""
        self.figures = WriterFigures()

    def notice(self) -> None:
        """Something was put into the backlog."""
        if self._backlog.events >= self._batch_size:
            self._enough.set()

    async def run(self) -> None:
        """Write until ``stop``; then return when nothing waits any more."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                if not self.figures.connected:
                    await self._go_on()
                    self.ready.set()
                await self._flush()
                self._is_there()
            except (DatabaseUnavailable, OSError) as error:  # the journal can't be read
                if self.figures.connected:  # something was stored since the last failure
                    pause = FIRST_PAUSE_SECONDS
                self._is_away(error)
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            if self._stopping.is_set() and not self._backlog.events:
                return
            await self._wait()

    async def _go_on(self) -> None:
        """Go on from where the database is."""
        await self._postgres.prepare()
        journal, first = self._backlog.journal_uuid, self._backlog.committed
        self._position = await self._postgres.position(journal, self._node, first)
        if self._tried is not None and self._position >= self._tried.end:
            self._count(self._tried)  # its COMMIT came through, only the answer didn't
        self._tried = None
        self._backlog.resume_from(self._position)

    async def _wait(self) -> None:
        """Until a batch is full, or it is time."""
        if self._backlog.events < self._batch_size and not self._stopping.is_set():
            self._enough = trio.Event()
            with trio.move_on_at(self._due):
                await self._enough.wait()

    async def _pause(self, seconds: float) -> None:
        """Before the next try. ``stop`` cuts it short: the last flush has little time."""
        if self._stopping.is_set():
            await trio.sleep(FIRST_PAUSE_SECONDS)
            return
        # half to one and a half of it, so that a fleet doesn't come back as one
        with trio.move_on_after(seconds * (0.5 + random.random())):  # noqa: S311 # no secret
            await self._stopping.wait()

    def stop(self) -> None:
        """Let ``run`` write what waits and return."""
        self._stopping.set()
        self._enough.set()

    async def _flush(self) -> None:
        """Write all that waits now, batch by batch; what comes meanwhile is the next flush's."""
        end = self._backlog.end
        self._due = trio.current_time() + self._interval
        while (batch := self._backlog.next_batch(self._most)) is not None:
            await self._write(batch)
            if batch.end >= end:
                return

    def _shrink(self, events: int) -> None:
        """Have smaller batches than one of so many events, which was not through in its time."""
        self._most = max(min(events, self._most) // 4, MIN_BATCH_EVENTS)

    async def _write(self, batch: Batch) -> None:
        """Write a batch; rows that Postgres refuses are left out."""
        # in a thread: a batch of many names takes a tenth of a second, and others have their turns
        rows, pieces = await in_thread(self._laid_out, batch)
        tables = rows + pieces
        if batch.events > 1 and sum(table.nbytes for table in tables) > MAX_BATCH_BYTES:
            await self._write_halves(batch)
            return
        stored = sum(table.size for table in rows)
        self._tried = _Tried(batch.end, stored, batch.events - stored)
        begun = trio.current_time()
        try:
            refused = await self._postgres.write(tables, self._move(batch))
        except DataRefused as error:
            if batch.events > 1:
                await self._write_halves(batch)
                return
            await self._leave_out(batch, str(error))
            return
        except DatabaseSlow:
            self._shrink(batch.events)
            raise
        if trio.current_time() - begun <= QUICK_SECONDS:
            self._most = min(2 * self._most, MAX_BATCH_EVENTS)
        self._is_there()
        self._count(self._tried)
        self._tell(refused)
        self._stored(batch)

    async def _write_halves(self, batch: Batch) -> None:
        for half in batch.halves():
            await self._write(half)

    def _tell(self, refused: list[Refused]) -> None:
        """Count rows that were left out, and say so once in a while."""
        now = trio.current_time()
        for each in refused:
            if each.table in RAW:
                self.figures.refused += each.rows
                self.figures.rows -= each.rows
            if now - self._told.get(each.table, -inf) >= TELL_SECONDS:
                self._told[each.table] = now
                log.error(
                    "Postgres refused rows, they are left out",
                    table=each.table,
                    rows=each.rows,
                    why=each.why,
                )

    def _laid_out(self, batch: Batch) -> tuple[list[TableRows], list[TableRows]]:
        """A batch as rows, and as pieces of rollups, which count what is not stored, too."""
        whole = concatenate(block for _, block in batch.blocks)
        stored = whole
        if self._sampler is not None:
            stored = concatenate(self._sampled(position, block) for position, block in batch.blocks)
        rows = [table_rows(block, self._node) for block in stored if block.size]
        return rows, piece_rows(roll_up(whole), self._node)

    async def _leave_out(self, batch: Batch, why: str) -> None:
        """Go past an event that Postgres won't have."""
        self._tried = None
        await self._postgres.write([], self._move(batch))
        self.figures.refused += batch.events
        log.error("Postgres refused a row, it is left out", kind=batch.blocks[0][1].kind, why=why)
        self._stored(batch)

    def _sampled(self, position: int, block: Block) -> Block:
        if self._sampler is None or block.kind != REQUEST:
            return block
        return self._sampler.sample(block, position)

    def _move(self, batch: Batch) -> Move:
        return Move(self._backlog.journal_uuid, self._node, self._position, batch.end)

    def _stored(self, batch: Batch) -> None:
        self._position = batch.end
        self._backlog.commit(batch.end)

    def _count(self, tried: _Tried) -> None:
        figures = self.figures
        figures.rows += tried.rows
        figures.sampled_out += tried.sampled_out
        figures.batches += 1
        figures.last_flush = self._clocks()[0]

    def _is_there(self) -> None:
        """Only what was written proves it: a database may let us in and yet take no rows."""
        if self.figures.connected:
            return
        self.figures.connected = True
        log.info("connected to the database", waiting=self._backlog.events)

    def _is_away(self, error: Exception) -> None:
        why = str(error)
        self.figures.failures += 1
        if self.figures.connected or self.figures.last_error != why:
            log.warning(
                "the database can't be used, events wait in the journal",
                why=why,
                waiting=self._backlog.events,
            )
        self.figures.connected = False
        self.figures.last_error, self.figures.last_kind = why, kind_of(error)

"""Writes what was accepted to Postgres, in batches, by size or by time.

Blocks wait in bounded memory. A batch leaves it when its transaction is committed; while
Postgres is away it is tried again, with growing pauses, and what no longer fits is dropped
and counted.
"""

import random
from collections import deque
from collections.abc import Callable

import structlog
import trio
from attrs import define, field

from aegisd.config.settings import Metrics
from aegisd.errors import DatabaseUnavailable
from aegisd.store.postgres import DataRefused, Postgres
from aegisd.store.rows import table_rows
from aegisd.store.sampling import Sampler
from aegisd.wire.block import Block, concatenate
from aegisd.wire.protocol import REQUEST

MAX_PENDING_BYTES = 256 * 1024 * 1024
"""What may wait for the database, about: a million requests that came in lists of 50, or 88,000
that each came alone, since a block takes 2.5 kB however small."""

MAX_BATCH_EVENTS = 100_000
"""COPY gains little beyond; one transaction stays a matter of a second."""

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
    dropped_queue: int = 0  # events that found no room while Postgres was there
    dropped_database: int = 0  # and while it was away
    last_flush: float | None = None
    last_error: str | None = None


@define
class _Pending:
    """Blocks that wait, in order, and since when (steady seconds)."""

    blocks: deque[tuple[float, Block]] = field(factory=deque)
    events: int = 0
    bytes: int = 0

    def add(self, since: float, block: Block) -> None:
        self.blocks.append((since, block))
        self.events += block.size
        self.bytes += block.nbytes

    def first(self) -> list[Block]:
        """The blocks of the next batch; they stay."""
        batch: list[Block] = []
        events = 0
        for _, block in self.blocks:
            if batch and events + block.size > MAX_BATCH_EVENTS:
                break
            batch.append(block)
            events += block.size
        return batch

    def remove(self, count: int) -> None:
        for _ in range(count):
            _, block = self.blocks.popleft()
            self.events -= block.size
            self.bytes -= block.nbytes


class Writer:
    """The queue to Postgres and the task that empties it. ``clocks`` gives wall and steady time."""

    def __init__(
        self,
        postgres: Postgres,
        settings: Metrics,
        node: str,
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._postgres = postgres
        self._enabled = settings.enabled
        self._batch_size = settings.batch_size
        self._interval = settings.flush_interval_ms / 1000
        self._node = node
        self._clocks = clocks
        sampling = settings.sampling
        self._sampler = Sampler(sampling.rate) if sampling.enabled and sampling.rate < 1 else None
        self._next_request = 0  # its number in the flow, which decides whether it is stored
        self._pending = _Pending()
        self._enough = trio.Event()
        self._stopping = trio.Event()
        self.ready = trio.Event()
        """Set when the database, its schema included, could be used for the first time."""
        self.figures = WriterFigures()

    @property
    def pending_events(self) -> int:
        """Events that wait, those in flight among them."""
        return self._pending.events

    @property
    def pending_bytes(self) -> int:
        """Their bytes in memory, about."""
        return self._pending.bytes

    def lag(self, steady: float) -> float:
        """For how many seconds the oldest event that waits has waited."""
        return steady - self._pending.blocks[0][0] if self._pending.blocks else 0.0

    def put(self, block: Block) -> None:
        """Queue what is to be stored of a block; where there is no room it is dropped and counted.

        With sampling, requests keep their places in the flow whatever is dropped.
        """
        if not self._enabled:
            return
        if self._sampler is not None and block.kind == REQUEST:
            chosen = self._sampler.sample(block, self._next_request)
            self._next_request += block.size
            self.figures.sampled_out += block.size - chosen.size
            if not chosen.size:
                return
            block = chosen
        if self._pending.bytes + block.nbytes > MAX_PENDING_BYTES:
            self._drop(block.size)
            return
        self._pending.add(self._clocks()[1], block)
        if self._pending.events >= self._batch_size:
            self._enough.set()

    def _drop(self, events: int) -> None:
        figures = self.figures
        if figures.connected:
            figures.dropped_queue += events
        else:
            figures.dropped_database += events

    async def run(self) -> None:
        """Write until ``stop``; then return when nothing waits any more."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                if not self.figures.connected:
                    await self._postgres.prepare()
                    self.ready.set()
                await self._flush()
                self._is_there()
            except DatabaseUnavailable as error:
                self._is_away(str(error))
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            if self._stopping.is_set() and not self._pending.events:
                return
            await self._wait()

    async def _wait(self) -> None:
        """Until a batch is full, or it is time."""
        if self._pending.events < self._batch_size and not self._stopping.is_set():
            self._enough = trio.Event()
            with trio.move_on_after(self._interval):
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
        """Write all that waits, batch by batch."""
        while batch := self._pending.first():
            tables = [table_rows(block, self._node) for block in concatenate(batch)]
            size = sum(rows.size for rows in tables)
            try:
                await self._postgres.write(tables)
                self.figures.rows += size
            except DataRefused as error:
                self.figures.refused += size
                self.figures.dropped_database += size
                self.figures.last_error = str(error)
                log.error(
                    "Postgres refused a batch, its rows are dropped", rows=size, why=str(error)
                )
            self._is_there()
            self._pending.remove(len(batch))
            self.figures.batches += 1
            self.figures.last_flush = self._clocks()[0]

    def _is_there(self) -> None:
        """Only what was written proves it: a database may let us in and yet take no rows."""
        if self.figures.connected:
            return
        self.figures.connected = True
        log.info("connected to the database", waiting=self._pending.events)

    def _is_away(self, why: str) -> None:
        self.figures.failures += 1
        if self.figures.connected or self.figures.last_error != why:
            log.warning(
                "the database can't be used, events wait in memory",
                why=why,
                waiting=self._pending.events,
            )
        self.figures.connected = False
        self.figures.last_error = why

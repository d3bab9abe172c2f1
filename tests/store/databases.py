"""Helpers of the store's tests: a database under trio, blocks made by hand, storage, a writer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import numpy as np
import trio
import trio_asyncio
from support import WHERE_TABLES_ARE, query

from aegisd.config.settings import Metrics
from aegisd.events.block import ABSENT, Block, Text, concatenate
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database.postgres import Move, Postgres, open_postgres
from aegisd.store.history.history import History
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.sync_schedule import Sync
from aegisd.store.rollups.pieces import piece_rows
from aegisd.store.rollups.rollup import roll_up
from aegisd.store.storage import Storage
from aegisd.store.write.rows import table_rows
from aegisd.store.write.writer import Writer

NODE = "here"
JOURNAL_BYTES = 1024**3
DAY = 86_400 * 1_000_000
NOON = 20_000 * DAY + DAY // 2  # 2024-10-04 12:00:00 UTC, in microseconds

ABSENT_PERCENT = float("nan")
_NUMBERS: dict[str, dict[str, tuple[type, Any]]] = {
    "request": {
        "timestamp": (np.int64, NOON),
        "status_code": (np.int16, 200),
        "duration_us": (np.int64, ABSENT),
    },
    "rate_limit": {
        "timestamp": (np.int64, NOON),
        "allowed": (np.bool_, True),
        "remaining": (np.int64, ABSENT),
        "limit": (np.int64, ABSENT),
    },
    "backend": {"timestamp": (np.int64, NOON), "response_time_us": (np.int64, ABSENT)},
    "system": {
        "timestamp": (np.int64, NOON),
        "active_connections": (np.int64, 1),
        "cpu_percent": (np.float64, ABSENT_PERCENT),
        "memory_bytes": (np.int64, ABSENT),
        "open_files": (np.int64, ABSENT),
    },
}
_TEXTS: dict[str, dict[str, str | None]] = {
    "request": {
        "method": "GET",
        "path": "/",
        "endpoint": "/",
        "backend": None,
        "client_ip": None,
        "error_message": None,
    },
    "rate_limit": {"key": "k"},
    "backend": {"backend_name": "b", "status": "healthy", "circuit_breaker": None},
    "system": {"source": None},
}


def block(kind: str, events: Sequence[dict[str, Any]]) -> Block:
    """A block of events; durations are microseconds, missing fields have defaults."""
    assert not any("duration_ms" in event or "response_time_ms" in event for event in events)
    return Block(
        kind,
        len(events),
        {
            name: np.array([event.get(name, default) for event in events], type_)
            for name, (type_, default) in _NUMBERS[kind].items()
        },
        {
            name: Text.of([event.get(name, default) for event in events])
            for name, default in _TEXTS[kind].items()
        },
    )


def requests(count: int = 1, **event: Any) -> Block:
    return block("request", [event] * count)


async def write(postgres: Postgres, *blocks: Block, node: str = NODE) -> None:
    """Write blocks in one transaction, as those of a new journal."""
    journal = uuid4()
    start = await postgres.position(journal, node, 0)
    whole = concatenate(blocks)
    tables = [table_rows(each, node) for each in whole] + piece_rows(roll_up(whole), node)
    await postgres.write(tables, Move(journal, node, start, start + sum(b.size for b in whole)))


@asynccontextmanager
async def database(dsn: str | None, *, migrate: bool = True) -> AsyncIterator[Postgres]:
    async with open_postgres(migrate=migrate, layout="auto", schema="aegisd") as postgres:
        postgres.dsn = dsn
        yield postgres


async def ask(dsn: str, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """The rows of a query, over a connection of the test's own."""
    return await trio.to_thread.run_sync(lambda: asyncio.run(query(dsn, sql, *args)))


async def begin(postgres: Postgres, moment: int) -> None:
    """Set the database to the day of ``moment``: nothing is closed or folded."""
    await postgres.prepare()
    await postgres.execute(
        "UPDATE rollup_progress SET folded_at = $1, hours_closed = $2, days_closed = $2",
        0,
        moment // DAY * DAY,
    )


@contextmanager
def history_of(postgres: Postgres, directory: Path) -> Iterator[History]:
    """The history of a daemon whose backlog is empty."""
    journal = Journal(directory / "journal", JOURNAL_BYTES, 0)
    try:
        yield History(postgres, Backlog(journal, time.time), NODE)
    finally:
        journal.close()


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """A connection of the test's own that keeps its locks; yields its ``execute``."""
    async with trio_asyncio.open_loop():
        connection = await trio_asyncio.aio_as_trio(asyncpg.connect)(
            dsn, server_settings=WHERE_TABLES_ARE
        )
        try:
            yield trio_asyncio.aio_as_trio(connection.execute)
        finally:
            connection.terminate()


def database_name(dsn: str) -> str:
    return dsn.partition("?")[0].rpartition("/")[2]


async def eventually(holds: Callable[[], Any]) -> None:
    """Wait until it holds; the test's own deadline ends a wait in vain."""
    while not holds():  # noqa: ASYNC110 # nothing tells when it holds
        await trio.sleep(0.01)


async def until(dsn: str, sql: str, answer: Any) -> None:
    """Wait until a query answers with this one value."""
    while await ask(dsn, sql) != [(answer,)]:
        pass


def clocks() -> tuple[float, float]:
    return time.time(), time.monotonic()


@asynccontextmanager
async def storage_in(
    directory: Path,
    postgres: Postgres,
    *,
    clocks: Callable[[], tuple[float, float]] = clocks,
    now: int = 0,
    max_bytes: int = JOURNAL_BYTES,
    **metrics: Any,
) -> AsyncIterator[Storage]:
    """Storage over the journal in a directory; ``now`` is the first position of a new journal."""
    settings = Metrics(**{"flush_interval_ms": 10, **metrics})
    journal = Journal(directory, max_bytes, now)
    backlog = Backlog(journal, lambda: clocks()[0])
    writer = Writer(postgres, backlog, settings, NODE, clocks)
    storage = Storage(journal, backlog, Sync(journal, 0.01), writer, settings.enabled)
    try:
        yield storage
    finally:
        storage.close()


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[trio.Event]:
    """Run the writer; yields an event that is set when it has returned."""
    returned = trio.Event()

    async def run() -> None:
        await writer.run()
        returned.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield returned
        nursery.cancel_scope.cancel()

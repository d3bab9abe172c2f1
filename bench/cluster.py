"""The Postgres of the store's benchmark: aegisd's embedded one, its programs and settings."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import trio

from aegisd.events.units import DAY_US
from aegisd.store.embedded.cluster import embedded_postgres
from aegisd.store.rollups.folding import PIECE_TABLES
from aegisd.store.schema import Layout, Partition, prepare_schema
from bench.receiver import Failed

START_SECONDS = 120
TABLE = "request_metrics"

T = TypeVar("T")


class Database:
    """A database with aegisd's tables, by its DSN."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Call something with a connection (asyncpg's)."""

        async def connected() -> T:
            connection = await asyncpg.connect(
                self.dsn, server_settings={"search_path": "aegisd, public"}
            )
            try:
                return await work(connection)
            finally:
                connection.terminate()

        return asyncio.run(connected())

    def prepare(self) -> None:
        """Create the tables, and the partitions of today and tomorrow."""

        async def work(connection: Any) -> None:
            async with connection.transaction():
                await prepare_schema(
                    connection, migrate=True, layout=Layout.PARTITIONS, schema="aegisd"
                )
            today = time.time_ns() // 1000 // DAY_US
            for partition in (Partition(TABLE, today), Partition(TABLE, today + 1)):
                start, end = partition.bounds
                await connection.execute(
                    f"CREATE TABLE {partition.name} PARTITION OF {TABLE} "
                    f"FOR VALUES FROM ('{start}') TO ('{end}')"
                )

        self.run(work)

    def empty(self) -> None:
        """Empty the tables, and run a checkpoint."""

        async def work(connection: Any) -> None:
            await connection.execute(f"TRUNCATE {TABLE}, {', '.join(PIECE_TABLES)}")
            await connection.execute("CHECKPOINT")

        self.run(work)

    def rows(self) -> int:
        """The number of rows."""

        async def work(connection: Any) -> int:
            count: int = await connection.fetchval(f"SELECT count(*) FROM {TABLE}")
            return count

        return self.run(work)

    def version(self) -> str:
        """The server's version, and its settings."""

        async def work(connection: Any) -> str:
            names = ("server_version", "shared_buffers", "max_wal_size", "synchronous_commit")
            values = [await connection.fetchval(f"SHOW {name}") for name in names]
            settings = ", ".join(f"{n} {v}" for n, v in zip(names[1:], values[1:], strict=True))
            return f"{values[0]}, {settings}"

        return self.run(work)


@contextmanager
def cluster(directory: Path) -> Iterator[Database]:
    """An embedded Postgres in ``directory``. Raises Failed if it does not start."""
    dsns: list[str] = []
    problems: list[Exception] = []
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with embedded_postgres(directory) as dsn:
            dsns.append(dsn)
            ready.set()
            await trio.to_thread.run_sync(done.wait)

    def run() -> None:
        try:
            trio.run(serve)
        except Exception as error:
            problems.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        ready.wait(START_SECONDS)
        if not dsns:
            raise Failed(f"Postgres: {problems[0] if problems else 'it does not start'}")
        database = Database(dsns[0])
        database.prepare()
        yield database
    finally:
        done.set()
        thread.join(START_SECONDS)

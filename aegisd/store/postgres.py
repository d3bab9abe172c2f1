"""Talks to Postgres: the only file that knows asyncio, through trio-asyncio.

Each call crosses from trio to asyncio once and does its whole work there. One connection
writes, a few others read. Every call is bounded in time on the asyncio side, where a bound
holds; after an error or a timeout a connection is terminated, never closed gracefully, since a
server that doesn't answer would hold that up too.

Timestamps pass as whole microseconds since 1970.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import trio
import trio_asyncio

from aegisd.errors import AegisdError, DatabaseUnavailable, SchemaError
from aegisd.store.rows import TableRows
from aegisd.store.schema import PARTITIONED, Partition, migrations

CONNECT_SECONDS = 10
WRITE_SECONDS = 120  # a COPY of the largest batch on a slow disk
READ_SECONDS = 30
MIGRATE_SECONDS = 600  # nineteen other daemons may be first
LOCK_SECONDS = 2  # dropping a partition waits no longer for those who write
MAX_READERS = 3

# any two numbers will do, as long as every version of aegisd uses the same
_MIGRATION_LOCK = 7_460_000_001
_PARTITION_LOCK = 7_460_000_002

_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01, in microseconds since 1970

T = TypeVar("T")


class DataRefused(AegisdError):
    """Postgres is there and won't take these rows."""


class Postgres:
    """One database. Methods raise DatabaseUnavailable where it can't be used now."""

    def __init__(self, loop: Any, *, migrate: bool) -> None:
        self._loop = loop
        self.dsn: str | None = None
        """Where the database is; None as long as that is not known."""
        self._migrate = migrate
        self._prepared = False
        self._writer: Any = None
        self._partitions: set[Partition] = set()
        self._idle: list[Any] = []
        self._readers = trio.CapacityLimiter(MAX_READERS)

    async def prepare(self) -> None:
        """Connect, and bring the schema up to this version (or only verify it)."""
        await self._cross(self._connected_writer, MIGRATE_SECONDS)

    async def write(self, tables: Sequence[TableRows]) -> None:
        """Write all rows in one transaction.

        Raises DataRefused where the rows themselves are refused.
        """

        async def work() -> None:
            try:
                connection = await self._connected_writer()
                await self._make_partitions(connection, tables)
                async with connection.transaction():
                    for rows in tables:
                        await connection.copy_records_to_table(
                            rows.table, records=rows.fresh(), columns=rows.columns
                        )
            except BaseException:
                self._drop_writer()
                raise

        await self._cross(work, WRITE_SECONDS)

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """The rows of a query. A plain statement gives none."""

        async def query(connection: Any) -> list[tuple[Any, ...]]:
            return [tuple(record) for record in await connection.fetch(sql, *args)]

        return await self._read(query)

    async def partitions(self) -> list[Partition]:
        """The partitions there are, of the names that we give."""
        rows = await self.fetch(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent IN (SELECT to_regclass(t) FROM unnest($1::text[]) t)",
            list(PARTITIONED),
        )
        found = (Partition.parse(name) for (name,) in rows)
        return sorted(partition for partition in found if partition is not None)

    async def drop_partition(self, partition: Partition) -> bool:
        """Drop a partition; False where those who write to its table leave no room just now."""

        async def drop(connection: Any) -> bool:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                try:
                    await connection.execute(f"DROP TABLE IF EXISTS {partition.name}")
                except asyncpg.LockNotAvailableError:
                    return False
            return True

        return await self._read(drop)

    def close(self) -> None:
        """End all connections at once."""
        self._drop_writer()
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    # from here on, what runs on the asyncio side

    async def _read(self, query: Callable[[Any], Awaitable[T]]) -> T:
        async def work() -> T:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                result = await query(connection)
            except BaseException:
                connection.terminate()
                raise
            if not connection.is_closed():
                self._idle.append(connection)
            return result

        async with self._readers:
            return await self._cross(work, READ_SECONDS)

    async def _cross(self, work: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        try:
            result: T = await self._loop.run_aio_coroutine(asyncio.wait_for(work(), seconds))
        except asyncpg.DataError as error:
            raise DataRefused(_line(error)) from error
        except TimeoutError:
            raise DatabaseUnavailable(f"no answer within {seconds} s") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnavailable(_line(error)) from error
        return result

    async def _connect(self) -> Any:
        if self.dsn is None:
            raise DatabaseUnavailable("Postgres is still starting")
        connection = await asyncpg.connect(
            self.dsn, timeout=CONNECT_SECONDS, server_settings={"application_name": "aegisd"}
        )
        try:
            await connection.set_type_codec(
                "timestamptz",
                schema="pg_catalog",
                format="tuple",
                encoder=lambda microseconds: (microseconds - _POSTGRES_EPOCH,),
                decoder=lambda wire: wire[0] + _POSTGRES_EPOCH,
            )
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _connected_writer(self) -> Any:
        if self._writer is None or self._writer.is_closed():
            self._drop_writer()
            connection = await self._connect()
            self._writer = connection
            if not self._prepared:
                try:
                    await _bring_up(connection, migrate=self._migrate)
                except BaseException:
                    self._drop_writer()
                    raise
                self._prepared = True
        return self._writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.terminate()
        self._writer = None
        self._partitions.clear()  # who knows what changes until we are back

    async def _make_partitions(self, connection: Any, tables: Iterable[TableRows]) -> None:
        """Make the partitions that the rows need: each alone, then attached.

        CREATE … PARTITION OF would wait for every transaction that writes to the table.
        """
        needed = {p for rows in tables for p in rows.partitions} - self._partitions
        if not needed:
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _PARTITION_LOCK)
            for partition in sorted(needed):
                name, (start, end) = partition.name, partition.bounds
                if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
                    continue
                await connection.execute(
                    f"CREATE TABLE {name} (LIKE {partition.table} INCLUDING ALL);"
                    f"ALTER TABLE {partition.table} ATTACH PARTITION {name} "
                    f"FOR VALUES FROM ('{start}') TO ('{end}')"
                )
        self._partitions |= needed


async def _bring_up(connection: Any, *, migrate: bool) -> None:
    """Apply the migrations that are missing; without ``migrate`` only see that none is.

    An advisory lock lets any number of daemons start at once.
    """
    steps = migrations()
    ours = steps[-1].version
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        there = 0
        if await connection.fetchval("SELECT to_regclass('aegisd_schema') IS NOT NULL"):
            there = await connection.fetchval("SELECT max(version) FROM aegisd_schema") or 0
        if there > ours:
            raise SchemaError(
                f"the database's schema has version {there}, this aegisd knows up to {ours}; "
                "upgrade aegisd"
            )
        if there < ours and not migrate:
            raise SchemaError(
                f"the database's schema has version {there}, this aegisd needs {ours}; "
                "run 'aegisd migrate', or set storage.migrate = true"
            )
        if there == 0 and migrate:
            await connection.execute(
                "CREATE TABLE aegisd_schema (version integer PRIMARY KEY, name text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
        for step in steps:
            if step.version > there:
                await connection.execute(step.sql)
                await connection.execute(
                    "INSERT INTO aegisd_schema (version, name) VALUES ($1, $2)",
                    step.version,
                    step.name,
                )


def _line(error: BaseException) -> str:
    """The first line of an error's text, with its kind where the text alone says little."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


@asynccontextmanager
async def open_postgres(*, migrate: bool) -> AsyncIterator[Postgres]:
    """A database whose ``dsn`` is still to be set; its connections end with the block."""
    async with trio_asyncio.open_loop() as loop:
        postgres = Postgres(loop, migrate=migrate)
        try:
            yield postgres
        finally:
            postgres.close()

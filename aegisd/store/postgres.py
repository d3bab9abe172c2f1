"""Talks to Postgres: the only file that knows asyncio, through trio-asyncio.

Each call crosses from trio to asyncio once and does its whole work there. One connection
writes, a few others read. Every call is bounded in time on the asyncio side, where a bound
holds; after an error or a timeout a connection is terminated, never closed gracefully nor rolled
back, since a server that doesn't answer would hold that up too. The server ends its part by
itself: a transaction whose client is gone, by ``statement_timeout`` one that waits or runs.

Timestamps pass as whole microseconds since 1970, numerics in Postgres' binary form.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import trio
import trio_asyncio
from attrs import frozen

from aegisd.errors import AegisdError, DatabaseUnavailable
from aegisd.store import layouts
from aegisd.store.migrate import Layout, bring_up
from aegisd.store.rows import POSTGRES_EPOCH, TableRows
from aegisd.store.schema import PARTITIONED, Partition

CONNECT_SECONDS = 10
WRITE_SECONDS = 120  # a COPY of the largest batch on a slow disk
READ_SECONDS = 30
FOLD_SECONDS = 120
FOLD_MEMORY = "64MB"  # sketches that are being added up
MIGRATE_SECONDS = 600  # nineteen other daemons may be first
IDLE_SECONDS = 10.0
LOCK_SECONDS = 2  # dropping a partition waits no longer for those who write
MAX_READERS = 3

_PARTITION_LOCK = 7_460_000_002
"""As MIGRATION_LOCK, the same number in every version of aegisd."""

_READING = (
    "ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL max_parallel_workers_per_gather = 0;"
    " SET LOCAL random_page_cost = 1.1"
)
"""Rollups are few rows: to start a worker takes longer than to read them. Mostly they are in
memory, where a page costs the same wherever it is: a quarter of a table is read quicker than all of
it."""

_FOLDING = (
    f"ISOLATION LEVEL REPEATABLE READ; SET LOCAL work_mem = '{FOLD_MEMORY}';"
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL enable_material = off; SET LOCAL enable_seqscan = off;"
    " SET LOCAL enable_hashagg = off; SET LOCAL random_page_cost = 0;"
    " SET LOCAL cpu_operator_cost = 0.0001; SET LOCAL cpu_index_tuple_cost = 0.0001"
)
"""A fold looks a few rows up in large tables, of which the planner can't know how few; and a sum of
sketches takes 9 kB, so one at a time is quicker than a hash table of them. A row that is looked up
costs next to nothing here: what there is to save by going through a table that seems small is never
worth what is lost where it is large."""

_AWAY = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What tells that the database can't be used now."""

T = TypeVar("T")

Fetch = Callable[..., Awaitable[list[tuple[Any, ...]]]]
"""Takes a statement and its arguments, gives its rows; within ``read`` and ``fold`` only."""


@frozen
class Move:
    """A step of a journal's position."""

    journal: UUID
    node: str
    start: int
    end: int


class DataRefused(AegisdError):
    """Postgres is there and won't take these rows."""


class Postgres:
    """One database. Methods raise DatabaseUnavailable where it can't be used now."""

    def __init__(self, loop: Any, *, migrate: bool, layout: str) -> None:
        self._loop = loop
        self.dsn: str | None = None
        """Where the database is; None as long as that is not known."""
        self.layout = Layout(layout)
        """How the tables lie: what is wanted, until the database tells what it has."""
        self._migrate = migrate
        self._prepared = False
        self._writer: Any = None
        self._partitions: set[Partition] = set()
        self._idle: list[Any] = []
        self._readers = trio.CapacityLimiter(MAX_READERS)

    async def prepare(self) -> None:
        """Connect, and bring the schema up to this version (or only verify it)."""
        await self._cross(self._connected_writer, MIGRATE_SECONDS)

    async def position(self, journal: UUID, node: str, first: int) -> int:
        """The position up to which a journal is stored; ``first`` where it is not known yet.

        Waits for a transaction that may still move it. ``prepare`` came before.
        """

        async def work() -> int:
            try:
                connection = await self._connected_writer()
                async with _transaction(connection, WRITE_SECONDS):
                    await connection.execute(
                        "INSERT INTO journals (journal, node, position) VALUES ($1, $2, $3)"
                        " ON CONFLICT DO NOTHING",
                        journal,
                        node,
                        first,
                    )
                    found: int = await connection.fetchval(
                        "SELECT position FROM journals WHERE journal = $1 FOR UPDATE", journal
                    )
                    return found
            except BaseException:
                self._drop_writer()
                raise

        return await self._cross(work, WRITE_SECONDS)

    async def write(self, tables: Sequence[TableRows], move: Move) -> None:
        """Write all rows and move the journal's position, in one transaction.

        Raises DataRefused where the rows themselves are refused.
        """

        async def work() -> None:
            try:
                connection = await self._connected_writer()
                await self._partitions_for(connection, tables)
                async with _transaction(connection, WRITE_SECONDS):
                    for rows in tables:
                        with _refusals():
                            await _copy(connection, rows)
                    await _moved(connection, move)
            except BaseException:
                self._drop_writer()
                raise

        await self._cross(work, WRITE_SECONDS)

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """The rows of a query. A plain statement gives none.

        Raises DataRefused where an argument is no value for Postgres.
        """

        async def query(connection: Any) -> list[tuple[Any, ...]]:
            return await _fetching(connection)(sql, *args)

        return await self._read(query)

    async def read(self, work: Callable[[Fetch], Awaitable[T]]) -> T:
        """What ``work`` makes of the answers to its queries, which all see one state."""

        async def query(connection: Any) -> T:
            return await work(_fetching(connection))

        return await self._read(query, _READING)

    async def fold(self, work: Callable[[Fetch], Awaitable[T]]) -> T | None:
        """Let ``work`` change rollups; all it sees is of one state. None: another was quicker."""

        async def change(connection: Any) -> T | None:
            try:
                return await work(_fetching(connection))
            except asyncpg.SerializationError:
                return None

        return await self._read(change, _FOLDING, FOLD_SECONDS)

    async def vacuum(self, tables: Iterable[str]) -> None:
        """Make room in tables that lose most of their rows again and again."""

        async def work() -> None:
            connection = self._take_idle() or await self._connect()
            try:
                await connection.execute(f"VACUUM {', '.join(tables)}")
            except BaseException:
                connection.terminate()
                raise
            self._idle.append(connection)

        async with self._readers:
            await self._cross(work, FOLD_SECONDS)

    async def make_partitions(self, partitions: Iterable[Partition]) -> None:
        """Make those that are not there, while others write; TimescaleDB makes its own."""
        if self.layout.name == layouts.TIMESCALEDB:
            return

        async def make(connection: Any) -> None:
            await _make_partitions(connection, partitions)

        await self._read(make)

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
            await connection.execute(f"SET LOCAL lock_timeout = {_milliseconds(LOCK_SECONDS)}")
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

    async def _read(
        self,
        query: Callable[[Any], Awaitable[T]],
        mode: str = "",
        seconds: float | None = None,
    ) -> T:
        limit = READ_SECONDS if seconds is None else seconds

        async def work() -> T:
            connection = self._take_idle() or await self._connect()
            try:
                async with _transaction(connection, limit, mode):
                    result = await query(connection)
            except BaseException:
                connection.terminate()
                raise
            if not connection.is_closed():
                self._idle.append(connection)
            return result

        async with self._reader(limit):
            return await self._cross(work, limit)

    @asynccontextmanager
    async def _reader(self, seconds: float) -> AsyncIterator[None]:
        """A place among the readers; who waits for one has no more time than who has one."""
        try:
            with trio.fail_after(seconds):
                await self._readers.acquire()
        except trio.TooSlowError:
            raise DatabaseUnavailable(
                f"{MAX_READERS} queries are running, none ended within {seconds} s"
            ) from None
        try:
            yield
        finally:
            self._readers.release()

    def _take_idle(self) -> Any:
        """A connection at rest that the server hasn't ended meanwhile; None without one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _cross(self, work: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(seconds):
                return await work()

        try:
            result: T = await self._loop.run_aio_coroutine(bounded())
        except TimeoutError:
            raise DatabaseUnavailable(f"no answer within {seconds} s") from None
        except _AWAY as error:
            raise DatabaseUnavailable(_line(error)) from error
        return result

    async def _connect(self) -> Any:
        if self.dsn is None:
            raise DatabaseUnavailable("Postgres is still starting")
        connection: Any = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await asyncpg.connect(
                    self.dsn, server_settings={"application_name": "aegisd"}
                )
                await connection.set_type_codec(
                    "timestamptz",
                    schema="pg_catalog",
                    format="tuple",
                    encoder=lambda microseconds: (microseconds - POSTGRES_EPOCH,),
                    decoder=lambda wire: wire[0] + POSTGRES_EPOCH,
                )
                await connection.set_type_codec(  # sketches
                    "numeric", schema="pg_catalog", format="binary", encoder=bytes, decoder=bytes
                )
        except BaseException as error:
            if connection is not None:
                connection.terminate()
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(f"no answer within {CONNECT_SECONDS} s") from None
            if isinstance(error, ValueError):  # its text may show a part of the password
                raise DatabaseUnavailable(
                    "storage.dsn can't be read; special characters in it are percent-encoded"
                ) from None
            raise
        return connection

    async def _connected_writer(self) -> Any:
        if self._writer is None or self._writer.is_closed():
            self._drop_writer()
            connection = await self._connect()
            self._writer = connection
            if not self._prepared:
                try:
                    async with _transaction(connection, MIGRATE_SECONDS):
                        self.layout = await bring_up(
                            connection, migrate=self._migrate, layout=self.layout.name
                        )
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

    async def _partitions_for(self, connection: Any, tables: Iterable[TableRows]) -> None:
        """Make the partitions that the rows need."""
        needed = {p for rows in tables for p in rows.partitions} - self._partitions
        if needed and self.layout.name != layouts.TIMESCALEDB:
            async with _transaction(connection, WRITE_SECONDS):
                await _make_partitions(connection, needed)
            self._partitions |= needed


async def _make_partitions(connection: Any, partitions: Iterable[Partition]) -> None:
    """Make those that are not there: each alone, then attached.

    CREATE … PARTITION OF would wait for every transaction that writes to the table.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _PARTITION_LOCK)
    for partition in sorted(partitions):
        name, (start, end) = partition.name, partition.bounds
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
            continue
        await connection.execute(
            f"CREATE TABLE {name} (LIKE {partition.table} INCLUDING ALL);"
            f"ALTER TABLE {partition.table} ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{start}') TO ('{end}')"
        )


def _fetching(connection: Any) -> Fetch:
    async def fetch(sql: str, *args: Any) -> list[tuple[Any, ...]]:
        with _refusals():
            return [tuple(record) for record in await connection.fetch(sql, *args)]

    return fetch


async def _moved(connection: Any, move: Move) -> None:
    """Move a journal's position, from where we know it to be and from nowhere else."""
    # the journal deletes what is committed: a role may have this off
    await connection.execute("SET LOCAL synchronous_commit = on")
    done = await connection.execute(
        "UPDATE journals SET position = $3, node = $4, moved_at = now()"
        " WHERE journal = $1 AND position = $2",
        move.journal,
        move.start,
        move.end,
        move.node,
    )
    if done != "UPDATE 1":
        raise asyncpg.InterfaceError(
            f"the position of journal {move.journal} in the table journals was moved by someone"
            " else"
        )


@asynccontextmanager
async def _transaction(connection: Any, seconds: float, mode: str = "") -> AsyncIterator[None]:
    """A transaction whose every statement the server ends after ``seconds``.

    It also ends the transaction of a client that is silent for IDLE_SECONDS: the locks of one whose
    line is dead would hold up all other daemons.

    Compiling a query to machine code would take longer than any of ours runs. A failure sends no
    ROLLBACK, whose answer might never come: who fails ends the connection.
    """
    await connection.execute(
        f"BEGIN {mode}; SET LOCAL statement_timeout = {_milliseconds(seconds)};"
        f" SET LOCAL idle_in_transaction_session_timeout = {_milliseconds(IDLE_SECONDS)};"
        " SET LOCAL jit = off"
    )
    yield
    await connection.execute("COMMIT")


async def _copy(connection: Any, rows: TableRows) -> None:
    """Send rows by COPY, and end it when the connection is lost.

    asyncpg alone would go on waiting for room in the buffer of a connection that is gone.
    """
    copying = asyncio.ensure_future(
        connection.copy_to_table(
            rows.table,
            source=_taking_turns(rows.pieces()),
            columns=rows.columns,
            format="binary",
        )
    )

    def lost(_: Any) -> None:
        copying.cancel()

    connection.add_termination_listener(lost)
    try:
        await copying
    except asyncio.CancelledError:
        if not connection.is_closed():
            raise
        raise asyncpg.ConnectionDoesNotExistError("the connection was lost during COPY") from None
    finally:
        connection.remove_termination_listener(lost)


async def _taking_turns(pieces: Iterator[memoryview]) -> AsyncIterator[memoryview]:
    """The pieces; between them others have their turn."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell values that Postgres refuses, or that can't even be sent, from a Postgres that is away.

    Tried again they would be refused again.
    """
    try:
        yield
    except (asyncpg.DataError, ValueError, TypeError, OverflowError) as error:
        raise DataRefused(_line(error)) from error


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _line(error: BaseException) -> str:
    """The first line of an error's text, with its kind where the text alone says little."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _unclaimed(loop: Any, context: dict[str, Any]) -> None:
    """Let go of an error in what nobody waits for any more.

    asyncpg leaves a future behind where a connection is lost during COPY; whoever copied has got an
    error of its own. trio-asyncio alone would end the daemon.
    """
    if not isinstance(context.get("exception"), _AWAY):
        loop.default_exception_handler(context)


@asynccontextmanager
async def open_postgres(*, migrate: bool, layout: str = layouts.AUTO) -> AsyncIterator[Postgres]:
    """A database whose ``dsn`` is still to be set; its connections end with the block."""
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(_unclaimed)
        postgres = Postgres(loop, migrate=migrate, layout=layout)
        try:
            yield postgres
        finally:
            postgres.close()

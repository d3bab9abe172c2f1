"""Talks to Postgres: the only file that knows asyncio, through trio-asyncio.

Each call crosses from trio to asyncio once and does its whole work there. One connection
writes, a few others read: the daemon's own work, quick and slow questions of clients have places
of their own. Every call is bounded in time on the asyncio side, where a bound holds; after an error
or a timeout a connection is terminated, never closed gracefully nor rolled back, since a server
that doesn't answer would hold that up too. The server ends its part by itself: a transaction whose
client is gone, by ``statement_timeout`` one that waits or runs.

Timestamps pass as whole microseconds since 1970, numerics in Postgres' binary form.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import structlog
import trio
import trio_asyncio
from attrs import frozen

from aegisd.errors import DatabaseSlow, DatabaseUnavailable, DataRefused, SchemaError
from aegisd.store.database.binary import TableRows
from aegisd.store.database.connecting import connect, line
from aegisd.store.database.copying import copy, refusals, sifted, values
from aegisd.store.database.limits import ConcurrencyLimit
from aegisd.store.database.refusals import is_refusal
from aegisd.store.database.sifting import Refused
from aegisd.store.database.transactions import FOLDING, READING, READING_RAW, begun, milliseconds
from aegisd.store.schema import SCHEMA, Home, Partition, bring_up, grant, layouts, partitions

WRITE_SECONDS = 120  # a COPY of the largest batch on a slow disk
READ_SECONDS = 30
FOLD_SECONDS = 120
MIGRATE_SECONDS = 600  # nineteen other daemons may be first
LOCK_SECONDS = 2  # dropping a partition waits no longer for those who write

MAX_OWN = 2
"""The daemon's own work has two tasks, upkeep and alerts: neither waits for the other, nor for a
client."""

MAX_QUESTIONS = 3
"""A page asks for several things at once, each takes milliseconds."""

MAX_SLOW = 1
"""One query of raw rows keeps a core and a disk of the server busy for as long as it may run."""

MAX_SLOW_WAITING = 5
"""Who comes later would hardly have an answer within its time."""

UNMADE_SECONDS = 600.0
"""A partition that could not be made is tried again after that: trying may look through all rows
of a default partition, under a lock."""

_AWAY = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What tells that the database can't be used now."""

log = structlog.get_logger()

T = TypeVar("T")

_Ask = Callable[[Callable[[Any], Awaitable[Any]]], Awaitable[Any]]
_Guard = Callable[[], AbstractContextManager[None]]


@frozen
class Session:
    """A transaction that is open: within ``read``, ``answer`` and ``fold`` only."""

    _connection: Any

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises DataRefused where an argument is no value for Postgres."""
        with values():
            return [tuple(record) for record in await self._connection.fetch(sql, *args)]

    async def execute(self, sql: str, *args: Any) -> None:
        """Run a statement that gives no rows. Raises DataRefused as ``fetch`` does."""
        with values():
            await self._connection.execute(sql, *args)


@frozen
class Move:
    """A step of a journal's position."""

    journal: UUID
    node: str
    start: int
    end: int


@frozen
class _Unmade:
    """Why a partition could not be made, and when to try it again, in trio's time."""

    again: float
    why: str


class PartitionUnmade(DatabaseUnavailable):
    """Partitions can't be made as things are; what has no other place is left out."""


class Postgres:
    """One database. Methods raise DatabaseUnavailable where it can't be used now."""

    def __init__(self, loop: Any, *, migrate: bool, layout: str, schema: str) -> None:
        self._loop = loop
        self.dsn: str | None = None
        """Where the database is; None as long as that is not known."""
        self._wanted = {"layout": layout, "schema": schema}
        self._home: Home | None = None
        self._migrate = migrate
        self._writer: Any = None
        self._partitions: set[Partition] = set()  # that are there
        self._unmade: dict[Partition, _Unmade] = {}
        self._idle: list[Any] = []
        self._own = ConcurrencyLimit("queries of the daemon itself", MAX_OWN)
        self._questions = ConcurrencyLimit("queries of rollups and alerts", MAX_QUESTIONS)
        self._slow = ConcurrencyLimit("queries of raw rows", MAX_SLOW, MAX_SLOW_WAITING)

    @property
    def home(self) -> Home:
        """Where the tables are and how they lie. Raises DatabaseUnavailable before ``prepare``."""
        if self._home is None:
            raise DatabaseUnavailable("the database was not reached yet")
        return self._home

    async def prepare(self) -> None:
        """Connect, and bring the schema up to this version (or only verify it)."""
        await self._cross(self._connected_writer, MIGRATE_SECONDS)

    async def grant(self, role: str) -> None:
        """Let a role do all that a daemon does. Raises AegisdError where there is none."""

        async def work(connection: Any) -> None:
            await grant(connection, self.home.schema, role)

        await self._read(work)

    async def position(self, journal: UUID, node: str, first: int) -> int:
        """The position up to which a journal is stored; ``first`` where it is not known yet.

        Waits for a transaction that may still move it. ``prepare`` came before.
        """

        async def known(connection: Any) -> int:
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

        return await self._on_writer(known, WRITE_SECONDS)

    async def write(self, tables: Sequence[TableRows], move: Move) -> list[Refused]:
        """Write all rows and move the journal's position, in one transaction.

        Rows that Postgres refuses are left out, and told. Raises DataRefused where it can't even
        be told which these are.
        """
        # in one order everywhere: TimescaleDB locks tables while it makes chunks
        tables = sorted(tables, key=lambda rows: rows.table)
        needed = {partition for rows in tables for partition in rows.partitions}
        await self._make_partitions(needed - self._partitions, self._on_writer)
        try:
            await self._written(tables, move, copy, refusals)
        except DataRefused:
            # somebody may have dropped or detached a partition
            await self._make_partitions(needed, self._on_writer)
            told = await self._written(tables, move, sifted, nullcontext)
            return [refused for refused in told if refused is not None]
        return []

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """The rows of a query of the daemon itself.

        Raises DataRefused where an argument is no value for Postgres.
        """

        async def query(connection: Any) -> list[tuple[Any, ...]]:
            return await Session(connection).fetch(sql, *args)

        return await self._read(query)

    async def execute(self, sql: str, *args: Any) -> None:
        """Run a statement of the daemon itself. Raises DataRefused as ``fetch`` does."""

        async def run(connection: Any) -> None:
            await Session(connection).execute(sql, *args)

        await self._read(run)

    async def read(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """What ``work``, of the daemon itself, makes of its queries' answers, all of one state."""

        async def query(connection: Any) -> T:
            return await work(Session(connection))

        return await self._read(query, READING)

    async def answer(self, work: Callable[[Session], Awaitable[T]], *, slow: bool = False) -> T:
        """As ``read``, for a client who asks: it takes no place from the daemon's own work.

        ``slow`` for what reads raw rows, which takes none from other questions either. Raises Busy
        where too many ask.
        """

        async def query(connection: Any) -> T:
            return await work(Session(connection))

        if slow:
            return await self._read(query, READING_RAW, limit=self._slow)
        return await self._read(query, READING, limit=self._questions)

    async def fold(self, work: Callable[[Session], Awaitable[T]]) -> T | None:
        """Let ``work`` change rollups; all it sees is of one state. None: another was quicker."""

        async def change(connection: Any) -> T | None:
            try:
                return await work(Session(connection))
            except asyncpg.SerializationError:
                return None

        return await self._read(change, FOLDING, FOLD_SECONDS)

    async def vacuum(self, tables: Iterable[str]) -> None:
        """Make room in tables that lose most of their rows again and again."""
        home = self.home
        names = ", ".join(f"{home.schema}.{table}" for table in tables)

        async def work() -> None:
            connection = self._take_idle() or await connect(self._place())
            try:
                await connection.execute(f"VACUUM {names}")
            except BaseException:
                connection.terminate()
                raise
            self._idle.append(connection)

        async with self._own.taken(FOLD_SECONDS):
            await self._cross(work, FOLD_SECONDS)

    async def make_partitions(self, wanted: Iterable[Partition]) -> None:
        """Make those that are not there, while others write; TimescaleDB makes its own.

        Each in a transaction of its own: on Citus one takes up to a second. Raises PartitionUnmade
        when all others are made, and DatabaseUnavailable where rows have no other place until the
        database can make one.
        """
        wanted = set(wanted)
        await self._make_partitions(wanted, self._read)
        unmade = {p.name: self._unmade[p].why for p in sorted(wanted) if p in self._unmade}
        if unmade:
            raise PartitionUnmade("; ".join(f"{name}: {why}" for name, why in unmade.items()))

    async def _make_partitions(self, wanted: Iterable[Partition], ask: _Ask) -> None:
        """Make what is not there, and log what can't be: its rows have another place, or none."""
        now = trio.current_time()
        unknown = {p for p in wanted if p not in self._unmade or self._unmade[p].again <= now}
        if not unknown:
            return
        there = await ask(partitions.children)
        if self.home.layout == layouts.TIMESCALEDB:
            return
        before = {partition: self._unmade.pop(partition, None) for partition in unknown}
        for partition in partitions.missing(unknown, there):
            try:
                await ask(partial(self._make, partition))
            except DatabaseUnavailable as error:
                cause = error.__cause__ or error
                lasting = is_refusal(cause) and not isinstance(cause, asyncpg.UndefinedTableError)
                default = any(c.default and c.table == partition.table for c in there)
                if not lasting and not default:
                    raise
                # without a default partition there is nothing to look through, and rows are lost
                again = now + UNMADE_SECONDS if default else now
                self._unmade[partition] = _Unmade(again, str(error))
                told = before[partition]
                if told is None or told.why != str(error):
                    log.warning(
                        "a partition can't be made; its rows go to the default partition, or are"
                        " left out: mend it, or detach what is in its way",
                        partition=partition.name,
                        why=str(error),
                    )
        self._partitions |= unknown - set(self._unmade)

    @staticmethod
    async def _make(partition: Partition, connection: Any) -> None:
        try:
            await partitions.make(connection, partition)
        except asyncpg.UndefinedFunctionError:
            raise DatabaseUnavailable(
                "the role does not own the tables and may not make partitions: run 'aegisd migrate"
                " --grant ROLE' as their owner"
            ) from None

    async def partitions(self) -> list[Partition]:
        """The partitions there are, of the names that we give."""
        return await self._read(partitions.ours)

    async def drop_partition(self, partition: Partition) -> bool:
        """Drop a partition; False where those who write to its table leave no room just now."""

        async def drop(connection: Any) -> bool:
            await connection.execute(f"SET LOCAL lock_timeout = {milliseconds(LOCK_SECONDS)}")
            try:
                await partitions.drop(connection, partition)
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

    async def _on_writer(
        self,
        query: Callable[[Any], Awaitable[T]],
        seconds: float | None = None,
        guard: _Guard = nullcontext,
    ) -> T:
        """What a query in a transaction of the writer's connection gives."""
        limit = READ_SECONDS if seconds is None else seconds

        async def work() -> T:
            try:
                connection = await self._connected_writer()
                with guard():
                    async with self._transaction(connection, limit):
                        return await query(connection)
            except BaseException:
                self._drop_writer()
                raise

        return await self._cross(work, limit)

    async def _written(
        self,
        tables: Sequence[TableRows],
        move: Move,
        write: Callable[[Any, TableRows], Awaitable[Refused | None]],
        guard: _Guard,
    ) -> list[Refused | None]:
        """What each table's ``write`` gives; the position moves in the same transaction."""

        async def all_of_them(connection: Any) -> list[Refused | None]:
            told = [await write(connection, rows) for rows in tables]
            await _moved(connection, move)
            return told

        return await self._on_writer(all_of_them, WRITE_SECONDS, guard)

    # from here on, what runs on the asyncio side

    async def _read(
        self,
        query: Callable[[Any], Awaitable[T]],
        mode: str = "",
        seconds: float | None = None,
        limit: ConcurrencyLimit | None = None,
    ) -> T:
        bound = READ_SECONDS if seconds is None else seconds

        async def work() -> T:
            connection = self._take_idle() or await connect(self._place())
            try:
                async with self._transaction(connection, bound, mode):
                    result = await query(connection)
            except BaseException:
                connection.terminate()
                raise
            if not connection.is_closed():
                self._idle.append(connection)
            return result

        async with (limit or self._own).taken(bound):
            return await self._cross(work, bound)

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
        except (TimeoutError, asyncpg.QueryCanceledError) as error:
            raise DatabaseSlow(f"no answer within {seconds} s") from error
        except _AWAY as error:
            raise DatabaseUnavailable(line(error)) from error
        return result

    def _place(self) -> str:
        if self.dsn is None:
            raise DatabaseUnavailable("Postgres is still starting")
        return self.dsn

    async def _connected_writer(self) -> Any:
        if self._writer is None or self._writer.is_closed():
            self._drop_writer()
            connection = await connect(self._place())
            self._writer = connection
            if self._home is None:
                try:
                    async with begun(connection, MIGRATE_SECONDS):
                        self._home = await bring_up(
                            connection, migrate=self._migrate, **self._wanted
                        )
                except asyncpg.DuplicateTableError as error:
                    self._drop_writer()
                    raise SchemaError(
                        f"{error}, and is not aegisd's; set storage.schema to another schema"
                    ) from None
                except BaseException:
                    self._drop_writer()
                    raise
        return self._writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.terminate()
        self._writer = None
        self._partitions.clear()  # who knows what changes until we are back

    @asynccontextmanager
    async def _transaction(
        self, connection: Any, seconds: float, mode: str = ""
    ) -> AsyncIterator[None]:
        """A transaction where the tables are, as far as that is known."""
        path = None if self._home is None else self._home.path
        async with begun(connection, seconds, mode, path):
            yield


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


def _unclaimed(loop: Any, context: dict[str, Any]) -> None:
    """Let go of an error in what nobody waits for any more.

    asyncpg leaves a future behind where a connection is lost during COPY; whoever copied has got an
    error of its own. trio-asyncio alone would end the daemon.
    """
    if not isinstance(context.get("exception"), _AWAY):
        loop.default_exception_handler(context)


@asynccontextmanager
async def open_postgres(
    *, migrate: bool, layout: str = layouts.AUTO, schema: str = SCHEMA
) -> AsyncIterator[Postgres]:
    """A database whose ``dsn`` is still to be set; its connections end with the block."""
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(_unclaimed)
        postgres = Postgres(loop, migrate=migrate, layout=layout, schema=schema)
        try:
            yield postgres
        finally:
            postgres.close()

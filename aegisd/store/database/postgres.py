"""``Postgres``: everything that the other packages ask of the database.

The writer has a connection of its own. All other work runs in places, so that no kind of work waits
for another:

    work                   places  queue
    the daemon's own            2    any  upkeep and alerts: neither waits for the other
    questions of clients        3    any  a page asks several at once, each takes milliseconds
    slow questions              1      5  one query of raw rows keeps a core and a disk busy

A read may take 30 s, a write or a fold 120 s, migrations 600 s. ``pool`` says how these limits are
held, and why each error ends its connection. The other parts are ``writing`` (the writer's
transaction), ``partitioning`` and ``transactions``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from aegisd.store.database import partitioning, writing
from aegisd.store.database.copy_format import TableRows
from aegisd.store.database.copying import Refused
from aegisd.store.database.errors import SerializationFailure
from aegisd.store.database.partitioning import Partitions
from aegisd.store.database.pool import ConcurrencyLimit, Pool, open_pool
from aegisd.store.database.transactions import FOLDING, READING, READING_RAW, Session
from aegisd.store.database.writing import Move
from aegisd.store.schema import Catalogue, Installation, Partition, grant

FOLD_SECONDS = 120

MAX_OWN = 2
MAX_QUESTIONS = 3
MAX_SLOW = 1
MAX_SLOW_WAITING = 5
"""A slow question behind so many others would hardly have an answer within its time."""

T = TypeVar("T")


class Postgres:
    """One database. Methods raise DatabaseUnavailable where it can't be used now."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._partitions = Partitions(pool)
        self._own = ConcurrencyLimit("queries of the daemon itself", MAX_OWN)
        self._questions = ConcurrencyLimit("queries of rollups and alerts", MAX_QUESTIONS)
        self._slow = ConcurrencyLimit("queries of raw rows", MAX_SLOW, MAX_SLOW_WAITING)

    @property
    def dsn(self) -> str | None:
        """Where the database is; None until that is known."""
        return self._pool.dsn

    @dsn.setter
    def dsn(self, dsn: str | None) -> None:
        self._pool.dsn = dsn

    @property
    def installation(self) -> Installation:
        """Where the tables are and how they lie. Raises DatabaseUnavailable before ``prepare``."""
        return self._pool.known_installation

    async def prepare(self) -> None:
        """Connect, and bring the schema up to this version (or only verify it)."""
        await self._pool.prepare()

    async def grant(self, role: str) -> None:
        """Let a role do all that a daemon does. Raises AegisdError where there is no such role."""

        async def work(connection: Any) -> None:
            await grant(connection, self.installation.schema, role)

        await self._run_own(work)

    def close(self) -> None:
        """End all connections at once."""
        self._pool.close()

    # writing

    async def position(self, journal: UUID, node: str, first: int) -> int:
        """The committed position of a journal; ``first`` for a journal not known yet.

        Waits for a transaction that may still move it. ``prepare`` came before.
        """
        return await writing.read_position(self._pool, journal, node, first)

    async def write(self, tables: Sequence[TableRows], move: Move) -> list[Refused]:
        """Write all rows and move the journal's position, in one transaction.

        Rows that Postgres refuses are left out and returned. Raises DataRefused where Postgres does
        not tell which rows it refuses.
        """
        return await writing.write(self._pool, self._partitions, tables, move)

    # the daemon's own work

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises DataRefused where Postgres does not take an argument."""

        async def query(connection: Any) -> list[tuple[Any, ...]]:
            return await Session(connection).fetch(sql, *args)

        return await self._run_own(query)

    async def execute(self, sql: str, *args: Any) -> None:
        """Run a statement. Raises DataRefused as ``fetch`` does."""

        async def run(connection: Any) -> None:
            await Session(connection).execute(sql, *args)

        await self._run_own(run)

    async def read(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """What ``work`` makes of its queries; all of them see one state of the database."""
        return await self._pool.on_other(_with_session(work), self._own, READING)

    async def fold(self, work: Callable[[Session], Awaitable[T]]) -> T | None:
        """Let ``work`` change rollups; it sees one state. None: another daemon changed them too."""

        async def change(connection: Any) -> T | None:
            try:
                return await work(Session(connection))
            except SerializationFailure:
                return None

        return await self._pool.on_other(change, self._own, FOLDING, FOLD_SECONDS)

    async def vacuum(self, tables: Iterable[str]) -> None:
        """Make room in tables that lose most of their rows again and again."""
        schema = self.installation.schema
        names = ", ".join(f"{schema}.{table}" for table in tables)
        await self._pool.outside_transaction(f"VACUUM {names}", self._own, FOLD_SECONDS)

    async def make_partitions(self, wanted: Iterable[Partition]) -> None:
        """Make those that are missing, beside the transactions that write.

        Raises PartitionUnmade where some can't be made, after all others are, and
        DatabaseUnavailable where rows have no other place until the database can make one.
        """
        wanted = set(wanted)
        await self._partitions.make(wanted, self._run_own)
        self._partitions.verify_made(wanted)

    async def partitions(self) -> list[Partition]:
        """The attached partitions whose names are of our making."""
        return await self._run_own(lambda connection: Catalogue(connection).ours())

    async def drop_partition(self, partition: Partition) -> bool:
        """Drop a partition; False where its table is in use for too long."""
        return await self._run_own(partial(partitioning.drop, partition))

    async def _run_own(self, query: Callable[[Any], Awaitable[T]]) -> T:
        return await self._pool.on_other(query, self._own)

    # questions of clients

    async def ask(self, work: Callable[[Session], Awaitable[T]], *, slow: bool = False) -> T:
        """As ``read``, for a client's question: it takes no place from the daemon's own work.

        ``slow`` is for raw rows: such a question takes no place from other questions either. Raises
        Busy where too many ask.
        """
        places, mode = (self._slow, READING_RAW) if slow else (self._questions, READING)
        return await self._pool.on_other(_with_session(work), places, mode)


def _with_session(
    work: Callable[[Session], Awaitable[T]],
) -> Callable[[Any], Awaitable[T]]:
    async def query(connection: Any) -> T:
        return await work(Session(connection))

    return query


@asynccontextmanager
async def open_postgres(*, migrate: bool, layout: str, schema: str) -> AsyncIterator[Postgres]:
    """A database whose ``dsn`` is still to be set; its connections end with the block.

    Without ``migrate`` the schema is only verified. ``layout`` and ``schema`` are as in the
    configuration (``storage``).
    """
    async with open_pool(migrate=migrate, layout=layout, schema=schema) as pool:
        yield Postgres(pool)

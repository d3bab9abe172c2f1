"""The connections to Postgres, and the one way to them from trio.

asyncpg needs asyncio, and the daemon runs on trio. Each call crosses to asyncio once, through
trio-asyncio, and does its whole work there.

1. One connection writes. The first call that needs it opens it, and the first one of all also
   brings the schema up to this version. It stays open until it fails.
2. Other work takes an idle connection, or opens one, and puts it back. How many there are is
   bounded by places: each kind of work has its own ``ConcurrencyLimit``.
3. Each call has a time limit, held on the asyncio side. A deadline of trio's would be no bound: it
   waits until the asyncio side has ended. The server gets the same limit as ``statement_timeout``.
4. After an error, a time-out or a cancellation the connection is terminated. It is neither closed
   gracefully nor rolled back, since a server that does not answer would hold that up as well. The
   server ends its part by itself: it rolls back when the client is gone, and ends a statement that
   waits or runs too long.
5. A time-out is DatabaseSlow; any other error of the driver, the server or the network is
   DatabaseUnavailable. Both keep the error as their cause.

Timestamps pass as whole microseconds since 1970, numerics in Postgres' binary form.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import trio
import trio_asyncio

from aegisd.errors import DatabaseSlow, DatabaseUnavailable, SchemaError
from aegisd.store.database.connecting import connect
from aegisd.store.database.errors import UNAVAILABLE, DuplicateTable, QueryCanceled, first_line
from aegisd.store.database.transactions import begun
from aegisd.store.schema import Installation, prepare_schema

READ_SECONDS = 30
MIGRATE_SECONDS = 600  # nineteen other daemons may migrate first

T = TypeVar("T")

Guard = Callable[[], AbstractContextManager[None]]


class Busy(DatabaseUnavailable):
    """Too many ask at the same time; within ``seconds`` a place is free again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(f"{message}; ask again later")
        self.seconds = math.ceil(seconds)


class ConcurrencyLimit:
    """``count`` places for one kind of work, and a queue of at most ``queue`` (None: any number).

    A task that is cancelled leaves its place, or the queue, at once.
    """

    def __init__(self, what: str, count: int, queue: int | None = None) -> None:
        self._what = what
        self._queue = queue
        self._limiter = trio.CapacityLimiter(count)

    @property
    def waiting(self) -> int:
        """How many tasks wait for a place."""
        return self._limiter.statistics().tasks_waiting

    @asynccontextmanager
    async def taken(self, seconds: float) -> AsyncIterator[None]:
        """Hold a place, after at most ``seconds`` in the queue. Raises Busy."""
        running = f"{self._what}: {self._limiter.borrowed_tokens} running"
        full = self._queue is not None and self.waiting >= self._queue
        if full and not self._limiter.available_tokens:
            raise Busy(f"{running} and {self.waiting} waiting", seconds)
        try:
            with trio.fail_after(seconds):
                await self._limiter.acquire()
        except trio.TooSlowError:
            raise Busy(f"{running}, none ended within {seconds} s", seconds) from None
        try:
            yield
        finally:
            self._limiter.release()


class Pool:
    """The connections to one database.

    State, beside the connections:

    ``dsn``           where the database is; None until that is known
    ``installation``  where the tables are and how they lie; None until the writer's connection was
                      open for the first time
    """

    def __init__(self, loop: Any, *, migrate: bool, layout: str, schema: str) -> None:
        self.dsn: str | None = None
        self.installation: Installation | None = None
        self.idle: list[Any] = []
        self.on_writer_lost: Callable[[], None] = lambda: None
        """Called when the writer's connection has ended: until the next one, tables may change."""
        self._writer: Any = None
        self._loop = loop
        self._prepare = partial(prepare_schema, migrate=migrate, layout=layout, schema=schema)

    @property
    def known_installation(self) -> Installation:
        """The installation. Raises DatabaseUnavailable while it is None."""
        if self.installation is None:
            raise DatabaseUnavailable("the database was not reached yet")
        return self.installation

    async def prepare(self) -> None:
        """Open the writer's connection; the first time, bring the schema up to this version."""
        await self._cross(self._open_writer, MIGRATE_SECONDS)

    async def on_writer(
        self,
        query: Callable[[Any], Awaitable[T]],
        seconds: float | None = None,
        guard: Guard = nullcontext,
    ) -> T:
        """Run a query in a transaction of the writer's connection.

        ``guard`` sees the errors before they are mapped, also those of COMMIT.
        """
        limit = READ_SECONDS if seconds is None else seconds

        async def work() -> T:
            try:
                connection = await self._open_writer()
                with guard():
                    async with self._transaction(connection, limit):
                        return await query(connection)
            except BaseException:
                self._drop_writer()
                raise

        return await self._cross(work, limit)

    async def on_other(
        self,
        query: Callable[[Any], Awaitable[T]],
        places: ConcurrencyLimit,
        mode: str = "",
        seconds: float | None = None,
    ) -> T:
        """Run a query in a transaction of another connection than the writer's, in a place."""
        limit = READ_SECONDS if seconds is None else seconds

        async def work() -> T:
            async with self._other() as connection, self._transaction(connection, limit, mode):
                return await query(connection)

        async with places.taken(limit):
            return await self._cross(work, limit)

    async def outside_transaction(
        self, statement: str, places: ConcurrencyLimit, seconds: float
    ) -> None:
        """Run a statement that Postgres does not take in a transaction, such as VACUUM."""

        async def work() -> None:
            async with self._other() as connection:
                await connection.execute(statement)

        async with places.taken(seconds):
            await self._cross(work, seconds)

    def close(self) -> None:
        """End all connections at once."""
        self._drop_writer()
        for connection in self.idle:
            connection.terminate()
        self.idle.clear()

    async def _cross(self, work: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        """Run ``work`` on the asyncio side, and map its errors."""

        async def bounded() -> T:
            async with asyncio.timeout(seconds):
                return await work()

        try:
            result: T = await self._loop.run_aio_coroutine(bounded())
        except (TimeoutError, QueryCanceled) as error:
            raise DatabaseSlow(f"no answer within {seconds} s") from error
        except UNAVAILABLE as error:
            raise DatabaseUnavailable(first_line(error)) from error
        return result

    # on the asyncio side

    async def _open_writer(self) -> Any:
        if self._writer is None or self._writer.is_closed():
            self._drop_writer()
            self._writer = await connect(self._known_dsn())
            if self.installation is None:
                try:
                    self.installation = await self._prepare_schema(self._writer)
                except BaseException:
                    self._drop_writer()
                    raise
        return self._writer

    async def _prepare_schema(self, connection: Any) -> Installation:
        try:
            async with begun(connection, MIGRATE_SECONDS):
                installation = await self._prepare(connection)
        except DuplicateTable as error:
            raise SchemaError(
                f"{error}, and is not aegisd's; set storage.schema to another schema"
            ) from None
        return installation

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.terminate()
        self._writer = None
        self.on_writer_lost()

    @asynccontextmanager
    async def _other(self) -> AsyncIterator[Any]:
        """A connection, which is idle again afterwards."""
        connection = self._take_idle() or await connect(self._known_dsn())
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        if not connection.is_closed():
            self.idle.append(connection)

    def _take_idle(self) -> Any:
        """An idle connection that the server has not ended meanwhile; None where there is none."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _known_dsn(self) -> str:
        if self.dsn is None:
            raise DatabaseUnavailable("Postgres is still starting")
        return self.dsn

    @asynccontextmanager
    async def _transaction(
        self, connection: Any, seconds: float, mode: str = ""
    ) -> AsyncIterator[None]:
        """A transaction that finds the tables, once it is known where they are."""
        path = None if self.installation is None else self.installation.path
        async with begun(connection, seconds, mode, path):
            yield


@asynccontextmanager
async def open_pool(*, migrate: bool, layout: str, schema: str) -> AsyncIterator[Pool]:
    """A pool whose ``dsn`` is still to be set; its connections end with the block."""
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(_ignore_lost_connections)
        pool = Pool(loop, migrate=migrate, layout=layout, schema=schema)
        try:
            yield pool
        finally:
            pool.close()


def _ignore_lost_connections(loop: Any, context: dict[str, Any]) -> None:
    """Ignore an error of the connection in a future that nobody awaits.

    asyncpg leaves such a future where a connection is lost during COPY; the task that copied gets
    an error of its own. trio-asyncio's own handler would end the daemon.
    """
    if not isinstance(context.get("exception"), UNAVAILABLE):
        loop.default_exception_handler(context)

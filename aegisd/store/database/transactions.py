"""How transactions begin: the settings that each kind of work asks of the server.

All settings are LOCAL, for one transaction. A setting of the session would get lost at a pooler,
which gives each transaction another session.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen

from aegisd.store.database.errors import values_checked

FOLD_MEMORY = "64MB"  # for the sketches that a fold adds up
IDLE_SECONDS = 10.0

READING_RAW = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""All queries of the transaction see one state of the database."""

READING = (
    f"{READING_RAW}; SET LOCAL max_parallel_workers_per_gather = 0;"
    " SET LOCAL random_page_cost = 1.1"
)
"""For rollups, which are few rows. To start a parallel worker takes longer than to read them.
Mostly they are in memory, where a random page costs as much as the next one: to read a quarter of a
table over an index is quicker than to read all of it."""

_END_WITH_CLIENT = (
    "SELECT set_config('client_connection_check_interval', '1s', true)"
    " WHERE version() LIKE '%linux%'"
)
"""Has the server end a statement whose client is gone. By default it runs the statement to its end:
a client that asks and leaves again and again would have any number of them running. Postgres
refuses the setting on systems that can't tell."""

FOLDING = (
    f"ISOLATION LEVEL REPEATABLE READ; SET LOCAL work_mem = '{FOLD_MEMORY}';"
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL enable_material = off; SET LOCAL enable_seqscan = off;"
    " SET LOCAL enable_hashagg = off; SET LOCAL random_page_cost = 0;"
    " SET LOCAL cpu_operator_cost = 0.0001; SET LOCAL cpu_index_tuple_cost = 0.0001"
)
"""For a fold, which looks up a few rows in large tables. The planner can't know how few: so here a
look-up costs next to nothing, and a scan of the whole table is off. A scan saves little where the
table is small, and loses much where it is large. A sum of sketches takes 9 kB: to build one at a
time is quicker than a hash table of them."""


@asynccontextmanager
async def begun(
    connection: Any, seconds: float, mode: str = "", path: str | None = None
) -> AsyncIterator[None]:
    """A transaction, committed at the end of the block.

    The server ends each statement after ``seconds``. It ends the whole transaction when the client
    is silent for IDLE_SECONDS: the locks of a client whose line is dead would hold up all other
    daemons. ``jit`` is off, as compiling takes longer than any of our queries runs.

    A failure sends no ROLLBACK, whose answer might never come: the caller ends the connection.
    """
    await connection.execute(
        f"BEGIN {mode}; SET LOCAL statement_timeout = {milliseconds(seconds)};"
        f" SET LOCAL idle_in_transaction_session_timeout = {milliseconds(IDLE_SECONDS)};"
        f" SET LOCAL jit = off; {_END_WITH_CLIENT}"
        + (f"; SET LOCAL search_path = {path}" if path else "")
    )
    yield
    await connection.execute("COMMIT")


def milliseconds(seconds: float) -> int:
    """A time as Postgres' settings take it."""
    return round(seconds * 1000)


@frozen
class Session:
    """An open transaction, for the work given to ``Postgres.read``, ``ask`` and ``fold``.

    That work runs on the asyncio side: it awaits the session, and nothing of trio's.
    """

    _connection: Any

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises DataRefused where Postgres does not take an argument."""
        with values_checked():
            return [tuple(record) for record in await self._connection.fetch(sql, *args)]

    async def execute(self, sql: str, *args: Any) -> None:
        """Run a statement that gives no rows. Raises DataRefused as ``fetch`` does."""
        with values_checked():
            await self._connection.execute(sql, *args)

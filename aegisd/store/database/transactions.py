"""How transactions begin: what each kind of work asks of the server for as long as it lasts.

Nothing is set for a session: a pooler gives each transaction another one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

FOLD_MEMORY = "64MB"  # sketches that are being added up
IDLE_SECONDS = 10.0

READING_RAW = "ISOLATION LEVEL REPEATABLE READ READ ONLY"

READING = (
    f"{READING_RAW}; SET LOCAL max_parallel_workers_per_gather = 0;"
    " SET LOCAL random_page_cost = 1.1"
)
"""Rollups are few rows: to start a worker takes longer than to read them. Mostly they are in
memory, where a page costs the same wherever it is: a quarter of a table is read quicker than all of
it."""

_LEAVING = (
    "SELECT set_config('client_connection_check_interval', '1s', true)"
    " WHERE version() LIKE '%linux%'"
)
"""A statement ends with its client. The server alone would run it to its end, and who asks and
leaves again and again would have any number running. Other systems may not have what it takes:
Postgres refuses the setting there."""

FOLDING = (
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


@asynccontextmanager
async def begun(
    connection: Any, seconds: float, mode: str = "", path: str | None = None
) -> AsyncIterator[None]:
    """A transaction whose every statement the server ends after ``seconds``.

    It also ends the transaction of a client that is silent for IDLE_SECONDS: the locks of one whose
    line is dead would hold up all other daemons.

    Compiling a query to machine code would take longer than any of ours runs. A failure sends no
    ROLLBACK, whose answer might never come: who fails ends the connection.
    """
    await connection.execute(
        f"BEGIN {mode}; SET LOCAL statement_timeout = {milliseconds(seconds)};"
        f" SET LOCAL idle_in_transaction_session_timeout = {milliseconds(IDLE_SECONDS)};"
        f" SET LOCAL jit = off; {_LEAVING}" + (f"; SET LOCAL search_path = {path}" if path else "")
    )
    yield
    await connection.execute("COMMIT")


def milliseconds(seconds: float) -> int:
    """As Postgres' settings take them."""
    return round(seconds * 1000)

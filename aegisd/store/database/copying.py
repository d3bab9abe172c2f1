"""Sends rows by COPY, and tells what Postgres has against them. On the asyncio side."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from aegisd.errors import DataRefused
from aegisd.store.database.binary import TableRows
from aegisd.store.database.connecting import line
from aegisd.store.database.refusals import is_refusal
from aegisd.store.database.sifting import Refused, sift


async def sifted(connection: Any, rows: TableRows) -> Refused | None:
    """Write the rows that Postgres takes; deferred constraints speak at once, each of its row."""
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    await connection.execute("SAVEPOINT rows")
    try:
        with refusals():
            await copy(connection, rows)
    except DataRefused:
        await connection.execute("ROLLBACK TO SAVEPOINT rows")
        return await sift(connection, rows, _staged)
    return None


async def _staged(connection: Any, rows: TableRows, table: str) -> None:
    """Copy rows to where they wait to be sifted; only values can be refused there."""
    with values():
        await _copy_to(connection, rows, table)


async def copy(connection: Any, rows: TableRows) -> None:
    """Send rows to their table."""
    await _copy_to(connection, rows, rows.table)


async def _copy_to(connection: Any, rows: TableRows, table: str) -> None:
    """Send rows by COPY, and end it when the connection is lost.

    asyncpg alone would go on waiting for room in the buffer of a connection that is gone.
    """
    copying = asyncio.ensure_future(
        connection.copy_to_table(
            table,
            source=_taking_turns(rows.chunks()),
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


async def _taking_turns(chunks: Iterator[memoryview]) -> AsyncIterator[memoryview]:
    """The chunks; between them others have their turn."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


@contextmanager
def values() -> Iterator[None]:
    """Tell values that Postgres does not take, or that can't even be sent."""
    try:
        yield
    except (asyncpg.DataError, ValueError, TypeError, OverflowError) as error:
        raise DataRefused(line(error)) from error


@contextmanager
def refusals() -> Iterator[None]:
    """Tell rows that Postgres refuses from a Postgres that is away: they would be refused again."""
    try:
        with values():
            yield
    except asyncpg.PostgresError as error:
        if not is_refusal(error):
            raise
        raise DataRefused(line(error)) from error

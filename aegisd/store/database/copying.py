"""Sends rows to their table by COPY; where Postgres refuses some, it writes the others.

COPY takes all rows or none. After a refusal the rows are *sifted*: they are copied into a temporary
table without constraints, and inserted from there one by one, each in a subtransaction. A
subtransaction costs about 8 us. Halving would find a few refused rows as quickly. But where an
operator's constraint refuses half of all rows, halving would hardly come to an end.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from attrs import frozen

from aegisd.errors import DataRefused
from aegisd.store.database.copy_format import TableRows
from aegisd.store.database.errors import ConnectionLost, refusal_sql, rows_checked, values_checked

_WAITING, _REFUSED = "aegisd_waiting", "aegisd_refused"  # temporary tables


@frozen
class Refused:
    """Rows of a table that were left out, and what Postgres said of one of them."""

    table: str
    rows: int
    why: str


async def copy(connection: Any, rows: TableRows) -> None:
    """Send rows to their table."""
    await _copy_to(connection, rows, rows.table)


async def copy_sifting(connection: Any, rows: TableRows) -> Refused | None:
    """Write the rows that Postgres takes, within a transaction; None where it takes all of them."""
    # a deferred constraint speaks at COMMIT, where no row can be left out any more
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    await connection.execute("SAVEPOINT rows")
    try:
        with rows_checked():
            await copy(connection, rows)
    except DataRefused:
        await connection.execute("ROLLBACK TO SAVEPOINT rows")
        return await _sift(connection, rows)
    return None


async def _copy_to(connection: Any, rows: TableRows, table: str) -> None:
    """Send rows by COPY, and end it when the connection is lost.

    asyncpg alone would wait for ever for room in the buffer of the lost connection.
    """
    copying = asyncio.ensure_future(
        connection.copy_to_table(
            table,
            source=_yielding(rows.chunks()),
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
        raise ConnectionLost("the connection was lost during COPY") from None
    finally:
        connection.remove_termination_listener(lost)


async def _yielding(chunks: Iterator[memoryview]) -> AsyncIterator[memoryview]:
    """The chunks; other tasks run between two of them."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


async def _sift(connection: Any, rows: TableRows) -> Refused | None:
    columns = ", ".join(f'"{column}"' for column in rows.columns)
    values = ", ".join(f'waiting."{column}"' for column in rows.columns)
    await connection.execute(
        f"CREATE TEMPORARY TABLE {_WAITING} ON COMMIT DROP AS"
        f" SELECT {columns} FROM {rows.table} WITH NO DATA"
    )
    await connection.execute(f"CREATE TEMPORARY TABLE {_REFUSED} (why text) ON COMMIT DROP")
    with values_checked():  # the temporary table has no constraints
        await _copy_to(connection, rows, _WAITING)
    await connection.execute(f"""
        DO $sift$
        DECLARE
            waiting record;
            state text;
            said text;
        BEGIN
            FOR waiting IN SELECT * FROM pg_temp.{_WAITING} LOOP
                BEGIN
                    INSERT INTO {rows.table} ({columns}) VALUES ({values});
                EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
                    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT;
                    IF {refusal_sql("state")} THEN
                        INSERT INTO pg_temp.{_REFUSED} VALUES (said);
                    ELSE
                        RAISE;
                    END IF;
                END;
            END LOOP;
        END
        $sift$
    """)
    ((refused, why),) = await connection.fetch(f"SELECT count(*), min(why) FROM pg_temp.{_REFUSED}")
    for table in (_WAITING, _REFUSED):
        await connection.execute(f"DROP TABLE pg_temp.{table}")
    return Refused(rows.table, refused, why) if refused else None

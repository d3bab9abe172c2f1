"""Writes the rows of a table that Postgres takes, and says what it has against the others.

The rows go into a temporary table without constraints, and from there one by one into their own:
each in a subtransaction, some 8 us. Halving would find a few refused rows as quickly; where an
operator's constraint refuses half of all, it would hardly come to an end.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from aegisd.store.database.binary import TableRows
from aegisd.store.database.refusals import refusing_sql

_WAITING, _REFUSED = "aegisd_waiting", "aegisd_refused"

Copy = Callable[[Any, TableRows, str], Awaitable[None]]
"""Copies rows into the table of that name."""


@frozen
class Refused:
    """Rows of a table that were left out, and what Postgres said of one of them."""

    table: str
    rows: int
    why: str


async def sift(connection: Any, rows: TableRows, copy: Copy) -> Refused | None:
    """Write a table's rows within a transaction; None where all were taken."""
    columns = ", ".join(f'"{column}"' for column in rows.columns)
    values = ", ".join(f'waiting."{column}"' for column in rows.columns)
    await connection.execute(
        f"CREATE TEMPORARY TABLE {_WAITING} ON COMMIT DROP AS"
        f" SELECT {columns} FROM {rows.table} WITH NO DATA"
    )
    await connection.execute(f"CREATE TEMPORARY TABLE {_REFUSED} (why text) ON COMMIT DROP")
    await copy(connection, rows, _WAITING)
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
                    IF {refusing_sql("state")} THEN
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

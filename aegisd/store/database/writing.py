"""The writer's transaction: rows and the journal's position, both or neither.

The table ``journals`` has the committed position of each daemon's journal: all events before it are
in the database. A transaction that writes a batch moves it from the batch's start to its end. So
whatever becomes of the transaction, the database itself says whether the batch is committed.

Rows that Postgres refuses are left out, in three steps:

1. COPY all tables' rows. Where Postgres refuses none, this is the only step.
2. Look for the partitions again, as an operator may have dropped or detached one.
3. Write again, and *sift* each table that Postgres refuses (see ``copying``).
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from attrs import frozen

from aegisd.errors import DataRefused
from aegisd.store.database.copy_format import TableRows
from aegisd.store.database.copying import Refused, copy, copy_sifting
from aegisd.store.database.errors import InterfaceError, rows_checked
from aegisd.store.database.partitioning import Partitions
from aegisd.store.database.pool import Guard, Pool

WRITE_SECONDS = 120  # a COPY of the largest batch on a slow disk


@frozen
class Move:
    """A step of a journal's position, from ``start`` to ``end``."""

    journal: UUID
    node: str
    start: int
    end: int


async def read_position(pool: Pool, journal: UUID, node: str, first: int) -> int:
    """The committed position of a journal, which is set to ``first`` where there is none yet."""

    async def read(connection: Any) -> int:
        await connection.execute(
            "INSERT INTO journals (journal, node, position) VALUES ($1, $2, $3)"
            " ON CONFLICT DO NOTHING",
            journal,
            node,
            first,
        )
        # FOR UPDATE waits for a transaction, of a lost connection, that may still move it
        found: int = await connection.fetchval(
            "SELECT position FROM journals WHERE journal = $1 FOR UPDATE", journal
        )
        return found

    return await pool.on_writer(read, WRITE_SECONDS)


async def write(
    pool: Pool, partitions: Partitions, tables: Sequence[TableRows], move: Move
) -> list[Refused]:
    """Write all rows that Postgres takes and move the position, in one transaction.

    Raises DataRefused where Postgres does not tell which rows it refuses.
    """
    # in one order everywhere: TimescaleDB locks tables while it makes chunks
    tables = sorted(tables, key=lambda rows: rows.table)
    needed = {partition for rows in tables for partition in rows.partitions}
    await partitions.make_unknown(needed, pool.on_writer)
    try:
        await _write_all(pool, tables, move, copy, rows_checked)
    except DataRefused:
        await partitions.make(needed, pool.on_writer)
        refused = await _write_all(pool, tables, move, copy_sifting, nullcontext)
        return [each for each in refused if each is not None]
    return []


async def _write_all(
    pool: Pool,
    tables: Sequence[TableRows],
    move: Move,
    write_rows: Callable[[Any, TableRows], Awaitable[Refused | None]],
    guard: Guard,
) -> list[Refused | None]:
    async def write_and_move(connection: Any) -> list[Refused | None]:
        refused = [await write_rows(connection, rows) for rows in tables]
        await _move_position(connection, move)
        return refused

    return await pool.on_writer(write_and_move, WRITE_SECONDS, guard)


async def _move_position(connection: Any, move: Move) -> None:
    """Move a journal's position, if it is where we know it to be."""
    # the journal deletes what is committed, and a role may have this setting off
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
        raise InterfaceError(
            f"the position of journal {move.journal} in the table journals was moved by someone"
            " else"
        )

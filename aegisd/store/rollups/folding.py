"""Folds pieces into the levels of the rollups, in plain SQL.

A fold is one transaction that sees one state of the database; pieces that writers add meanwhile
stay for the next fold. Its cases:

1. Not our turn: another daemon holds the row of ``rollup_progress``, or the last fold was less than
   FOLD_INTERVAL_SECONDS ago. Nothing is done.
2. The row of ``rollup_progress`` is gone: it is restored, and nothing else is done.
3. The oldest piece came after the partitions of ``Portion.days`` were made, and its day has none:
   nothing is done, and there is more to fold.
4. Hours that ended CLOSE_SECONDS ago are closed, that is completed: their minutes are added up
   as rows of an hour. Then days that ended are closed from their hours. This is done before 5, as a
   late piece may be older than the minutes that are kept, and then is added to its hour alone.
5. A portion is folded: the oldest pieces, of whole minutes that ended LATE_SECONDS ago and of one
   UTC day. They become rows of 10 s and of a minute; those of a closed hour or day are added to
   the rows of the hour or day, too. Then they are deleted.
6. The progress is noted. Where pieces are left, the next fold is due at once.

A portion is of one day so that its rows lie in one partition of each table. Times stand in the
statements as literals, by which the planner leaves out all other partitions, and TimescaleDB its
chunks. The rows to merge with are found by node and bucket alone: with a condition on a narrower
time the planner would expect few rows of a table without statistics, and go through all pieces for
each row of it.

On Citus the workers do not keep to one state. There the portion's pieces are marked as claimed
first, and rows are appended instead of merged.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from attrs import frozen

from aegisd.events.units import DAY_US, HOUR_SECONDS, SECOND_US
from aegisd.store.database import Session
from aegisd.store.rollups.statement import add_up
from aegisd.store.schema import (
    DAY,
    FINE,
    HOUR,
    MINUTE,
    PARTITIONED,
    REQUESTS,
    ROLLUP_KINDS,
    Layout,
    Partition,
    RollupKind,
    floor,
)

PIECE_TABLES = tuple(kind.pieces_table for kind in ROLLUP_KINDS)
"""The tables of pieces."""

FOLD_INTERVAL_SECONDS = 20
"""Between two folds, of whichever daemons."""

LATE_SECONDS = 15
"""How long after its end a minute is folded: the flush of its events mostly takes less."""

CLOSE_SECONDS = 300
"""How long after its end an hour is closed. Later pieces are added to its rows."""

CLOCKS_APART_SECONDS = HOUR_SECONDS
"""A last fold further in the future than this was a wrong clock's: nobody waits until then."""


@frozen
class Portion:
    """What one fold may do: up to which time, on which days, and how many pieces."""

    now: int  # by the database's clock
    kept_from: Mapping[int, int]  # by level: from where on it is kept
    days: frozenset[int]  # since 1970, that have their partitions
    max_pieces: int  # of each kind; the last minute is completed beyond it
    layout: str


@frozen
class Folded:
    """What a fold left."""

    more: bool  # there is more to fold
    full: bool  # the portion ended at ``max_pieces``, before its day did


def literal(moment: int) -> str:
    """A moment as SQL."""
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return f"'{date.isoformat(' ')}'::timestamptz"


def between(low: int, high: int, column: str = "bucket") -> str:
    """The condition that a row lies from ``low`` up to ``high``."""
    return f"{column} >= {literal(low)} AND {column} < {literal(high)}"


_PROGRESS_IF_DUE = (
    "SELECT hours_closed, days_closed FROM rollup_progress WHERE folded_at <= $1 OR folded_at > $2"
)


def _due_bounds(now: int) -> tuple[int, int]:
    """A fold is due where the last one was up to the first moment, or after the second."""
    return now - FOLD_INTERVAL_SECONDS * SECOND_US, now + CLOCKS_APART_SECONDS * SECOND_US


async def days_to_fold(session: Session, now: int) -> frozenset[int] | None:
    """The days since 1970 that the next fold adds rows to; None where no fold is due."""
    progress = await session.fetch(_PROGRESS_IF_DUE, *_due_bounds(now))
    if not progress:
        return None if await session.fetch("SELECT 1 FROM rollup_progress") else frozenset()
    ((hours, _),) = progress
    found = await session.fetch(
        f"SELECT DISTINCT floor(extract(epoch FROM bucket) / {DAY})::int"
        f" FROM {REQUESTS.table(MINUTE)} WHERE NOT summed AND bucket >= {literal(hours)}"
    )
    first = await _oldest_piece(session, _end_of_whole_minutes(now))
    pieces = set() if first is None else {first // DAY_US}
    return frozenset(pieces | {day for (day,) in found})


async def fold(session: Session, portion: Portion) -> Folded | None:
    """Fold a portion; None where it is not our turn (cases 1 and 2)."""
    now = portion.now
    progress = await session.fetch(f"{_PROGRESS_IF_DUE} FOR UPDATE SKIP LOCKED", *_due_bounds(now))
    if not progress:  # 1
        await _restore_progress(session)
        return None
    end_of_minutes = _end_of_whole_minutes(now)
    first = await _oldest_piece(session, end_of_minutes)
    if first is not None and first // DAY_US not in portion.days:  # 3
        return Folded(more=True, full=False)
    ((hours, days),) = progress
    end_of_hours = floor(now - CLOSE_SECONDS * SECOND_US, HOUR)  # 4
    hours = await _close_buckets(
        session, level=HOUR, finer=MINUTE, closed=hours, until=end_of_hours
    )
    days = await _close_buckets(
        session, level=DAY, finer=HOUR, closed=days, until=floor(hours, DAY)
    )
    folded_until, full = end_of_minutes, False
    if first is not None:  # 5
        end_of_day = min(end_of_minutes, floor(first, DAY) + DAY_US)
        folded_until = end_of_day
        for kind in ROLLUP_KINDS:
            folded_until = await _end_of_portion(session, kind, folded_until, portion.max_pieces)
        full = folded_until < end_of_day
        takes_until = {FINE: folded_until, MINUTE: folded_until, HOUR: hours, DAY: days}
        await _fold_pieces(
            session, portion, first=first, until=folded_until, takes_until=takes_until
        )
    more = folded_until != end_of_minutes
    await session.execute(  # 6
        "UPDATE rollup_progress SET hours_closed = $1, days_closed = $2, folded_at = $3",
        hours,
        days,
        0 if more else now,
    )
    return Folded(more=more, full=full)


def _end_of_whole_minutes(now: int) -> int:
    """Up to where minutes have ended LATE_SECONDS ago, so that their events are here."""
    return floor(now - LATE_SECONDS * SECOND_US, MINUTE)


async def _oldest_piece(session: Session, until: int) -> int | None:
    """The bucket of the oldest piece before ``until``."""
    found = await session.fetch(
        f"SELECT bucket FROM {REQUESTS.pieces_table} WHERE bucket < {literal(until)}"
        " ORDER BY bucket LIMIT 1"
    )
    return found[0][0] if found else None


async def _end_of_portion(session: Session, kind: RollupKind, until: int, max_pieces: int) -> int:
    """Up to where the oldest ``max_pieces`` of a kind reach: whole minutes, at least one."""
    beyond = await session.fetch(
        f"SELECT bucket FROM {kind.pieces_table} WHERE bucket < {literal(until)}"
        " ORDER BY bucket LIMIT 1 OFFSET $1",
        max_pieces,
    )
    if not beyond:
        return until
    return min(until, floor(beyond[0][0], MINUTE) + MINUTE * SECOND_US)


async def _fold_pieces(
    session: Session, portion: Portion, *, first: int, until: int, takes_until: Mapping[int, int]
) -> None:
    """Add the pieces from ``first`` up to ``until`` to all levels, and delete them.

    A level takes the pieces up to ``takes_until``. Those behind reach an hour or a day when that is
    closed.
    """
    citus = portion.layout == Layout.CITUS
    where = between(floor(first, MINUTE), until)
    if citus:
        for kind in ROLLUP_KINDS:
            await session.execute(f"UPDATE {kind.pieces_table} SET claimed = true WHERE {where}")
        where = f"claimed AND {where}"
    ((several_nodes,),) = await session.fetch(
        f"SELECT min(node) < max(node) FROM {REQUESTS.pieces_table} WHERE {where}"
    )
    # the values of node and summed. Of several nodes there is a row of each, marked as summed, and
    # one of all (node ''), which is not: readers of all nodes take the rows that are not summed
    rows = [("node", "true"), ("''", "false")] if several_nodes else [("node", "false")]
    for kind in ROLLUP_KINDS:
        for level in kind.levels:
            low = max(portion.kept_from[level], floor(first, level))
            high = min(takes_until[level], until)
            if low >= high:
                continue
            merge_where = "" if citus else _merge_where(kind.table(level), low, high, portion)
            for node, summed in rows:
                statement = add_up(
                    kind=kind,
                    source_table=kind.pieces_table,
                    where=f"{where} AND {between(low, high)}",
                    level=level,
                    node=node,
                    summed=summed,
                    merge_where=merge_where,
                )
                await session.execute(statement)
        await session.execute(f"DELETE FROM {kind.pieces_table} WHERE {where}")


def _merge_where(table: str, low: int, high: int, portion: Portion) -> str:
    """The condition that a level's row t may be one of the portion's: by its partition.

    On TimescaleDB by the portion's own time: it decompresses the rows that meet the condition.
    """
    if table not in PARTITIONED:
        return "true"
    if portion.layout == Layout.TIMESCALEDB:
        return between(low, high, "t.bucket")
    partition = Partition.of(table, low // DAY_US)
    return between(partition.day * DAY_US, partition.end * DAY_US, "t.bucket")


async def _close_buckets(
    session: Session, *, level: int, finer: int, closed: int, until: int
) -> int:
    """Close the hours or days from ``closed`` up to ``until``, from the finer level (case 4).

    Returns up to where the level is closed then.
    """
    if until <= closed:
        return closed
    for kind in ROLLUP_KINDS:
        # summed is one of the two anyway; the index that serves this begins with it
        where = f"summed IN (false, true) AND {between(closed, until)}"
        statement = add_up(kind=kind, source_table=kind.table(finer), where=where, level=level)
        await session.execute(statement)
    return until


async def _restore_progress(session: Session) -> None:
    """Insert the row of progress where somebody removed it (case 2).

    Hours and days count as closed up to the end of their last rows. A closed hour without any event
    has no row: it is closed again, to no effect.
    """
    if await session.fetch("SELECT 1 FROM rollup_progress"):
        return
    closed = []
    for level in (HOUR, DAY):
        ((last,),) = await session.fetch(f"SELECT max(bucket) FROM {REQUESTS.table(level)}")
        closed.append(0 if last is None else last + level * SECOND_US)
    await session.execute(
        "INSERT INTO rollup_progress (hours_closed, days_closed, folded_at) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        *closed,
        0,
    )

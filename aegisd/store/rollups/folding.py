"""Folds what the writers added into the levels of the rollups, in plain SQL.

Pieces of whole minutes that are over become rows of 10 s and of a minute; those of hours and days
that are closed already become rows of these, too. An hour is closed by adding up its minutes, a day
by adding up its hours: before any piece is added, since one that came too late for the minutes that
are kept still has its hour. All of it is one transaction, that sees one state of the database: what
writers add meanwhile stays for the next one. On Citus, whose workers don't keep to one state,
pieces are marked first.

A portion is the oldest pieces, of one UTC day at most: so its rows lie in one partition of each
table. Times stand in the statements as literals, by which the planner leaves out all others, and
TimescaleDB the chunks. Rows that are to be added to are found by their node and bucket alone: with
a condition on a narrower time the planner would take a table without statistics for a few rows, and
go through all pieces for each row of it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from attrs import frozen

from aegisd.events.units import SECOND_US
from aegisd.store.database import Session
from aegisd.store.rollups.adding import insertion
from aegisd.store.schema import (
    CITUS,
    DAY,
    FINE,
    HOUR,
    KINDS,
    MINUTE,
    PARTITIONED,
    REQUESTS,
    TIMESCALEDB,
    Kind,
    Partition,
    floor,
)

FOLD_INTERVAL_SECONDS = 20
"""Between two folds, whoever does them."""

LATE_SECONDS = 15
"""How long after its end a minute is folded: what its events' flush takes, mostly."""

CLOSE_SECONDS = 300
"""How long after its end an hour is closed. What comes later is added to its rows."""

CLOCKS_APART_SECONDS = 3600
"""A fold further ahead than this was that of a wrong clock: nobody waits until then."""


@frozen
class Portion:
    """What a fold goes by.

    ``kept_from`` tells from where on a level is kept, ``days`` which days since 1970 have their
    partitions, ``pieces`` how many pieces of a kind are folded at most, but for whole minutes.
    """

    now: int
    kept_from: Mapping[int, int]
    days: frozenset[int]
    pieces: int
    layout: str


@frozen
class Folded:
    """What a fold came to."""

    more: bool  # there is more to fold
    full: bool  # because there were as many pieces as may be folded at once


def literal(moment: int) -> str:
    """A moment as the planner knows it."""
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return f"'{date.isoformat(' ')}'::timestamptz"


def between(low: int, high: int, column: str = "bucket") -> str:
    """The condition that a row lies from ``low`` up to ``high``."""
    return f"{column} >= {literal(low)} AND {column} < {literal(high)}"


_TURN = (
    "SELECT hours_closed, days_closed FROM rollup_progress WHERE folded_at <= $1 OR folded_at > $2"
)


def _turn(now: int) -> tuple[int, int]:
    return now - FOLD_INTERVAL_SECONDS * SECOND_US, now + CLOCKS_APART_SECONDS * SECOND_US


async def days_to_fold(session: Session, now: int) -> frozenset[int] | None:
    """The days since 1970 that rows will be added to; None where it is not time to fold."""
    turn = await session.fetch(_TURN, *_turn(now))
    if not turn:
        return None if await session.fetch("SELECT 1 FROM rollup_progress") else frozenset()
    ((hours, _),) = turn
    found = await session.fetch(
        f"SELECT DISTINCT floor(extract(epoch FROM bucket) / {DAY})::int"
        f" FROM {REQUESTS.table(MINUTE)} WHERE NOT summed AND bucket >= {literal(hours)}"
    )
    first = await _first(session, _whole_minutes(now))
    pieces = set() if first is None else {first // (DAY * SECOND_US)}
    return frozenset(pieces | {day for (day,) in found})


async def fold(session: Session, portion: Portion) -> Folded | None:
    """Fold a portion, if it is time and nobody else is at it; None where it is not our turn."""
    now = portion.now
    turn = await session.fetch(f"{_TURN} FOR UPDATE SKIP LOCKED", *_turn(now))
    if not turn:
        await _restore(session)
        return None
    until = whole = _whole_minutes(now)
    first = await _first(session, until)
    if first is not None and first // (DAY * SECOND_US) not in portion.days:  # came just now
        return Folded(more=True, full=False)
    ((hours, days),) = turn
    hours = await _close(session, HOUR, MINUTE, hours, floor(now - CLOSE_SECONDS * SECOND_US, HOUR))
    days = await _close(session, DAY, HOUR, days, floor(hours, DAY))
    full = False
    if first is not None:
        until = end = min(until, floor(first, DAY) + DAY * SECOND_US)
        for kind in KINDS:
            until = await _cut(session, kind, until, portion.pieces)
        full = until < end
        closed = {FINE: until, MINUTE: until, HOUR: hours, DAY: days}
        await _fold_pieces(session, portion, first, until, closed)
    await session.execute(
        "UPDATE rollup_progress SET hours_closed = $1, days_closed = $2, folded_at = $3",
        hours,
        days,
        now if until == whole else 0,  # there is more: it is time at once
    )
    return Folded(more=until != whole, full=full)


def _whole_minutes(now: int) -> int:
    """Up to where minutes are over, and what they hold has come."""
    return floor(now - LATE_SECONDS * SECOND_US, MINUTE)


async def _first(session: Session, until: int) -> int | None:
    """The oldest piece before ``until``."""
    found = await session.fetch(
        f"SELECT bucket FROM {REQUESTS.pieces} WHERE bucket < {literal(until)}"
        " ORDER BY bucket LIMIT 1"
    )
    return found[0][0] if found else None


async def _cut(session: Session, kind: Kind, until: int, pieces: int) -> int:
    """Up to where to fold at once: the oldest pieces first, whole minutes, at least one."""
    beyond = await session.fetch(
        f"SELECT bucket FROM {kind.pieces} WHERE bucket < {literal(until)}"
        " ORDER BY bucket LIMIT 1 OFFSET $1",
        pieces,
    )
    return min(until, floor(beyond[0][0], MINUTE) + MINUTE * SECOND_US) if beyond else until


async def _fold_pieces(
    session: Session, portion: Portion, first: int, until: int, closed: Mapping[int, int]
) -> None:
    """Add the pieces from ``first`` up to ``until`` to all levels, and remove them."""
    append = portion.layout == CITUS
    where = between(floor(first, MINUTE), until)
    if append:
        for kind in KINDS:
            await session.execute(f"UPDATE {kind.pieces} SET claimed = true WHERE {where}")
        where = f"claimed AND {where}"
    ((several,),) = await session.fetch(
        f"SELECT min(node) < max(node) FROM {REQUESTS.pieces} WHERE {where}"
    )
    rows = [("node", "true"), ("''", "false")] if several else [("node", "false")]
    for kind in KINDS:
        for level in kind.levels:
            low = max(portion.kept_from[level], floor(first, level))
            high = min(closed[level], until)
            if low >= high:
                continue
            merging = "" if append else _place(kind.table(level), low, high, portion.layout)
            of_level = f"{where} AND {between(low, high)}"
            for node, summed in rows:
                statement = insertion(
                    kind, kind.pieces, level, of_level, node=node, summed=summed, merging=merging
                )
                await session.execute(statement)
        await session.execute(f"DELETE FROM {kind.pieces} WHERE {where}")


def _place(table: str, low: int, high: int, layout: str) -> str:
    """The condition that a level's rows lie in the one partition that a portion's do.

    TimescaleDB makes compressed rows of this time plain ones again: the fewer the better.
    """
    if table not in PARTITIONED:
        return "true"
    if layout == TIMESCALEDB:
        return between(low, high, "t.bucket")
    partition = Partition.of(table, low // (DAY * SECOND_US))
    return between(partition.day * DAY * SECOND_US, partition.end * DAY * SECOND_US, "t.bucket")


async def _close(session: Session, level: int, finer: int, closed: int, until: int) -> int:
    """Add up the finer level's rows; return up to where the level is closed now."""
    if until <= closed:
        return closed
    for kind in KINDS:
        where = f"summed IN (false, true) AND {between(closed, until)}"
        await session.execute(insertion(kind, kind.table(finer), level, where))
    return until


async def _restore(session: Session) -> None:
    """Put the row of progress back where somebody removed it.

    What is closed has rows, but for what no event was of: so it reaches as far as they do.
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


PIECES = tuple(kind.pieces for kind in KINDS)

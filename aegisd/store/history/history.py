"""Answers about the past, of all nodes: rollups of the database, and what is not in it yet.

Each answer is read in one transaction, that sees one state. It tells up to which position this
daemon's journal is in the database; what lies behind that in memory is rolled up here and added,
so that no event counts twice. What the journal alone has is not: there may be gigabytes of it, and
the answer tells from when on it leaves some out.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from aegisd.errors import DatabaseUnavailable
from aegisd.events.block import Block, concatenate
from aegisd.events.counters import STATUS_CLASSES
from aegisd.events.protocol import RATE_LIMIT, REQUEST
from aegisd.events.units import SECOND_US
from aegisd.stats import sketch
from aegisd.store.backlog import Backlog
from aegisd.store.database import Postgres, Session
from aegisd.store.history import presence, reading
from aegisd.store.history.cover import Progress, Stretch, cover
from aegisd.store.history.figures import (
    Added,
    Answer,
    EndpointTotals,
    Key,
    KeyTotals,
    Latency,
    Present,
    StatusCounts,
    Sums,
    Totals,
    add_rollups,
    earliest,
    latencies,
)
from aegisd.store.history.ranges import Range
from aegisd.store.history.ranking import Ranking
from aegisd.store.rollups import Rollups, decisions_by_key, fine_rollups, requests_by_endpoint
from aegisd.store.schema import DAY, ENDPOINTS, KEYS, REQUESTS, Kind, floor

_STATE = (
    "SELECT hours_closed, days_closed, (SELECT position FROM journals WHERE journal = $1)"
    " FROM rollup_progress"
)

Needed = Mapping[str, Sequence[str]]
"""Of each kind the columns that a question needs."""

_REQUEST = ("timestamp", "status_code", "duration_us")
_DECISION = ("timestamp", "allowed")
_NEEDED: dict[str, Needed] = {
    REQUESTS.name: {REQUEST: _REQUEST, RATE_LIMIT: _DECISION},
    ENDPOINTS.name: {REQUEST: (*_REQUEST, "method", "endpoint")},
    KEYS.name: {RATE_LIMIT: (*_DECISION, "key")},
}
"""The columns that rollups are made of. Joining all of them would take more memory than they do."""

T = TypeVar("T")


class History:
    """The queries. All raise DatabaseUnavailable; ``node`` None is all nodes."""

    def __init__(self, postgres: Postgres, backlog: Backlog, node: str) -> None:
        self._postgres = postgres
        self._backlog = backlog
        self._node = node

    async def totals(self, range_: Range, node: str | None) -> Answer[Totals]:
        """Counts and latencies of the whole range."""
        # by day, as the bins of a sum over years might grow beyond their digits; so latency is, too
        days = await self._series(evolve(range_, bucket=DAY), node, timed=True)
        whole = Sums()
        for sums in days.figures.values():
            whole.merge(sums)
        count = whole.counters.get
        requests = count("requests", 0)
        totals = Totals(
            requests,
            requests - count("failed", 0),
            count("rate_limited", 0),
            count("denied", 0),
            whole.latency(),
        )
        return Answer(totals, days.complete_until)

    async def requests(self, range_: Range, node: str | None) -> Answer[dict[int, int]]:
        """Requests by bucket."""
        series = await self._series(range_, node, timed=False)
        counts = {bucket: sums.counters["requests"] for bucket, sums in series.figures.items()}
        return Answer(counts, series.complete_until)

    async def latency(self, range_: Range, node: str | None) -> Answer[dict[int, Latency]]:
        """Latencies by bucket."""
        parts = await self._series(evolve(range_, bucket=min(range_.bucket, DAY)), node, timed=True)
        series: dict[int, Sums] = {}
        for start, sums in parts.figures.items():
            series.setdefault(floor(start, range_.bucket), Sums()).merge(sums)
        found = dict(zip(series, latencies(list(series.values())), strict=True))
        return Answer(found, parts.complete_until)

    async def statuses(self, range_: Range, node: str | None) -> Answer[dict[int, StatusCounts]]:
        """Requests by bucket and class of status."""
        series = await self._series(range_, node, timed=False)
        counts = {
            bucket: StatusCounts(*(sums.counters[name] for name in STATUS_CLASSES))
            for bucket, sums in series.figures.items()
        }
        return Answer(counts, series.complete_until)

    async def top_endpoints(
        self, range_: Range, node: str | None, limit: int
    ) -> Answer[list[EndpointTotals]]:
        """The endpoints with most requests."""
        top = await self._top(ENDPOINTS, range_, node, limit)
        totals = [
            EndpointTotals(
                method,
                path,
                sums.counters["requests"],
                sums.counters["failed"],
                sums.average(),
                sums.p95(),
            )
            for (method, path), sums in top.figures
        ]
        return Answer(totals, top.complete_until)

    async def rate_limits(
        self, range_: Range, node: str | None, limit: int
    ) -> Answer[tuple[int, int, list[KeyTotals]]]:
        """Decisions made, how many were denials, and the keys with most denials."""
        series = await self._series(evolve(range_, bucket=DAY), node, timed=False)
        checked, denied = (
            sum(sums.counters[name] for sums in series.figures.values())
            for name in ("checked", "denied")
        )
        top = await self._top(KEYS, range_, node, limit)
        totals = [
            KeyTotals(key, sums.counters["checked"], sums.counters["denied"])
            for (key,), sums in top.figures
        ]
        return Answer(
            (checked, denied, totals), earliest(series.complete_until, top.complete_until)
        )

    async def present(self, now: int, node: str | None) -> Answer[Present]:
        """Backends and connections at ``now`` (microseconds since 1970)."""

        async def work(session: Session, _: Progress, waiting: list[Block]) -> Present:
            return await presence.read(session, now, node, self._node, waiting)

        return await self._in_one_state(node, presence.NEEDED, work)

    async def _series(
        self, range_: Range, node: str | None, *, timed: bool
    ) -> Answer[dict[int, Sums]]:
        bucket = range_.bucket

        async def work(
            session: Session, progress: Progress, waiting: list[Block]
        ) -> dict[int, Sums]:
            levels = tuple(level for level in REQUESTS.levels if level <= bucket)
            stretches = cover(range_.start, range_.end, levels, progress)
            sql, args = reading.series(REQUESTS, stretches, node, bucket, timed=timed)
            rows = await session.fetch(sql, *args)
            added: Added = {
                (start,): _sums(REQUESTS.counters, row, timed=timed) for start, *row in rows
            }
            if timed:
                sketches = _decoded([row[-1] for row in rows])
                for sums, durations in zip(added.values(), sketches, strict=True):
                    sums.durations = durations
            rollups = fine_rollups(waiting)
            starts = _keys(rollups, stretches, lambda start, _: (floor(start, bucket),))
            add_rollups(added, rollups, starts, REQUESTS)
            return {int(start): sums for (start,), sums in added.items()}

        return await self._in_one_state(node, _NEEDED[REQUESTS.name], work)

    async def _top(
        self, kind: Kind, range_: Range, node: str | None, limit: int
    ) -> Answer[list[tuple[Key, Sums]]]:
        """The ``limit`` names that rank first, the rest's own at the end where there is room."""

        async def work(
            session: Session, progress: Progress, waiting: list[Block]
        ) -> list[tuple[Key, Sums]]:
            stretches = cover(range_.start, range_.end, kind.levels, progress)
            named = (
                requests_by_endpoint(waiting) if kind is ENDPOINTS else decisions_by_key(waiting)
            )
            ranking = Ranking.of_waiting(kind, named, stretches)
            sql, args = reading.names(kind, stretches, node, limit, ranking.columns)
            names = len(kind.names)
            stored = {row[:names]: row[names:] for row in await session.fetch(sql, *args)}
            top: Added = {
                name: _sums(kind.rank, stored[name]) if name in stored else Sums()
                for name in ranking.first(stored, limit)
            }
            chosen = ranking.chosen(top.keys())
            if named is not None and chosen.any():
                rollups = named.rollups(chosen)
                add_rollups(top, rollups, _keys(rollups, stretches, _names), kind)
            if kind.shown and top:
                await _add_shown(session, kind, stretches, node, top)
            return list(top.items())

        return await self._in_one_state(node, _NEEDED[kind.name], work)

    async def _in_one_state(
        self,
        node: str | None,
        needed: Needed,
        work: Callable[[Session, Progress, list[Block]], Awaitable[T]],
    ) -> Answer[T]:
        """What ``work`` makes of the database, and of what is ``needed`` of events not in it.

        The entries are taken before the first query, which settles the state: one that is written
        meanwhile is in either of the two. They are taken when there is a place at the database: who
        waits for one keeps nothing in memory.
        """

        async def query(session: Session) -> Answer[T]:
            own = node in (None, self._node)
            unheld = self._backlog.unbuffered() if own else []
            entries = self._backlog.buffered() if own else []
            found = await session.fetch(_STATE, self._backlog.journal_uuid)
            if not found:
                raise DatabaseUnavailable(
                    "the table rollup_progress has lost its row; the next fold puts it back"
                )
            ((hours, days, stored),) = found
            position = stored or 0
            blocks = (block for e in entries if e.end > position for block in e.after(position))
            waiting = concatenate(b.only(needed[b.kind]) for b in blocks if b.kind in needed)
            missing = (since * SECOND_US for end, since in unheld if end > position)
            figures = await work(session, Progress(hours, days), waiting)
            return Answer(figures, next(missing, None))

        return await self._postgres.answer(query)


def _sums(counters: Sequence[str], row: Sequence[Any], *, timed: bool = False) -> Sums:
    """The sums of a row: its counters, and with ``timed`` its sum of durations behind them."""
    sums = Sums()
    count = len(counters)
    sums.add(zip(counters, row[:count], strict=True), int(row[count]) if timed else 0)
    return sums


def _keys(
    rollups: Rollups,
    stretches: Sequence[Stretch],
    key: Callable[[int, tuple[str, ...]], Key],
) -> list[Key | None]:
    """The key of each rollup; None where it lies outside of the stretches."""
    start, end = stretches[0].start, stretches[-1].end
    texts = [text.rows() for text in rollups.names.values()]
    return [
        key(moment, tuple(str(text[i]) for text in texts)) if start <= moment < end else None
        for i, moment in enumerate(rollups.starts.tolist())
    ]


def _names(_: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return names


def _columns(names: Iterable[Key], kind: Kind) -> list[list[str]]:
    """A list for each of the kind's names."""
    rows = list(names)
    return [[str(row[i]) for row in rows] for i in range(len(kind.names))]


async def _add_shown(
    session: Session, kind: Kind, stretches: Sequence[Stretch], node: str | None, top: Added
) -> None:
    """Add to the counters of these names' rank what else the database has of them."""
    large = max(sums.counters[kind.rank[0]] for sums in top.values()) > sketch.MAX_COUNT
    sql, args = reading.shown(kind, stretches, node, _columns(top, kind), DAY if large else None)
    names = len(kind.names)
    rows = await session.fetch(sql, *args)
    for row, durations in zip(rows, _decoded([row[-1] for row in rows]), strict=True):
        sums = _sums(kind.shown, row[names:], timed=True)
        sums.durations = durations
        top[row[:names]].merge(sums)


def _decoded(numerics: Sequence[bytes]) -> NDArray[np.int64]:
    try:
        return sketch.decode_each(numerics)
    except ValueError as error:
        raise DatabaseUnavailable(
            f"a sketch of the rollups can't be read ({error}); was it changed by hand?"
        ) from None

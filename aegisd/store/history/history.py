"""Answers about the past, of all nodes: from the rollups of the database, and the events in memory.

An answer is read in one transaction that sees one state of the database. This state has the
committed position of this daemon's journal. The buffered events behind that position are rolled up
here and added, so that each event counts once. Events that only the journal has are left out, as
they may be gigabytes; the answer tells until when it is complete.

An ``Answer`` has figures, and until when they are complete. In each method ``work`` makes the
figures from a ``Session`` and the buffered events; ``_ask`` runs it and makes the ``Answer``.
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
from aegisd.store.history import presence, queries
from aegisd.store.history.buffered_names import BufferedNames
from aegisd.store.history.cover import Progress, Stretch, cover
from aegisd.store.history.ranges import Range
from aegisd.store.history.results import (
    Answer,
    EndpointTotals,
    KeyTotals,
    Latency,
    Present,
    StatusCounts,
    Totals,
    earliest,
)
from aegisd.store.history.sums import Key, Sums, SumsByKey, add_rollups, latencies
from aegisd.store.rollups import Rollups, decisions_by_key, fine_rollups, requests_by_endpoint
from aegisd.store.schema import DAY, ENDPOINTS, KEYS, REQUESTS, RollupKind, floor

_STATE = (
    "SELECT hours_closed, days_closed, (SELECT position FROM journals WHERE journal = $1)"
    " FROM rollup_progress"
)

Columns = Mapping[str, Sequence[str]]
"""The columns that a question needs, by kind of event."""

_REQUEST = ("timestamp", "status_code", "duration_us")
_DECISION = ("timestamp", "allowed")
_COLUMNS: dict[str, Columns] = {
    REQUESTS.name: {REQUEST: _REQUEST, RATE_LIMIT: _DECISION},
    ENDPOINTS.name: {REQUEST: (*_REQUEST, "method", "endpoint")},
    KEYS.name: {RATE_LIMIT: (*_DECISION, "key")},
}
"""By kind of rollup: the events' columns that it is made of. To join all columns of the events in
memory would take as much memory again."""

T = TypeVar("T")


class History:
    """Queries of the rollups; ``node`` None is all nodes. All raise DatabaseUnavailable."""

    def __init__(self, postgres: Postgres, backlog: Backlog, node: str) -> None:
        self._postgres = postgres
        self._backlog = backlog
        self._node = node

    async def totals(self, range_: Range, node: str | None) -> Answer[Totals]:
        """Counts and latencies of the whole range."""
        # by day, here and in latency: over years a bin may get more than its digits hold
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

        async def work(session: Session, _: Progress, buffered: list[Block]) -> Present:
            return await presence.read(session, now, node, self._node, buffered)

        return await self._ask(node, presence.COLUMNS, work)

    async def _series(
        self, range_: Range, node: str | None, *, timed: bool
    ) -> Answer[dict[int, Sums]]:
        bucket = range_.bucket

        async def work(
            session: Session, progress: Progress, buffered: list[Block]
        ) -> dict[int, Sums]:
            levels = tuple(level for level in REQUESTS.levels if level <= bucket)
            stretches = cover(range_.start, range_.end, levels, progress)
            sql, args = queries.series(REQUESTS, stretches, node, bucket, timed=timed)
            rows = await session.fetch(sql, *args)
            added: SumsByKey = {
                (start,): _sums(REQUESTS.counters, row, timed=timed) for start, *row in rows
            }
            if timed:
                sketches = _decoded([row[-1] for row in rows])
                for sums, durations in zip(added.values(), sketches, strict=True):
                    sums.durations = durations
            rollups = fine_rollups(buffered)
            starts = _keys(rollups, stretches, lambda start, _: (floor(start, bucket),))
            add_rollups(added, rollups, starts, REQUESTS)
            return {int(start): sums for (start,), sums in added.items()}

        return await self._ask(node, _COLUMNS[REQUESTS.name], work)

    async def _top(
        self, kind: RollupKind, range_: Range, node: str | None, limit: int
    ) -> Answer[list[tuple[Key, Sums]]]:
        """The ``limit`` names that rank first; OTHER is at the end, if there is room."""

        async def work(
            session: Session, progress: Progress, buffered: list[Block]
        ) -> list[tuple[Key, Sums]]:
            stretches = cover(range_.start, range_.end, kind.levels, progress)
            named = (
                requests_by_endpoint(buffered) if kind is ENDPOINTS else decisions_by_key(buffered)
            )
            buffered_names = BufferedNames.of(kind, named, stretches)
            sql, args = queries.names(kind, stretches, node, limit, buffered_names.columns)
            names = len(kind.names)
            stored = {row[:names]: row[names:] for row in await session.fetch(sql, *args)}
            top: SumsByKey = {
                name: _sums(kind.rank, stored[name]) if name in stored else Sums()
                for name in buffered_names.rank_with(stored, limit)
            }
            chosen = buffered_names.having(top.keys())
            if named is not None and chosen.any():
                rollups = named.rollups(chosen)
                add_rollups(top, rollups, _keys(rollups, stretches, _names), kind)
            if kind.shown and top:
                await _add_shown(session, kind, stretches, node, top)
            return list(top.items())

        return await self._ask(node, _COLUMNS[kind.name], work)

    async def _ask(
        self,
        node: str | None,
        columns: Columns,
        work: Callable[[Session, Progress, list[Block]], Awaitable[T]],
    ) -> Answer[T]:
        """What ``work`` makes of the database, and of these ``columns`` of events not yet in it.

        1. Wait for a session. A question holds no events in memory before it has one.
        2. Take the buffered events, and note which events are not buffered.
        3. The first query settles the state that the session sees, and reads the committed
           position. Events before it are in the database; those behind it are added.
        """

        async def query(session: Session) -> Answer[T]:
            own = node in (None, self._node)
            unbuffered = self._backlog.unbuffered() if own else []
            records = self._backlog.buffered() if own else []
            found = await session.fetch(_STATE, self._backlog.journal_uuid)
            if not found:
                raise DatabaseUnavailable(
                    "the table rollup_progress has lost its row; the next fold puts it back"
                )
            ((hours, days, committed),) = found
            position = committed or 0
            blocks = (block for r in records if r.end > position for block in r.after(position))
            buffered = concatenate(b.only(columns[b.kind]) for b in blocks if b.kind in columns)
            missing = (since * SECOND_US for end, since in unbuffered if end > position)
            figures = await work(session, Progress(hours, days), buffered)
            return Answer(figures, next(missing, None))

        return await self._postgres.ask(query)


def _sums(counters: Sequence[str], row: Sequence[Any], *, timed: bool = False) -> Sums:
    """The sums of a row: its counters and, with ``timed``, the sum of durations behind them."""
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


def _as_columns(names: Iterable[Key], kind: RollupKind) -> list[list[str]]:
    """The names as columns: a list for each of the kind's names."""
    rows = list(names)
    return [[str(row[i]) for row in rows] for i in range(len(kind.names))]


async def _add_shown(
    session: Session,
    kind: RollupKind,
    stretches: Sequence[Stretch],
    node: str | None,
    top: SumsByKey,
) -> None:
    """Add the other figures that the database has of these names."""
    large = max(sums.counters[kind.rank[0]] for sums in top.values()) > sketch.MAX_COUNT
    sql, args = queries.shown(kind, stretches, node, _as_columns(top, kind), DAY if large else None)
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

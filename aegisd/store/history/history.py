"""Answers about the past, of all nodes: from the rollups of the database, and the events in memory.

An answer is read in one transaction that sees one state of the database. This state has the
committed position of this daemon's journal. The buffered events behind that position are rolled up
here and added, so that each event counts once. Events that only the journal has are left out, as
they may be gigabytes; the answer tells until when it is complete.

An ``Answer`` has figures, and until when they are complete. In each method ``work`` makes the
figures from a ``State``; ``_ask`` runs it and makes the ``Answer``.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from attrs import evolve

from aegisd.errors import DatabaseUnavailable
from aegisd.events.block import concatenate
from aegisd.events.counters import STATUS_CLASSES
from aegisd.events.protocol import RATE_LIMIT, REQUEST
from aegisd.events.units import SECOND_US
from aegisd.stats import sketch
from aegisd.store.backlog import Backlog
from aegisd.store.database import Postgres, Session
from aegisd.store.history import presence, reading
from aegisd.store.history.cover import Progress
from aegisd.store.history.ranges import Range
from aegisd.store.history.reading import State
from aegisd.store.history.results import (
    Answer,
    EndpointTotals,
    KeyTotals,
    Latency,
    Present,
    RequestCounts,
    StatusCounts,
    Totals,
    earliest,
)
from aegisd.store.history.sums import Endpoint, Key, Sums, latencies
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
        days = await self._series(evolve(range_, bucket=DAY), node, None, timed=True)
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

    async def requests(
        self, range_: Range, node: str | None, endpoint: Endpoint | None = None
    ) -> Answer[dict[int, RequestCounts]]:
        """Requests by bucket; here and below, of all endpoints or of one."""
        series = await self._series(range_, node, endpoint, timed=False)
        counts = {
            bucket: RequestCounts(sums.counters["requests"], sums.counters["failed"])
            for bucket, sums in series.figures.items()
        }
        return Answer(counts, series.complete_until)

    async def latency(
        self, range_: Range, node: str | None, endpoint: Endpoint | None = None
    ) -> Answer[dict[int, Latency]]:
        """Latencies by bucket."""
        series = await self._timed_series(range_, node, endpoint)
        figures = series.figures
        found = dict(zip(figures, latencies(list(figures.values())), strict=True))
        return Answer(found, series.complete_until)

    async def durations(
        self, range_: Range, node: str | None, endpoint: Endpoint | None = None
    ) -> Answer[dict[int, sketch.Counts]]:
        """The sketches of durations by bucket."""
        series = await self._timed_series(range_, node, endpoint)
        found = {bucket: sums.durations for bucket, sums in series.figures.items()}
        return Answer(found, series.complete_until)

    async def statuses(
        self, range_: Range, node: str | None, endpoint: Endpoint | None = None
    ) -> Answer[dict[int, StatusCounts]]:
        """Requests by bucket and class of status."""
        series = await self._series(range_, node, endpoint, timed=False)
        counts = {
            bucket: StatusCounts(*(sums.counters[name] for name in STATUS_CLASSES))
            for bucket, sums in series.figures.items()
        }
        return Answer(counts, series.complete_until)

    async def nodes(self, range_: Range) -> Answer[dict[str, int]]:
        """The nodes that wrote, each with its requests."""

        async def work(state: State) -> dict[str, int]:
            return await reading.nodes(state, range_, self._node)

        return await self._ask(None, _COLUMNS[REQUESTS.name], work)

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
        series = await self._series(evolve(range_, bucket=DAY), node, None, timed=False)
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

        async def work(state: State) -> Present:
            return await presence.read(state.session, now, node, self._node, state.buffered)

        return await self._ask(node, presence.COLUMNS, work)

    async def _series(
        self, range_: Range, node: str | None, endpoint: Endpoint | None, *, timed: bool
    ) -> Answer[dict[int, Sums]]:
        async def work(state: State) -> dict[int, Sums]:
            return await reading.series(state, range_, node, endpoint, timed=timed)

        kind = REQUESTS if endpoint is None else ENDPOINTS
        return await self._ask(node, _COLUMNS[kind.name], work)

    async def _timed_series(
        self, range_: Range, node: str | None, endpoint: Endpoint | None
    ) -> Answer[dict[int, Sums]]:
        """A series with durations, added up from days where its buckets are longer."""
        by_day = evolve(range_, bucket=min(range_.bucket, DAY))
        parts = await self._series(by_day, node, endpoint, timed=True)
        series: dict[int, Sums] = {}
        for start, sums in parts.figures.items():
            series.setdefault(floor(start, range_.bucket), Sums()).merge(sums)
        return Answer(series, parts.complete_until)

    async def _top(
        self, kind: RollupKind, range_: Range, node: str | None, limit: int
    ) -> Answer[list[tuple[Key, Sums]]]:
        async def work(state: State) -> list[tuple[Key, Sums]]:
            return await reading.top(state, kind, range_, node, limit)

        return await self._ask(node, _COLUMNS[kind.name], work)

    async def _ask(
        self,
        node: str | None,
        columns: Columns,
        work: Callable[[State], Awaitable[T]],
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
            figures = await work(State(session, Progress(hours, days), buffered))
            return Answer(figures, next(missing, None))

        return await self._postgres.ask(query)

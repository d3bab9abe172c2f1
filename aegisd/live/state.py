"""The live state as a whole: blocks in, figures out.

Rate-limit decisions and reports count at once. Requests are buffered and counted together

1. when enough are buffered,
2. before the present second changes, since they belong to the last one's windows,
3. before any figures are read.

Times: a block's timestamps are wall-clock time; windows, endpoints and presence count in seconds of
the ``Timeline``, which is ``wall_ahead`` seconds behind.
"""

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from aegisd.events.block import Block, Integers
from aegisd.events.counters import COLUMN, COUNTERS, OUTCOME, Counters, outcome_adds
from aegisd.events.protocol import BACKEND, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.events.units import SECOND_US
from aegisd.live.buffer import RequestBuffer
from aegisd.live.busiest import BusiestEndpoints, EndpointFigures
from aegisd.live.observed import ObservedBackend, ObservedBackends
from aegisd.live.presence import BackendState, Presence
from aegisd.live.timeline import Timeline
from aegisd.live.totals import RequestTotals, SinceStart, by_status
from aegisd.live.windows import LONGEST, Series, Windows, WindowSums
from aegisd.stats.durations import Durations
from aegisd.stats.grouping import Groups

BUCKET_SECONDS = 10
SERIES_SECONDS = 900

_OUTCOME_ADDS = outcome_adds(COUNTERS)


@frozen(eq=False)
class Overview:
    """The figures of one moment. ``totals`` are since the start, ``minute`` is the last minute."""

    now: int  # microseconds since 1970
    totals: dict[str, int]
    minute: WindowSums
    active_connections: int
    backends: list[BackendState]


class LiveState:
    """Everything that is shown without the database: totals, windows, endpoints, backends."""

    def __init__(self, max_endpoints: int, wall: float, steady: float) -> None:
        self._timeline = Timeline()
        self._wall = wall
        self._now = self._timeline.observe(wall, steady)
        self._wall_ahead = self._timeline.wall_ahead
        self._buffer = RequestBuffer()
        self._totals = dict.fromkeys(COUNTERS, 0)
        self._since_start = SinceStart()
        self._windows = Windows(self._now)
        self._endpoints = BusiestEndpoints(max_endpoints, self._now)
        self._observed = ObservedBackends(self._now)
        self._presence = Presence()
        self._blocks = 0

    @property
    def version(self) -> tuple[int, int, int]:
        """Another value whenever figures may be others: after each block, and each second."""
        return self._blocks, self._now, self._wall_ahead

    def advance(self, wall: float, steady: float) -> None:
        """Move to now: ``wall`` in seconds since 1970, ``steady`` in seconds that never step."""
        self._wall = wall
        now = self._timeline.observe(wall, steady)
        wall_ahead = self._timeline.wall_ahead
        if (now, wall_ahead) != (self._now, self._wall_ahead):
            self._count_buffered()
            self._now, self._wall_ahead = now, wall_ahead
            self._windows.advance(now)
            self._endpoints.advance(now)
            self._observed.advance(now)
            self._presence.forget(now)

    def apply(self, block: Block) -> None:
        """Take a block's events, as of the last ``advance``."""
        self._blocks += 1
        if block.kind == REQUEST:
            self._buffer.add(block)
            if self._buffer.full:
                self._count_buffered()
        elif block.kind == RATE_LIMIT:
            self._count_rate_limits(block)
        elif block.kind == BACKEND:
            self._presence.add_backends(block, self._line_times(block), self._now)
        elif block.kind == SYSTEM:
            self._presence.add_systems(block, self._line_times(block), self._now)

    def _line_times(self, block: Block) -> Integers:
        """The events' timestamps on the line, in microseconds."""
        timestamps = block.numbers["timestamp"].astype(np.int64, copy=False)
        return timestamps - self._wall_ahead * SECOND_US

    def _seconds(self, block: Block) -> Groups:
        """The events in groups by seconds of the line."""
        timestamps = block.numbers["timestamp"].astype(np.int64, copy=False)
        seconds = Groups.by_time(timestamps, SECOND_US)
        return Groups(seconds.codes - self._wall_ahead, seconds.index)

    def _count_buffered(self) -> None:
        block = self._buffer.take()
        if block is not None:
            self._count_requests(block)

    def _count_requests(self, block: Block) -> None:
        seconds = self._seconds(block)
        durations = Durations.of(block.numbers["duration_us"].astype(np.int64, copy=False))
        timed_seconds = seconds.where(durations.has_duration)
        outcomes = OUTCOME.take(block.numbers["status_code"].astype(np.intp))
        counters = seconds.count(outcomes, len(_OUTCOME_ADDS)) @ _OUTCOME_ADDS
        counters[:, COLUMN["timed"]] = (
            counters[:, COLUMN["requests"]]
            if durations.has_duration is None
            else seconds.count(durations.has_duration, 2)[:, 1]
        )
        counters[:, COLUMN["duration_sum_us"]] = timed_seconds.sum(durations.micros)
        self._add_counters(timed_seconds, counters, durations.bins)
        self._since_start.add(block.texts["method"], outcomes, durations.bins)
        self._count_names(block, outcomes, durations, seconds)

    def _count_names(
        self, block: Block, outcomes: NDArray[np.intp], durations: Durations, seconds: Groups
    ) -> None:
        """Count requests for their endpoints and backends."""
        earliest = self._now - LONGEST + 1  # older requests are none of the last hour's
        if seconds.codes[-1] < earliest:
            return
        if seconds.codes[0] < earliest:
            lately = (seconds.codes >= earliest)[seconds.index]
            block, outcomes = block.take(lately), outcomes[lately]
            durations = durations.where(lately)
        times, texts = self._line_times(block), block.texts
        self._endpoints.add(texts["method"], texts["endpoint"], outcomes, times, durations)
        self._observed.add(texts["backend"], outcomes, times, durations)

    def _count_rate_limits(self, block: Block) -> None:
        seconds = self._seconds(block)
        decisions = seconds.count(block.numbers["allowed"].astype(np.bool_, copy=False), 2)
        counters = np.zeros((len(decisions), len(COUNTERS)), np.int64)
        counters[:, COLUMN["checked"]] = decisions.sum(axis=1)
        counters[:, COLUMN["denied"]] = decisions[:, 0]
        timed_seconds = seconds.where(np.zeros(block.size, np.bool_))  # none has a duration
        self._add_counters(timed_seconds, counters, np.zeros(0, np.intp))

    def _add_counters(
        self, timed_seconds: Groups, counters: Counters, bins: NDArray[np.intp]
    ) -> None:
        """Count in the windows and the totals; the arguments are those of ``Windows.add``."""
        self._windows.add(timed_seconds, counters, bins)
        for name, n in zip(COUNTERS, counters.sum(axis=0).tolist(), strict=True):
            self._totals[name] += n

    def overview(self) -> Overview:
        """The figures as of the last ``advance``."""
        self._count_buffered()
        return Overview(
            now=round(self._wall * SECOND_US),
            totals=dict(self._totals),
            minute=self._windows.sums("1m"),
            active_connections=sum(self._presence.connections.values()),
            backends=self._presence.backends.values(),
        )

    def window(self, name: str) -> WindowSums:
        """The sums of a window: 1m, 5m, 15m or 1h."""
        self._count_buffered()
        return self._windows.sums(name)

    def series(self) -> Series:
        """The last 15 minutes in buckets of 10 s; ``starts`` are seconds since 1970."""
        self._count_buffered()
        series = self._windows.series(SERIES_SECONDS, BUCKET_SECONDS, self._wall_ahead)
        return evolve(series, starts=series.starts + self._wall_ahead)

    def top_endpoints(self, count: int) -> list[EndpointFigures]:
        """The busiest endpoints of the last hour."""
        self._count_buffered()
        found = self._endpoints.top(count)
        return [evolve(each, last_seen=self._wall_time(each.last_seen)) for each in found]

    def observed_backends(self) -> list[ObservedBackend]:
        """The backends that requests of the last hour name, those with most requests first."""
        self._count_buffered()
        found = self._observed.figures()
        return [evolve(each, last_seen=self._wall_time(each.last_seen)) for each in found]

    def _wall_time(self, line_time: int) -> int:
        return line_time + self._wall_ahead * SECOND_US

    def request_totals(self, endpoints: int) -> RequestTotals:
        """Counts since the start, and those of so many endpoints."""
        self._count_buffered()
        return RequestTotals(
            self._since_start.by_method(),
            {name: by_status(counts) for name, counts in self._observed.totals()},
            self._observed.followed,
            {name: by_status(counts) for name, counts in self._endpoints.totals(endpoints)},
            self._since_start.durations(),
        )

"""The live state as a whole: blocks in, figures out. All of it is in memory and pure.

Requests are counted together: when enough of them wait, when the second is over, and before
figures are read.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Block, Integers, Mask, Text
from aegisd.events.counters import (
    COLUMN,
    COUNTERS,
    OUTCOME,
    OUTCOME_FAILS,
    Counters,
    outcome_adds,
)
from aegisd.events.protocol import BACKEND, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.events.units import SECOND_US
from aegisd.live.busiest import BusiestEndpoints, EndpointFigures
from aegisd.live.presence import BackendState, Presence
from aegisd.live.timeline import Timeline
from aegisd.live.waiting import Waiting
from aegisd.live.windows import LONGEST, Series, Windows, WindowSums
from aegisd.stats.durations import Durations
from aegisd.stats.grouping import Groups

BUCKET_SECONDS = 10
SERIES_SECONDS = 900

_OUTCOME_ADDS = outcome_adds(COUNTERS)


@frozen(eq=False)
class Overview:
    """The figures of one moment. Totals are since the start, the window is the last minute."""

    now: int  # microseconds since 1970
    totals: dict[str, int]
    minute: WindowSums
    active_connections: int
    backends: list[BackendState]


class LiveState:
    """Everything that is known without the database."""

    def __init__(self, max_endpoints: int, wall: float, steady: float) -> None:
        self._timeline = Timeline()
        self._wall = wall
        self._now = self._timeline.observe(wall, steady)
        self._steps = self._timeline.steps
        self._waiting = Waiting()
        self._totals = dict.fromkeys(COUNTERS, 0)
        self._windows = Windows(self._now)
        self._endpoints = BusiestEndpoints(max_endpoints, self._now)
        self._presence = Presence()

    def advance(self, wall: float, steady: float) -> None:
        """Move on to now: ``wall`` in seconds since 1970, ``steady`` on a clock without steps."""
        self._wall = wall
        now = self._timeline.observe(wall, steady)
        if (now, self._timeline.steps) != (self._now, self._steps):
            self._count_waiting()  # they came before
            self._now, self._steps = now, self._timeline.steps
            self._windows.advance(now)
            self._endpoints.advance(now)
            self._presence.forget(now)

    def apply(self, block: Block) -> None:
        """Count a block's events, at the moment last observed."""
        if block.kind == REQUEST:
            if self._waiting.add(block):
                self._count_waiting()
        elif block.kind == RATE_LIMIT:
            self._rate_limits(block)
        elif block.kind == BACKEND:
            self._presence.add_backends(block, self._times(block), self._now)
        elif block.kind == SYSTEM:
            self._presence.add_systems(block, self._times(block), self._now)

    def _times(self, block: Block) -> Integers:
        """The events' times on the line, in microseconds."""
        timestamps = block.numbers["timestamp"].astype(np.int64, copy=False)
        return timestamps - self._steps * SECOND_US

    def _seconds(self, block: Block) -> Groups:
        """The events by seconds of the line."""
        timestamps = block.numbers["timestamp"].astype(np.int64, copy=False)
        seconds = Groups.by_time(timestamps, SECOND_US)
        return Groups(seconds.codes - self._steps, seconds.index)

    def _count_waiting(self) -> None:
        block = self._waiting.take()
        if block is not None:
            self._requests(block)

    def _requests(self, block: Block) -> None:
        seconds = self._seconds(block)
        durations = Durations.of(block.numbers["duration_us"].astype(np.int64, copy=False))
        timed = seconds.where(durations.timed)
        outcomes = OUTCOME.take(block.numbers["status_code"].astype(np.intp))
        counters = seconds.count(outcomes, len(_OUTCOME_ADDS)) @ _OUTCOME_ADDS
        counters[:, COLUMN["timed"]] = (
            counters[:, COLUMN["requests"]]
            if durations.timed is None
            else seconds.count(durations.timed, 2)[:, 1]
        )
        counters[:, COLUMN["duration_sum_us"]] = timed.sum(durations.micros)
        self._count(timed, counters, durations.bins)
        self._count_endpoints(block, OUTCOME_FAILS.take(outcomes), durations, seconds)

    def _count_endpoints(
        self, block: Block, failed: Mask, durations: Durations, seconds: Groups
    ) -> None:
        methods, paths = block.texts["method"], block.texts["endpoint"]
        earliest = self._now - LONGEST + 1  # a log of last week says nothing about the last hour
        if seconds.codes[-1] < earliest:
            return
        if seconds.codes[0] < earliest:
            lately = (seconds.codes >= earliest)[seconds.index]
            methods = Text(methods.values, methods.index[lately])
            paths = Text(paths.values, paths.index[lately])
            failed, durations = failed[lately], durations.where(lately)
        self._endpoints.add(methods, paths, failed, durations)

    def _rate_limits(self, block: Block) -> None:
        seconds = self._seconds(block)
        decisions = seconds.count(block.numbers["allowed"].astype(np.bool_, copy=False), 2)
        counters = np.zeros((len(decisions), len(COUNTERS)), np.int64)
        counters[:, COLUMN["checked"]] = decisions.sum(axis=1)
        counters[:, COLUMN["denied"]] = decisions[:, 0]
        nobody = np.zeros(block.size, np.bool_)
        self._count(seconds.where(nobody), counters, np.zeros(0, np.intp))

    def _count(self, seconds: Groups, counters: Counters, bins: NDArray[np.intp]) -> None:
        self._windows.add(seconds, counters, bins)
        for name, n in zip(COUNTERS, counters.sum(axis=0).tolist(), strict=True):
            self._totals[name] += n

    def overview(self) -> Overview:
        """The figures of the moment last observed."""
        self._count_waiting()
        return Overview(
            now=round(self._wall * SECOND_US),
            totals=dict(self._totals),
            minute=self._windows.sums("1m"),
            active_connections=sum(self._presence.connections.values()),
            backends=self._presence.backends.values(),
        )

    def window(self, name: str) -> WindowSums:
        """The sums of a window: 1m, 5m, 15m or 1h."""
        self._count_waiting()
        return self._windows.sums(name)

    def series(self) -> Series:
        """The last 15 minutes in buckets of 10 s; ``starts`` are seconds since 1970."""
        self._count_waiting()
        series = self._windows.series(SERIES_SECONDS, BUCKET_SECONDS, self._steps)
        return Series(series.starts + self._steps, series.counters, series.durations)

    def top_endpoints(self, count: int) -> list[EndpointFigures]:
        """The busiest endpoints of the last hour."""
        self._count_waiting()
        return self._endpoints.top(count)

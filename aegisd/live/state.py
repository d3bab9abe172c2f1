"""The live state as a whole: blocks in, figures out. All of it is in memory and pure."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.live import sketch
from aegisd.live.endpoints import EndpointFigures, Endpoints, Times
from aegisd.live.presence import BackendState, Presence
from aegisd.live.timeline import Timeline
from aegisd.live.windows import COLUMN, COUNTERS, LONGEST, Series, Windows, WindowSums
from aegisd.wire.block import ABSENT, Block, Integers, Text
from aegisd.wire.protocol import BACKEND, RATE_LIMIT, REQUEST, SYSTEM

MICROSECONDS = 1_000_000
BUCKET_SECONDS = 10
SERIES_SECONDS = 900


def _class_table() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The class of each status, and what one request of each class adds to the counters."""
    statuses = np.arange(1000)
    adds = np.zeros((1000, len(COUNTERS)), np.int64)
    adds[:, COLUMN["requests"]] = 1
    for hundred in (2, 3, 4, 5):
        adds[statuses // 100 == hundred, COLUMN[f"status_{hundred}xx"]] = 1
    adds[(statuses < 200) | (statuses >= 600), COLUMN["status_other"]] = 1
    adds[(statuses >= 1) & (statuses < 400), COLUMN["succeeded"]] = 1
    adds[(statuses == 0) | (statuses // 100 == 5), COLUMN["server_errors"]] = 1
    adds[statuses == 429, COLUMN["rate_limited"]] = 1
    rows, classes = np.unique(adds, axis=0, return_inverse=True)
    return classes.reshape(-1), rows


STATUS_CLASS, CLASS_ADDS = _class_table()
SUCCEEDS = CLASS_ADDS[STATUS_CLASS, COLUMN["succeeded"]].astype(np.bool_)


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
        self._totals = dict.fromkeys(COUNTERS, 0)
        self._windows = Windows(self._now)
        self._endpoints = Endpoints(max_endpoints, self._now)
        self._presence = Presence()

    def observe(self, wall: float, steady: float) -> None:
        """Move on to now: ``wall`` in seconds since 1970, ``steady`` on a clock without steps."""
        self._wall = wall
        now = self._timeline.observe(wall, steady)
        if now != self._now:
            self._now = now
            self._windows.advance(now)
            self._endpoints.advance(now)
            self._presence.forget(now)

    def apply(self, block: Block) -> None:
        """Count a block's events, at the moment last observed."""
        timestamps = block.numbers["timestamp"].astype(np.int64, copy=False)
        times = timestamps - self._timeline.steps * MICROSECONDS
        seconds = times // MICROSECONDS
        if block.kind == REQUEST:
            self._requests(block, seconds)
        elif block.kind == RATE_LIMIT:
            self._rate_limits(block, seconds)
        elif block.kind == BACKEND:
            self._presence.add_backends(block, times.tolist(), self._now)
        elif block.kind == SYSTEM:
            self._presence.add_systems(block, times.tolist(), self._now)

    def _requests(self, block: Block, seconds: Integers) -> None:
        status = block.numbers["status_code"]
        micros = block.numbers["duration_ms"].astype(np.int64, copy=False)
        timed = micros != ABSENT
        micros = micros[timed]
        times = Times(timed, micros, sketch.bins_of(micros))

        first, row = _distinct(seconds)
        classes = len(CLASS_ADDS)
        seen = np.bincount(row * classes + STATUS_CLASS[status], minlength=len(first) * classes)
        counters = seen.reshape(len(first), classes) @ CLASS_ADDS
        timed_row = row[timed]
        counters[:, COLUMN["timed"]] = np.bincount(timed_row, minlength=len(first))
        np.add.at(counters[:, COLUMN["microseconds"]], timed_row, micros)
        self._count(first, counters)
        self._windows.add_durations(seconds[timed], times.bins)
        self._count_endpoints(block, ~SUCCEEDS[status], times, self._now - seconds < LONGEST)

    def _count_endpoints(
        self, block: Block, failed: NDArray[np.bool_], times: Times, lately: NDArray[np.bool_]
    ) -> None:
        methods, paths = block.texts["method"], block.texts["endpoint"]
        if not lately.all():  # a log of last week says nothing about the last hour
            methods = Text(methods.values, methods.index[lately])
            paths = Text(paths.values, paths.index[lately])
            failed, times = failed[lately], times.of(lately)
        self._endpoints.add(methods, paths, failed, times)

    def _rate_limits(self, block: Block, seconds: Integers) -> None:
        first, row = _distinct(seconds)
        counters = np.zeros((len(first), len(COUNTERS)), np.int64)
        counters[:, COLUMN["checked"]] = np.bincount(row, minlength=len(first))
        denied = row[~block.numbers["allowed"].astype(np.bool_, copy=False)]
        counters[:, COLUMN["denied"]] = np.bincount(denied, minlength=len(first))
        self._count(first, counters)

    def _count(self, first: Integers, counters: NDArray[np.int64]) -> None:
        self._windows.add(first, counters)
        for name, n in zip(COUNTERS, counters.sum(axis=0).tolist(), strict=True):
            self._totals[name] += n

    def overview(self) -> Overview:
        """The figures of the moment last observed."""
        return Overview(
            now=round(self._wall * MICROSECONDS),
            totals=dict(self._totals),
            minute=self._windows.sums("1m"),
            active_connections=sum(self._presence.connections.values()),
            backends=self._presence.backends.values(),
        )

    def window(self, name: str) -> WindowSums:
        """The sums of a window: 1m, 5m, 15m or 1h."""
        return self._windows.sums(name)

    def series(self) -> Series:
        """The last 15 minutes in buckets of 10 s; ``starts`` are seconds since 1970."""
        steps = self._timeline.steps
        series = self._windows.series(SERIES_SECONDS, BUCKET_SECONDS, steps)
        return Series(series.starts + steps, series.counters, series.durations)

    def top_endpoints(self, count: int) -> list[EndpointFigures]:
        """The busiest endpoints of the last hour."""
        return self._endpoints.top(count)


def _distinct(seconds: Integers) -> tuple[Integers, NDArray[np.intp]]:
    """The distinct seconds, and for each event which of them is its own."""
    if seconds[0] == seconds[-1] and (seconds == seconds[0]).all():  # as bursts are, mostly
        return seconds[:1], np.zeros(len(seconds), np.intp)
    first, row = np.unique(seconds, return_inverse=True)
    return first, row.reshape(-1)

"""The last hour in a ring of seconds, and windows over it that are kept up, not summed up.

Each second holds counters and a sketch. Each window (1m, 5m, 15m, 1h) holds the sums of its
seconds: a second that enters is added, one that leaves is taken away. All are whole numbers,
so nothing drifts over days. The ring also holds the next minutes: an event may be stamped
ahead, and counts in a window from the moment its second is reached.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.config.settings import WINDOW_SECONDS
from aegisd.live import sketch
from aegisd.wire.protocol import MAX_AHEAD_SECONDS

COUNTERS = (
    "requests",
    "status_2xx",
    "status_3xx",
    "status_4xx",
    "status_5xx",
    "status_other",  # 0 to 199 and 600 up
    "succeeded",  # 1 to 399
    "server_errors",  # 5xx, and 0: no answer at all
    "rate_limited",  # 429
    "timed",  # had a duration
    "microseconds",  # the sum of the durations
    "checked",  # rate-limit decisions
    "denied",
)
"""What is counted each second, the columns of every array of counters."""

COLUMN = {name: i for i, name in enumerate(COUNTERS)}

LONGEST = max(WINDOW_SECONDS.values())
REACH_AHEAD = MAX_AHEAD_SECONDS + 1  # the second that has begun, beside the whole ones
RING_SECONDS = LONGEST + REACH_AHEAD + 60
"""A minute more than is ever in reach: no second that counts shares its place with another."""

Seconds = NDArray[np.int64]


@frozen(eq=False)
class WindowSums:
    """The sums of one window: counters by name, and the sketch of its durations."""

    seconds: int
    counters: dict[str, int]
    durations: sketch.Counts


class Windows:
    """The ring and the windows over it. Seconds are those of a ``Timeline``."""

    def __init__(self, now: int) -> None:
        self._lengths = np.array(list(WINDOW_SECONDS.values()), np.int64)
        self._now = now
        self._second = np.full(RING_SECONDS, -1, np.int64)  # which second a place holds
        self._counters = np.zeros((RING_SECONDS, len(COUNTERS)), np.int64)
        self._bins = np.zeros((RING_SECONDS, sketch.BINS), np.int32)
        self._sums = np.zeros((len(WINDOW_SECONDS), len(COUNTERS)), np.int64)
        self._sketches = np.zeros((len(WINDOW_SECONDS), sketch.BINS), np.int64)

    def advance(self, now: int) -> None:
        """Let the windows end with the second ``now``; it may also lie before the last one."""
        if now == self._now:
            return
        for i, length in enumerate(self._lengths.tolist()):
            self._move(i, self._now, now, length)
        self._now = now

    def _move(self, i: int, old: int, new: int, length: int) -> None:
        entering = np.arange(max(old, new - length), new) + 1
        leaving = np.arange(old - length, min(old, new - length)) + 1
        if new < old:
            entering = np.arange(new - length, min(new, old - length)) + 1
            leaving = np.arange(max(new, old - length), old) + 1
        for seconds, sign in ((entering, 1), (leaving, -1)):
            places = self._held(seconds)
            if len(places):
                self._sums[i] += sign * self._counters[places].sum(axis=0)
                self._sketches[i] += sign * self._bins[places].sum(axis=0, dtype=np.int64)

    def _held(self, seconds: Seconds) -> NDArray[np.int64]:
        """The places of those ``seconds`` that the ring holds."""
        places = seconds % RING_SECONDS
        held: NDArray[np.int64] = places[self._second[places] == seconds]
        return held

    def add(self, seconds: Seconds, counters: NDArray[np.int64]) -> None:
        """Count events: ``seconds`` are distinct, ``counters`` has a row for each.

        The caller has advanced to now. Seconds beyond the ring's reach count nowhere.
        """
        within = self._reach(seconds)
        seconds, counters = seconds[within], counters[within]
        self._make_ready(seconds)
        self._counters[seconds % RING_SECONDS] += counters
        for i, inside in self._inside(seconds):
            self._sums[i] += counters[inside].sum(axis=0)

    def add_durations(self, seconds: Seconds, bins: NDArray[np.intp]) -> None:
        """Count durations, a second and a sketch bin each, of seconds that ``add`` was given."""
        within = self._reach(seconds)
        seconds, bins = seconds[within], bins[within]
        np.add.at(self._bins, (seconds % RING_SECONDS, bins), 1)
        for i, inside in self._inside(seconds):
            self._sketches[i] += np.bincount(bins[inside], minlength=sketch.BINS)

    def _reach(self, seconds: Seconds) -> NDArray[np.bool_]:
        """Which seconds the ring can hold now."""
        past = self._now - seconds
        within: NDArray[np.bool_] = (past < LONGEST) & (past >= -REACH_AHEAD)
        return within

    def _inside(self, seconds: Seconds) -> list[tuple[int, NDArray[np.bool_]]]:
        """Which of ``seconds`` each window holds, of windows that hold any."""
        past = self._now - seconds
        masks = [(past >= 0) & (past < length) for length in self._lengths.tolist()]
        return [(i, mask) for i, mask in enumerate(masks) if mask.any()]

    def _make_ready(self, seconds: Seconds) -> None:
        """Clear the places that held another second.

        That one is out of every window: two seconds in reach never share a place.
        """
        places = seconds % RING_SECONDS
        stale = places[self._second[places] != seconds]
        self._counters[stale] = 0
        self._bins[stale] = 0
        self._second[places] = seconds

    def sums(self, window: str) -> WindowSums:
        """The window's sums now."""
        i = list(WINDOW_SECONDS).index(window)
        counters = dict(zip(COUNTERS, self._sums[i].tolist(), strict=True))
        return WindowSums(WINDOW_SECONDS[window], counters, self._sketches[i].copy())

    def series(self, length: int, bucket: int, phase: int) -> "Series":
        """The last ``length`` seconds in buckets of ``bucket``, the last one still filling.

        Buckets start where (second + phase) divides by ``bucket``: the caller's whole
        multiples of wall-clock time.
        """
        last = (self._now + phase) // bucket * bucket - phase
        starts = np.arange(last - length + bucket, last + 1, bucket)
        seconds = starts[:, None] + np.arange(bucket)
        places = seconds % RING_SECONDS
        held = (self._second[places] == seconds) & (seconds <= self._now)
        counters = (self._counters[places] * held[..., None]).sum(axis=1)
        durations = np.zeros((len(starts), sketch.BINS), np.int64)
        for row, (place, use) in enumerate(zip(places, held, strict=True)):
            durations[row] = self._bins[place[use]].sum(axis=0, dtype=np.int64)
        return Series(starts, counters, durations)


@frozen(eq=False)
class Series:
    """Counters (a row a bucket, columns as COUNTERS) and sketches from ``starts`` on."""

    starts: Seconds
    counters: NDArray[np.int64]
    durations: NDArray[np.int64]

"""The last hour in a ring of seconds, and windows over it that are kept up, not summed up.

Each second holds counters and a sketch. The windows (1m, 5m, 15m, 1h) lie within each other, so
the hour is cut where they begin, and each part holds the sums of its seconds: a second that
enters is added, one that leaves is taken away. An event is then of one part only, whatever the
windows, and a window is the sum of parts. All are whole numbers, so nothing drifts over days.
The ring also holds the next minutes, a part as well: an event may be stamped ahead, and counts
in a window from the moment its second is reached.
"""

from bisect import bisect_right
from itertools import pairwise

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.config.settings import WINDOW_SECONDS
from aegisd.events.block import Integers
from aegisd.events.counters import COUNTERS, Counters
from aegisd.events.protocol import MAX_AHEAD_SECONDS
from aegisd.stats import sketch
from aegisd.stats.grouping import Groups

LONGEST = max(WINDOW_SECONDS.values())
REACH_AHEAD = MAX_AHEAD_SECONDS + 1  # the second that has begun, beside the whole ones
RING_SECONDS = LONGEST + REACH_AHEAD + 60
"""A minute more than is ever in reach: no second that counts shares its place with another."""

_AGES = (-REACH_AHEAD, 0, *sorted(WINDOW_SECONDS.values()))
"""Part ``i`` is the seconds that are ``_AGES[i]`` old or older, and less than ``_AGES[i + 1]``."""

_PARTS = len(_AGES) - 1
_NOW = 1  # the part that the present second is of

FEW_SECONDS = 8
"""Up to so many seconds of a block are added one by one: that is the cheaper way then."""


@frozen(eq=False)
class WindowSums:
    """The sums of one window: counters by name, and the sketch of its durations."""

    seconds: int
    counters: dict[str, int]
    durations: sketch.Counts


class Windows:
    """The ring and the windows over it. Seconds are those of a ``Timeline``."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._second = np.full(RING_SECONDS, -1, np.int64)  # which second a place holds
        self._counters = np.zeros((RING_SECONDS, len(COUNTERS)), np.int64)
        self._bins = np.zeros((RING_SECONDS, sketch.BINS), np.int32)
        self._sums = np.zeros((_PARTS, len(COUNTERS)), np.int64)
        self._sketches = np.zeros((_PARTS, sketch.BINS), np.int64)

    def advance(self, now: int) -> None:
        """Let the windows end with the second ``now``; it may also lie before the last one."""
        if now == self._now:
            return
        for i, (youngest, age) in enumerate(pairwise(_AGES)):
            self._move(i, self._now - youngest, now - youngest, age - youngest)
        self._now = now

    def _move(self, i: int, old: int, new: int, length: int) -> None:
        """Let part ``i``, ``length`` seconds long, end with ``new`` in place of ``old``."""
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

    def _held(self, seconds: Integers) -> NDArray[np.int64]:
        """The places of those ``seconds`` that the ring holds."""
        places = seconds % RING_SECONDS
        held: NDArray[np.int64] = places[self._second[places] == seconds]
        return held

    def add(self, seconds: Groups, counters: Counters, bins: NDArray[np.intp]) -> None:
        """Count events: ``counters`` has a row for each second, ``bins`` one for each duration.

        ``seconds`` are those of the durations. The caller has advanced to now. Events of
        seconds beyond the ring's reach count nowhere.
        """
        if len(seconds.codes) > FEW_SECONDS:
            self._add_many(seconds.codes, counters, seconds.index, bins)
            return
        durations = seconds.count(bins, sketch.BINS)
        for i, second in enumerate(seconds.codes.tolist()):
            self._add(second, counters[i], durations[i])

    def _add(self, second: int, counters: Counters, durations: sketch.Counts) -> None:
        age = self._now - second
        if not _AGES[0] <= age < _AGES[-1]:
            return
        place = second % RING_SECONDS
        if self._second[place] != second:
            self._make_ready(np.array([second]))
        part = bisect_right(_AGES, age) - 1
        self._counters[place] += counters
        self._bins[place] += durations
        self._sums[part] += counters
        self._sketches[part] += durations

    def _add_many(
        self, seconds: Integers, counters: Counters, row: NDArray[np.intp], bins: NDArray[np.intp]
    ) -> None:
        """The same at a cost that hardly grows with the number of seconds."""
        age = self._now - seconds
        within = (age >= _AGES[0]) & (age < _AGES[-1])
        part = np.searchsorted(_AGES, age, side="right") - 1
        self._sums += (np.arange(_PARTS)[:, None] == part) @ counters
        kept = seconds[within]
        self._make_ready(kept)
        self._counters[kept % RING_SECONDS] += counters[within]
        if len(kept) < len(seconds):
            reached = within[row]
            row, bins = row[reached], bins[reached]
        sketch.add(self._bins, (seconds % RING_SECONDS)[row], bins)
        sketch.add(self._sketches, part[row], bins)

    def _make_ready(self, seconds: Integers) -> None:
        """Clear the places that held another second.

        That one is out of every part: two seconds in reach never share a place.
        """
        places = seconds % RING_SECONDS
        stale = places[self._second[places] != seconds]
        self._counters[stale] = 0
        self._bins[stale] = 0
        self._second[places] = seconds

    def sums(self, window: str) -> WindowSums:
        """The window's sums now."""
        length = WINDOW_SECONDS[window]
        parts = slice(_NOW, _AGES.index(length))
        counters = self._sums[parts].sum(axis=0).tolist()
        durations: sketch.Counts = self._sketches[parts].sum(axis=0)
        return WindowSums(length, dict(zip(COUNTERS, counters, strict=True)), durations)

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

    starts: Integers
    counters: NDArray[np.int64]
    durations: NDArray[np.int64]

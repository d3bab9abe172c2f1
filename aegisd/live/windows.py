"""The last hour in a ring of seconds, and the sums of the windows over it.

The ring has a place for each second: its counters and its sketch. The windows (1m, 5m, 15m, 1h) are
not summed up when they are read. The hour is cut into parts where the windows begin, and each part
keeps the sums of its seconds; a window is the sum of a few parts. So an event is added to one part
only. All sums are whole numbers: nothing drifts over days.

A second's part depends on its age, which is now less the second::

    age   -301 … -1 | 0 … 59 | 60 … 299 | 300 … 899 | 900 … 3599 | 3600 …
    part      0     |   1    |    2     |     3     |     4      | in no part
                    |<- 1m ->|
                    |<------ 5m ------->|
                    |<----------- 15m ------------->|
                    |<------------------- 1h ------------------->|

Part 0 is for events that are stamped ahead: they count in the windows once their second is reached.

``Windows.advance`` moves each part along the seconds. It adds those that enter the part and
subtracts those that leave it::

    1. Time goes on                before   [======part======]
                                   after        [======part======]
                                            leave             enter

    2. Time goes back              before       [======part======]
                                   after    [======part======]
                                            enter             leave

    3. Time goes on or back by     before   [======part======]
       more than the part's        after                          [======part======]
       length: a pause of the               leave                  enter
       process, or a long sleep

Seconds that enter or leave are looked up in the ring. One that is not there had no events, or its
place was taken by another second meanwhile: it is skipped. This can't happen to a second that is in
a part, since the ring is longer than all parts together.
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
REACH_AHEAD = MAX_AHEAD_SECONDS + 1  # one more, as the present second has only begun
RING_SECONDS = LONGEST + REACH_AHEAD + 60
"""Two seconds that are in parts never share a place. A minute more than the parts are long: so time
may go back a little and find its seconds again."""

_AGES = (-REACH_AHEAD, 0, *sorted(WINDOW_SECONDS.values()))
"""Part ``i`` has the seconds of the ages from ``_AGES[i]`` to before ``_AGES[i + 1]``."""

_PARTS = len(_AGES) - 1
_FIRST_PART = 1  # of every window: that of the present second

FEW_SECONDS = 8
"""Up to so many seconds of a block are added one by one, which is cheaper then."""


@frozen(eq=False)
class WindowSums:
    """The sums of one window: counters by name, and the sketch of its durations."""

    seconds: int
    counters: dict[str, int]
    durations: sketch.Counts


class Windows:
    """The ring and the parts. Seconds are those of a ``Timeline``.

    Second ``s`` has the place ``s % RING_SECONDS`` if ``_second`` says so there; otherwise it had
    no events. ``_sums[i]`` and ``_sketches[i]`` are the sums of the seconds of part ``i``.
    """

    def __init__(self, now: int) -> None:
        self._now = now
        self._second = np.full(RING_SECONDS, -1, np.int64)
        self._counters = np.zeros((RING_SECONDS, len(COUNTERS)), np.int64)
        self._bins = np.zeros((RING_SECONDS, sketch.BINS), np.int32)
        self._sums = np.zeros((_PARTS, len(COUNTERS)), np.int64)
        self._sketches = np.zeros((_PARTS, sketch.BINS), np.int64)

    def advance(self, now: int) -> None:
        """Let the windows end with the second ``now``, which may also lie before the last one."""
        if now == self._now:
            return
        for part, (youngest, oldest) in enumerate(pairwise(_AGES)):
            before = range(self._now - oldest + 1, self._now - youngest + 1)
            after = range(now - oldest + 1, now - youngest + 1)
            self._add_to_part(part, _only_in(after, before), 1)
            self._add_to_part(part, _only_in(before, after), -1)
        self._now = now

    def _add_to_part(self, part: int, seconds: Integers, sign: int) -> None:
        """Add what the ring holds of ``seconds`` to a part; a sign of -1 subtracts it."""
        places = seconds % RING_SECONDS
        places = places[self._second[places] == seconds]
        if len(places):
            self._sums[part] += sign * self._counters[places].sum(axis=0)
            self._sketches[part] += sign * self._bins[places].sum(axis=0, dtype=np.int64)

    def add(self, timed_seconds: Groups, counters: Counters, bins: NDArray[np.intp]) -> None:
        """Count events, after ``advance``. Events whose second is in no part are not counted.

        ``timed_seconds.codes`` are the seconds of all events, and ``counters`` has a row for each
        of these seconds. ``timed_seconds.index`` has an item only for the events with a duration:
        the place of the event's second among the codes. ``bins`` has the bin of each such event.
        """
        seconds = timed_seconds.codes
        if len(seconds) > FEW_SECONDS:
            self._add_many(seconds, counters, timed_seconds.index, bins)
            return
        durations = timed_seconds.count(bins, sketch.BINS)
        for i, second in enumerate(seconds.tolist()):
            self._add(second, counters[i], durations[i])

    def _add(self, second: int, counters: Counters, durations: sketch.Counts) -> None:
        age = self._now - second
        if not _AGES[0] <= age < _AGES[-1]:
            return
        place = second % RING_SECONDS
        if self._second[place] != second:
            self._take_places(np.array([second]))
        part = bisect_right(_AGES, age) - 1
        self._counters[place] += counters
        self._bins[place] += durations
        self._sums[part] += counters
        self._sketches[part] += durations

    def _add_many(
        self, seconds: Integers, counters: Counters, row: NDArray[np.intp], bins: NDArray[np.intp]
    ) -> None:
        """Count many seconds at once; ``row`` is the place in ``seconds`` of each duration."""
        age = self._now - seconds
        within = (age >= _AGES[0]) & (age < _AGES[-1])
        part = np.searchsorted(_AGES, age, side="right") - 1
        self._sums += (np.arange(_PARTS)[:, None] == part) @ counters
        kept = seconds[within]
        self._take_places(kept)
        self._counters[kept % RING_SECONDS] += counters[within]
        if len(kept) < len(seconds):
            reached = within[row]
            row, bins = row[reached], bins[reached]
        sketch.add(self._bins, (seconds % RING_SECONDS)[row], bins)
        sketch.add(self._sketches, part[row], bins)

    def _take_places(self, seconds: Integers) -> None:
        """Give each of ``seconds`` its place; it is cleared if another second had it."""
        places = seconds % RING_SECONDS
        stale = places[self._second[places] != seconds]
        self._counters[stale] = 0
        self._bins[stale] = 0
        self._second[places] = seconds

    def sums(self, window: str) -> WindowSums:
        """The window's sums now."""
        length = WINDOW_SECONDS[window]
        parts = slice(_FIRST_PART, _AGES.index(length))
        counters = self._sums[parts].sum(axis=0).tolist()
        durations: sketch.Counts = self._sketches[parts].sum(axis=0)
        return WindowSums(length, dict(zip(COUNTERS, counters, strict=True)), durations)

    def series(self, length: int, bucket: int, phase: int) -> "Series":
        """The last ``length`` seconds in buckets of ``bucket`` seconds; the last is still filling.

        A bucket starts where ``second + phase`` is a multiple of ``bucket``: with the difference of
        the wall clock as the phase, buckets start at multiples of wall-clock time.
        """
        last = (self._now + phase) // bucket * bucket - phase
        starts = np.arange(last - length + bucket, last + 1, bucket)
        seconds = starts[:, None] + np.arange(bucket)
        places = seconds % RING_SECONDS
        held = (self._second[places] == seconds) & (seconds <= self._now)
        counters = (self._counters[places] * held[..., None]).sum(axis=1)
        return Series(starts, counters, self._bins, places, held)


def _only_in(one: range, other: range) -> Integers:
    """The seconds of ``one`` that are not in ``other``, which is as long: they are one run."""
    if one.start < other.start:
        return np.arange(one.start, min(one.stop, other.start))
    return np.arange(max(one.start, other.stop), one.stop)


@frozen(eq=False)
class Series:
    """Buckets that start at ``starts``: counters, columns as COUNTERS, and sketches.

    The sketches cost most, and few buckets change in a second: so a bucket's is summed up when it
    is asked for, which must be before the live state changes.
    """

    starts: Integers
    counters: NDArray[np.int64]
    _bins: NDArray[np.int32]
    _places: NDArray[np.int64]
    _held: NDArray[np.bool_]

    def durations(self, row: int) -> sketch.Counts:
        """The sketch of one bucket."""
        summed: sketch.Counts = self._bins[self._places[row][self._held[row]]].sum(
            axis=0, dtype=np.int64
        )
        return summed

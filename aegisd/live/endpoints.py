"""The busiest endpoints of the last hour, in bounded memory.

An endpoint is a method and a route or template. At most ``limit`` are followed at a time, all
others are counted together as OTHER. Once the places are taken, a newcomer gets one only when
it was seen more often than the rarest endpoint that has one was in the last hour; newcomers'
own counts never overstate (Misra and Gries, "Finding repeated elements", 1982). So paths that
come once, as a scanner's do, push nobody out.

The hour is made of slots of five minutes. The one that is filling has a dense sketch for each
endpoint; closed ones keep only the bins that are occupied, with their own names.
"""

from collections import deque

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.live import sketch
from aegisd.wire.block import Text

SLOT_SECONDS = 300
SLOTS = 12
"""Closed slots: with the one that is filling they cover 60 to 65 minutes."""

MAX_CANDIDATES = 8192
"""Newcomers whose visits are counted while they have no place."""

OTHER = "(other)"

_REQUESTS, _FAILED, _TIMED, _MICROSECONDS = range(4)

Name = tuple[str, str]


@frozen(eq=False)
class Times:
    """The durations of a block's requests.

    ``timed`` marks the requests that have one; ``micros`` and ``bins`` hold those only.
    """

    timed: NDArray[np.bool_]
    micros: NDArray[np.int64]
    bins: NDArray[np.intp]

    def of(self, rows: NDArray[np.bool_]) -> "Times":
        """The durations of the requests that ``rows`` marks."""
        kept = rows[self.timed]
        return Times(self.timed[rows], self.micros[kept], self.bins[kept])


@frozen
class EndpointFigures:
    """One endpoint's last hour; latencies in microseconds, None where no request had one."""

    method: str
    path: str
    requests: int
    failed: int
    average: float | None
    p95: float | None


@frozen(eq=False)
class _Slot:
    """A closed slot: counters a row an endpoint, and the occupied bins of all, sorted."""

    names: dict[Name, int]
    counters: NDArray[np.int64]
    keys: NDArray[np.int64]  # row * BINS + bin
    counts: NDArray[np.int32]

    def add_sketch(self, name: Name, into: sketch.Counts) -> None:
        """Add the endpoint's sketch to ``into``."""
        row = self.names.get(name)
        if row is not None:
            low, high = np.searchsorted(self.keys, [row * sketch.BINS, (row + 1) * sketch.BINS])
            into[self.keys[low:high] - row * sketch.BINS] += self.counts[low:high]


class Endpoints:
    """The followed endpoints. Seconds are those of a ``Timeline``."""

    def __init__(self, limit: int, now: int) -> None:
        self._limit = limit
        self._period = now // SLOT_SECONDS
        self._closed: deque[tuple[int, _Slot]] = deque()
        self._names: dict[Name, int] = {}
        self._keys: list[Name] = []  # a row's name; OTHER's row is the last, behind all
        self._counters = np.zeros((limit + 1, 4), np.int64)
        self._bins = np.zeros((limit + 1, sketch.BINS), np.int32)
        self._earlier = np.zeros(limit, np.int64)  # requests in the closed slots
        self._candidates: dict[int, int] = {}  # hash of the name -> times seen

    def advance(self, now: int) -> None:
        """Close the slot when its time is over."""
        period = now // SLOT_SECONDS
        if period == self._period:
            return
        self._closed.append((self._period, self._close()))
        while self._closed and self._closed[0][0] < period - SLOTS:
            self._closed.popleft()
        if period // (SLOTS + 1) != self._period // (SLOTS + 1):
            self._candidates.clear()  # their visits are of the last hour too
        self._period = period
        self._refollow()

    def _close(self) -> _Slot:
        occupied = np.flatnonzero(self._bins)
        slot = _Slot(
            self._rows(), self._counters.copy(), occupied, self._bins.ravel()[occupied].copy()
        )
        self._counters[:] = 0
        self._bins[:] = 0
        return slot

    def _rows(self) -> dict[Name, int]:
        return self._names | {(OTHER, OTHER): self._limit}

    def _refollow(self) -> None:
        """Keep following what the closed slots still know; give the other places back."""
        earlier: dict[Name, int] = {}
        for _, slot in self._closed:
            for name in self._names.keys() & slot.names.keys():
                requests = int(slot.counters[slot.names[name], _REQUESTS])
                earlier[name] = earlier.get(name, 0) + requests
        self._keys = [name for name in self._keys if earlier.get(name)]
        self._names = {name: row for row, name in enumerate(self._keys)}
        self._earlier[:] = 0
        self._earlier[: len(self._keys)] = [earlier[name] for name in self._keys]

    def add(self, methods: Text, paths: Text, failed: NDArray[np.bool_], times: "Times") -> None:
        """Count requests, and the durations of those that have one."""
        width = len(paths.values)
        pair = methods.index.astype(np.int64) * width + paths.index
        codes, inverse, seen = np.unique(pair, return_inverse=True, return_counts=True)
        names: list[Name] = [
            (methods.values[code // width] or "", paths.values[code % width] or "")
            for code in codes.tolist()
        ]
        counts = dict(zip(names, seen.tolist(), strict=True))
        if not counts.keys() <= self._names.keys():
            self._admit(counts)
        found = [self._names.get(name, self._limit) for name in names]
        rows = np.array(found, np.int64)[inverse.reshape(-1)]
        self._add(_REQUESTS, rows)
        self._add(_FAILED, rows[failed])
        rows = rows[times.timed]
        self._add(_TIMED, rows)
        np.add.at(self._counters[:, _MICROSECONDS], rows, times.micros)
        np.add.at(self._bins, (rows, times.bins), 1)

    def _add(self, column: int, rows: NDArray[np.int64]) -> None:
        self._counters[:, column] += np.bincount(rows, minlength=self._limit + 1)

    def _admit(self, counts: dict[Name, int]) -> None:
        """Give places to those of ``counts``, which come so often now, that deserve one.

        Who has a place is weighed with what it gets from ``counts``; only when all is settled
        is anything counted, so that no request is counted for who took its endpoint's place.
        """
        requests = self._counters[: self._limit, _REQUESTS] + self._earlier
        for name in counts.keys() & self._names.keys():
            requests[self._names[name]] += counts[name]
        for name, times in counts.items():
            if name in self._names:
                continue
            seen = self._candidates.pop(hash(name), 0) + times
            row = len(self._keys)
            if row == self._limit:
                row = int(np.argmin(requests))
                if seen <= requests[row]:
                    self._remember(name, seen)
                    continue
                self._drop(row)
            self._names[name] = row
            self._keys[row : row + 1] = [name]
            self._earlier[row] = seen - times
            requests[row] = seen

    def _remember(self, name: Name, seen: int) -> None:
        self._candidates[hash(name)] = seen
        if len(self._candidates) > MAX_CANDIDATES:
            self._candidates = {k: n - 1 for k, n in self._candidates.items() if n > 1}

    def _drop(self, row: int) -> None:
        """Count under OTHER what ``row`` counted in this slot."""
        del self._names[self._keys[row]]
        for table in (self._counters, self._bins):
            table[self._limit] += table[row]
            table[row] = 0

    def top(self, count: int) -> list[EndpointFigures]:
        """The ``count`` endpoints with most requests, OTHER at the end where it has any."""
        occupied = np.flatnonzero(self._bins)
        current = _Slot(self._rows(), self._counters, occupied, self._bins.ravel()[occupied])
        slots = [slot for _, slot in self._closed] + [current]
        sums: dict[Name, NDArray[np.int64]] = {}
        for slot in slots:
            for name, row in slot.names.items():
                if slot.counters[row, _REQUESTS]:
                    known = sums.get(name)
                    sums[name] = slot.counters[row] if known is None else known + slot.counters[row]
        other = sums.pop((OTHER, OTHER), None)
        ranked = sorted(sums, key=lambda name: (-int(sums[name][_REQUESTS]), name))
        figures = [_figures(name, sums[name], slots) for name in ranked[:count]]
        if other is not None and len(figures) < count:
            figures.append(_figures((OTHER, OTHER), other, slots))
        return figures


def _figures(name: Name, sums: NDArray[np.int64], slots: list[_Slot]) -> EndpointFigures:
    durations = np.zeros(sketch.BINS, np.int64)
    for slot in slots:
        slot.add_sketch(name, durations)
    requests, failed, timed, micros = sums.tolist()
    average = micros / timed if timed else None
    p95 = sketch.quantiles(durations, (0.95,))[0]
    return EndpointFigures(*name, requests, failed, average, p95)

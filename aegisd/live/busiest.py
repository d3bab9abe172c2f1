"""The busiest endpoints of the last hour, in bounded memory.

An endpoint is a method and a route or template. At most ``limit`` are followed at a time, all
others are counted together as OTHER. Once the places are taken, a newcomer gets one only when
it was seen more often than the rarest endpoint that has one was in the last hour; newcomers'
own counts never overstate (Misra and Gries, "Finding repeated elements", 1982). So paths that
come once, as a scanner's do, push nobody out.

The hour is made of slots of five minutes. The one that is filling has a dense sketch for each
endpoint; closed ones keep only the bins that are occupied, with their own names.
"""

from collections import Counter, deque
from heapq import nsmallest

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Mask, Text
from aegisd.events.counters import OTHER
from aegisd.live.names import NOWHERE, Name, Names
from aegisd.stats import sketch
from aegisd.stats.durations import Durations

SLOT_SECONDS = 300
SLOTS = 12
"""Closed slots: with the one that is filling they cover 60 to 65 minutes."""

MAX_CANDIDATES = 8192
"""Newcomers whose visits are counted while they have no place."""


_REQUESTS, _FAILED, _UNTIMED, _MICROSECONDS = range(4)


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
    """A closed slot: counters a column an endpoint, and the occupied bins of all, sorted."""

    names: dict[Name, int]
    counters: NDArray[np.int64]
    keys: NDArray[np.int64]  # row * BINS + bin
    counts: NDArray[np.int32]

    def add_to(self, counters: NDArray[np.int64], durations: sketch.Counts, name: Name) -> None:
        """Add the endpoint's counters and its sketch to these."""
        row = self.names.get(name)
        if row is not None:
            counters += self.counters[:, row]
            low, high = np.searchsorted(self.keys, [row * sketch.BINS, (row + 1) * sketch.BINS])
            durations[self.keys[low:high] - row * sketch.BINS] += self.counts[low:high]


class BusiestEndpoints:
    """The followed endpoints. Seconds are those of a ``Timeline``."""

    def __init__(self, limit: int, now: int) -> None:
        self._limit = limit
        self._period = now // SLOT_SECONDS
        self._closed: deque[tuple[int, _Slot]] = deque()
        self._names = Names(limit)
        self._keys: list[Name] = []  # a row's name; OTHER's row is the last, behind all
        self._counters = np.zeros((4, limit + 1), np.int64)
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
        return self._names.rows | {(OTHER, OTHER): self._limit}

    def _refollow(self) -> None:
        """Keep following what the closed slots still know; give the other places back."""
        earlier: dict[Name, int] = {}
        for _, slot in self._closed:
            for name in self._names.rows.keys() & slot.names.keys():
                requests = int(slot.counters[_REQUESTS, slot.names[name]])
                earlier[name] = earlier.get(name, 0) + requests
        self._keys = [name for name in self._keys if earlier.get(name)]
        self._names.replace({name: row for row, name in enumerate(self._keys)})
        self._earlier[:] = 0
        self._earlier[: len(self._keys)] = [earlier[name] for name in self._keys]

    def add(self, methods: Text, paths: Text, failed: Mask, durations: Durations) -> None:
        """Count requests, and the durations of those that have one."""
        rows = self._names.find(methods, paths)
        if rows.min() == NOWHERE:
            rows = self._settle(methods, paths, rows)
        np.add.at(self._counters[_REQUESTS], rows, 1)
        np.add.at(self._counters[_FAILED], rows[failed], 1)
        if durations.timed is not None:
            np.add.at(self._counters[_UNTIMED], rows[~durations.timed], 1)
            rows = rows[durations.timed]
        np.add.at(self._counters[_MICROSECONDS], rows, durations.micros)
        sketch.add(self._bins, rows, durations.bins)

    def _settle(self, methods: Text, paths: Text, rows: Integers) -> Integers:
        """``rows``, some of which are NOWHERE, with a place of their own or OTHER's instead."""
        unknown = np.flatnonzero(rows == NOWHERE)
        names = [
            (methods.values[method] or "", paths.values[path] or "")
            for method, path in zip(
                methods.index[unknown].tolist(), paths.index[unknown].tolist(), strict=True
            )
        ]
        counts = Counter(names)
        if not counts.keys() <= self._names.rows.keys():
            self._admit(counts, rows)
            rows = self._names.find(methods, paths)
        rows[unknown] = [self._names.rows.get(name, self._limit) for name in names]
        rows[rows == NOWHERE] = self._limit  # of those who have just lost their place
        return rows

    def _admit(self, counts: Counter[Name], rows: Integers) -> None:
        """Give places to those of ``counts``, which come so often now, that deserve one.

        Who has a place is weighed with what it gets now, from ``rows`` and ``counts``; only when
        all is settled is anything counted, so that no request is counted for who took its
        endpoint's place.
        """
        requests = self._counters[_REQUESTS, : self._limit] + self._earlier
        requests += np.bincount(rows[rows != NOWHERE], minlength=self._limit)
        for name in counts.keys() & self._names.rows.keys():
            requests[self._names.rows[name]] += counts[name]
        rarest = int(np.argmin(requests))
        for name, times in counts.items():
            if name in self._names.rows:
                continue
            seen = self._candidates.pop(hash(name), 0) + times
            row = len(self._keys)
            if row == self._limit:
                if seen <= requests[rarest]:
                    self._remember(name, seen)
                    continue
                row = rarest
                self._drop(row)
            self._names.put(name, row)
            self._keys[row : row + 1] = [name]
            self._earlier[row] = seen - times
            requests[row] = seen
            if len(self._keys) == self._limit:
                rarest = int(np.argmin(requests))

    def _remember(self, name: Name, seen: int) -> None:
        self._candidates[hash(name)] = seen
        if len(self._candidates) > MAX_CANDIDATES:
            self._candidates = {k: n - 1 for k, n in self._candidates.items() if n > 1}

    def _drop(self, row: int) -> None:
        """Count under OTHER what ``row`` counted in this slot."""
        self._names.drop(self._keys[row])
        for counters in self._counters:
            counters[self._limit] += counters[row]
            counters[row] = 0
        self._bins[self._limit] += self._bins[row]
        self._bins[row] = 0

    def top(self, count: int) -> list[EndpointFigures]:
        """The ``count`` endpoints with most requests, OTHER at the end where it has any."""
        requests: dict[Name, int] = {}
        current = self._rows()
        slots = [(slot.names, slot.counters) for _, slot in self._closed]
        for names, counters in [*slots, (current, self._counters)]:
            seen = counters[_REQUESTS].tolist()
            for name, row in names.items():
                if seen[row]:
                    requests[name] = requests.get(name, 0) + seen[row]
        other = requests.pop((OTHER, OTHER), 0)
        ranked = nsmallest(count, requests, key=lambda name: (-requests[name], name))
        if other and len(ranked) < count:
            ranked.append((OTHER, OTHER))
        return [self._figures(name, current.get(name)) for name in ranked]

    def _figures(self, name: Name, row: int | None) -> EndpointFigures:
        sums = np.zeros(len(self._counters), np.int64)
        durations = np.zeros(sketch.BINS, np.int64)
        if row is not None:
            sums += self._counters[:, row]
            durations += self._bins[row]
        for _, slot in self._closed:
            slot.add_to(sums, durations, name)
        requests, failed, untimed, micros = sums.tolist()
        timed = requests - untimed
        average = micros / timed if timed else None
        p95 = sketch.quantiles(durations, (0.95,))[0]
        return EndpointFigures(*name, requests, failed, average, p95)

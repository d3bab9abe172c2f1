"""The busiest endpoints of the last hour, in bounded memory.

At most ``limit`` endpoints are followed at a time, which means that they have a row. All others are
counted together as OTHER. Once all rows are taken, an endpoint without one is a candidate, and its
requests are counted. It gets the row of the rarest followed endpoint when it was seen more often
than that one in the last hour. A candidate's count is never too high (Misra and Gries, "Finding
repeated elements", 1982). So paths that are requested once, as by a scanner, displace nobody.

The hour consists of slots of five minutes. The open slot has a dense sketch for each row. A closed
slot keeps only the bins that are not zero, and the endpoints that its rows had.
"""

from collections import Counter, deque
from heapq import nsmallest

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Mask, Text
from aegisd.events.counters import OTHER
from aegisd.live.endpoint_rows import NO_ROW, Endpoint, EndpointRows
from aegisd.stats import sketch
from aegisd.stats.durations import Durations

SLOT_SECONDS = 300
SLOTS = 12
"""So many closed slots are kept: with the open one they cover 60 to 65 minutes."""

MAX_CANDIDATES = 8192
"""So many endpoints without a row are counted."""


_REQUESTS, _FAILED, _UNTIMED, _DURATION_SUM_US = range(4)


@frozen
class EndpointFigures:
    """One endpoint's last hour. ``_us`` is None where no request had a duration."""

    method: str
    path: str
    requests: int
    failed: int
    average_us: float | None
    p95_us: float | None


@frozen(eq=False)
class _Slot:
    """A closed slot. Bin ``keys[i] % BINS`` of row ``keys[i] // BINS`` has the count ``counts[i]``.

    ``rows`` are the endpoints' rows in this slot; ``counters`` has a column for each row.
    """

    rows: dict[Endpoint, int]
    counters: NDArray[np.int64]
    keys: NDArray[np.int64]  # ascending
    counts: NDArray[np.int32]

    def add_to(
        self, counters: NDArray[np.int64], durations: sketch.Counts, endpoint: Endpoint
    ) -> None:
        """Add an endpoint's counters and sketch to ``counters`` and ``durations``."""
        row = self.rows.get(endpoint)
        if row is not None:
            counters += self.counters[:, row]
            low, high = np.searchsorted(self.keys, [row * sketch.BINS, (row + 1) * sketch.BINS])
            durations[self.keys[low:high] - row * sketch.BINS] += self.counts[low:high]


class BusiestEndpoints:
    """The followed endpoints. Seconds are those of a ``Timeline``.

    Row ``i`` is the endpoint ``_followed[i]``'s, and ``_rows`` finds it; row ``_limit`` is OTHER's.
    ``_counters`` and ``_bins`` are those of the open slot. ``_earlier[i]`` are the requests of row
    ``i``'s endpoint in the closed slots, or as a candidate.
    """

    def __init__(self, limit: int, now: int) -> None:
        self._limit = limit
        self._period = now // SLOT_SECONDS  # the number of the open slot
        self._closed: deque[tuple[int, _Slot]] = deque()
        self._rows = EndpointRows(limit)
        self._followed: list[Endpoint] = []
        self._counters = np.zeros((4, limit + 1), np.int64)
        self._bins = np.zeros((limit + 1, sketch.BINS), np.int32)
        self._earlier = np.zeros(limit, np.int64)
        self._candidates: dict[int, int] = {}  # times seen, by the endpoint's hash

    def advance(self, now: int) -> None:
        """Close the open slot if its five minutes are over."""
        period = now // SLOT_SECONDS
        if period == self._period:
            return
        self._closed.append((self._period, self._close()))
        while self._closed and self._closed[0][0] < period - SLOTS:
            self._closed.popleft()
        if period // (SLOTS + 1) != self._period // (SLOTS + 1):
            self._candidates.clear()  # so they are about the last hour, too
        self._period = period
        self._keep_followed()

    def _close(self) -> _Slot:
        occupied = np.flatnonzero(self._bins)
        slot = _Slot(
            self._all_rows(), self._counters.copy(), occupied, self._bins.ravel()[occupied].copy()
        )
        self._counters[:] = 0
        self._bins[:] = 0
        return slot

    def _all_rows(self) -> dict[Endpoint, int]:
        return self._rows.row_of | {(OTHER, OTHER): self._limit}

    def _keep_followed(self) -> None:
        """Follow the endpoints that have requests in the closed slots; free the other rows."""
        earlier: dict[Endpoint, int] = {}
        for _, slot in self._closed:
            for endpoint in self._rows.row_of.keys() & slot.rows.keys():
                requests = int(slot.counters[_REQUESTS, slot.rows[endpoint]])
                earlier[endpoint] = earlier.get(endpoint, 0) + requests
        self._followed = [endpoint for endpoint in self._followed if earlier.get(endpoint)]
        self._rows.replace({endpoint: row for row, endpoint in enumerate(self._followed)})
        self._earlier[:] = 0
        self._earlier[: len(self._followed)] = [earlier[endpoint] for endpoint in self._followed]

    def add(self, methods: Text, paths: Text, failed: Mask, durations: Durations) -> None:
        """Count requests, and the durations of those that have one."""
        rows = self._rows.find(methods, paths)
        if rows.min() == NO_ROW:
            rows = self._fill_rows(methods, paths, rows)
        np.add.at(self._counters[_REQUESTS], rows, 1)
        np.add.at(self._counters[_FAILED], rows[failed], 1)
        if durations.has_duration is not None:
            np.add.at(self._counters[_UNTIMED], rows[~durations.has_duration], 1)
            rows = rows[durations.has_duration]
        np.add.at(self._counters[_DURATION_SUM_US], rows, durations.micros)
        sketch.add(self._bins, rows, durations.bins)

    def _fill_rows(self, methods: Text, paths: Text, rows: Integers) -> Integers:
        """``rows`` with a new row, or OTHER's, for each request that has NO_ROW."""
        unknown = np.flatnonzero(rows == NO_ROW)
        endpoints = [
            (methods.values[method] or "", paths.values[path] or "")
            for method, path in zip(
                methods.index[unknown].tolist(), paths.index[unknown].tolist(), strict=True
            )
        ]
        counts = Counter(endpoints)
        if not counts.keys() <= self._rows.row_of.keys():
            self._admit(counts, rows)
            rows = self._rows.find(methods, paths)
        rows[unknown] = [self._rows.row_of.get(endpoint, self._limit) for endpoint in endpoints]
        rows[rows == NO_ROW] = self._limit  # their endpoints have just lost their rows
        return rows

    def _admit(self, counts: Counter[Endpoint], rows: Integers) -> None:
        """Give rows to those endpoints without one, with ``counts`` requests now, that deserve it.

        Nothing is counted yet. So a followed endpoint's requests now, in ``rows`` or ``counts``,
        speak for it too; and no request is counted for the endpoint that displaced its own.

        1. A row is free: the endpoint gets it.
        2. It was seen more often than the rarest followed endpoint: it gets that one's row.
        3. Otherwise it is a candidate.
        """
        requests = self._counters[_REQUESTS, : self._limit] + self._earlier
        requests += np.bincount(rows[rows != NO_ROW], minlength=self._limit)
        for endpoint in counts.keys() & self._rows.row_of.keys():
            requests[self._rows.row_of[endpoint]] += counts[endpoint]
        rarest = int(np.argmin(requests))
        for endpoint, times in counts.items():
            if endpoint in self._rows.row_of:
                continue
            seen = self._candidates.pop(hash(endpoint), 0) + times
            row = len(self._followed)
            if row == self._limit:
                if seen <= requests[rarest]:
                    self._count_candidate(endpoint, seen)
                    continue
                row = rarest
                self._drop(row)
            self._rows.put(endpoint, row)
            self._followed[row : row + 1] = [endpoint]
            self._earlier[row] = seen - times
            requests[row] = seen
            if len(self._followed) == self._limit:
                rarest = int(np.argmin(requests))

    def _count_candidate(self, endpoint: Endpoint, seen: int) -> None:
        """Note how often a candidate was seen; if there are too many, each loses one.

        So Misra and Gries keep counts that are never too high.
        """
        self._candidates[hash(endpoint)] = seen
        if len(self._candidates) > MAX_CANDIDATES:
            self._candidates = {k: n - 1 for k, n in self._candidates.items() if n > 1}

    def _drop(self, row: int) -> None:
        """Take an endpoint's row away; what it counted in the open slot goes to OTHER."""
        self._rows.drop(self._followed[row])
        for counters in self._counters:
            counters[self._limit] += counters[row]
            counters[row] = 0
        self._bins[self._limit] += self._bins[row]
        self._bins[row] = 0

    def top(self, count: int) -> list[EndpointFigures]:
        """The ``count`` endpoints with most requests; behind them OTHER, if there is room."""
        requests: dict[Endpoint, int] = {}
        current = self._all_rows()
        slots = [(slot.rows, slot.counters) for _, slot in self._closed]
        for rows, counters in [*slots, (current, self._counters)]:
            seen = counters[_REQUESTS].tolist()
            for endpoint, row in rows.items():
                if seen[row]:
                    requests[endpoint] = requests.get(endpoint, 0) + seen[row]
        other = requests.pop((OTHER, OTHER), 0)
        ranked = nsmallest(count, requests, key=lambda endpoint: (-requests[endpoint], endpoint))
        if other and len(ranked) < count:
            ranked.append((OTHER, OTHER))
        return [self._figures(endpoint, current.get(endpoint)) for endpoint in ranked]

    def _figures(self, endpoint: Endpoint, row: int | None) -> EndpointFigures:
        sums = np.zeros(len(self._counters), np.int64)
        durations = np.zeros(sketch.BINS, np.int64)
        if row is not None:
            sums += self._counters[:, row]
            durations += self._bins[row]
        for _, slot in self._closed:
            slot.add_to(sums, durations, endpoint)
        requests, failed, untimed, micros = sums.tolist()
        timed = requests - untimed
        average = micros / timed if timed else None
        p95 = sketch.quantiles(durations, (0.95,))[0]
        return EndpointFigures(*endpoint, requests, failed, average, p95)

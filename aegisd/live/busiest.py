"""The busiest endpoints of the last hour, in bounded memory.

At most ``limit`` endpoints are followed at a time, which means that they have a row. All others are
counted together as OTHER. Once all rows are taken, an endpoint without one is a candidate, and its
requests are counted. It gets the row of the rarest followed endpoint when it was seen more often
than that one in the last hour. A candidate's count is never too high (Misra and Gries, "Finding
repeated elements", 1982). So paths that are requested once, as by a scanner, displace nobody.

The hour consists of slots of five minutes. The open slot has a dense sketch for each row. A closed
slot keeps only the bins that are not zero, and the endpoints that its rows had.
"""

from collections import Counter
from heapq import nsmallest

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Text
from aegisd.events.counters import OTHER, OUTCOME_FAILS, OUTCOMES
from aegisd.live.endpoint_rows import NO_ROW, Endpoint, EndpointRows
from aegisd.live.slots import (
    COLUMNS,
    DURATION_SUM_US,
    SLOT_SECONDS,
    SLOTS,
    UNTIMED,
    ClosedSlots,
    Rows,
    Slot,
    places,
    requests_by_endpoint,
    requests_of,
)
from aegisd.stats import sketch
from aegisd.stats.durations import Durations

MAX_CANDIDATES = 8192
"""So many endpoints without a row are counted."""


@frozen
class EndpointFigures:
    """One endpoint's last hour. ``average_us``, ``p95_us``: None if no request had a duration."""

    method: str
    path: str
    requests: int
    failed: int
    average_us: float | None
    p95_us: float | None
    last_seen: int  # the latest request's timestamp, in microseconds


class BusiestEndpoints:
    """The followed endpoints. Seconds are those of a ``Timeline``.

    Row ``i`` is the endpoint ``_followed[i]``'s, and ``_rows`` finds it; row ``_limit`` is OTHER's.
    ``_counters``, ``_last_seen`` and ``_bins`` are those of the open slot. ``_earlier[i]`` are the
    requests of row ``i``'s endpoint in the closed slots, or as a candidate; ``_totals[i]`` those by
    outcome in all closed slots since it got its row, also those of more than an hour ago.
    """

    def __init__(self, limit: int, now: int, method_of_others: str = OTHER) -> None:
        self._limit = limit
        self._others: Endpoint = (method_of_others, OTHER)  # also where a client names it so
        self._period = now // SLOT_SECONDS  # the number of the open slot
        self._closed = ClosedSlots()
        self._rows = EndpointRows(limit)
        self._followed: list[Endpoint] = []
        self._counters = np.zeros((limit + 1, COLUMNS), np.int64)
        self._last_seen = np.zeros(limit + 1, np.int64)
        self._bins = np.zeros((limit + 1, sketch.BINS), np.int32)
        self._earlier = np.zeros(limit, np.int64)
        self._totals = np.zeros((limit, OUTCOMES), np.int64)
        self._candidates: dict[int, int] = {}  # times seen, by the endpoint's hash

    def advance(self, now: int) -> None:
        """Close the open slot if its five minutes are over."""
        period = now // SLOT_SECONDS
        if period == self._period:
            return
        self._closed.add(self._period, self._close(), period)
        if period // (SLOTS + 1) != self._period // (SLOTS + 1):
            self._candidates.clear()  # so they are about the last hour, too
        self._period = period
        self._keep_followed()

    def _close(self) -> Slot:
        occupied = np.flatnonzero(self._bins)
        slot = Slot(
            self._all_rows(),
            self._counters.copy(),
            self._last_seen.copy(),
            occupied,
            self._bins.ravel()[occupied].copy(),
        )
        self._totals += self._counters[: self._limit, :OUTCOMES]
        self._counters[:] = 0
        self._last_seen[:] = 0
        self._bins[:] = 0
        return slot

    def _all_rows(self) -> Rows:
        return self._rows.row_of | {self._others: self._limit}

    def _keep_followed(self) -> None:
        """Follow the endpoints that have requests in the closed slots; free the other rows."""
        earlier = self._closed.requests()
        kept = [row for row, endpoint in enumerate(self._followed) if earlier[endpoint]]
        self._followed = [self._followed[row] for row in kept]
        self._rows.replace({endpoint: row for row, endpoint in enumerate(self._followed)})
        self._earlier[:] = 0
        self._earlier[: len(kept)] = [earlier[endpoint] for endpoint in self._followed]
        self._totals[: len(kept)] = self._totals[kept]
        self._totals[len(kept) :] = 0

    def add(
        self,
        methods: Text,
        paths: Text,
        outcomes: NDArray[np.intp],
        times: Integers,
        durations: Durations,
    ) -> None:
        """Count requests, and the durations of those that have one; ``times`` in microseconds."""
        rows = self._rows.find(methods, paths)
        if rows.min() == NO_ROW:
            rows = self._fill_rows(methods, paths, rows)
        np.maximum.at(self._last_seen, rows, times)
        counters, cells = self._counters.reshape(-1), rows * COLUMNS
        np.add.at(counters, cells + outcomes, 1)
        if durations.has_duration is not None:
            np.add.at(counters, cells[~durations.has_duration] + UNTIMED, 1)
            rows, cells = rows[durations.has_duration], cells[durations.has_duration]
        np.add.at(counters, cells + DURATION_SUM_US, durations.micros)
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
        requests = requests_of(self._counters[: self._limit]) + self._earlier
        requests += np.bincount(rows[rows != NO_ROW], minlength=self._limit)
        for endpoint in counts.keys() & self._rows.row_of.keys():
            requests[self._rows.row_of[endpoint]] += counts[endpoint]
        rarest = int(np.argmin(requests))
        for endpoint, times in counts.items():
            if endpoint in self._rows.row_of or endpoint == self._others:
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
        self._last_seen[self._limit] = self._last_seen[[self._limit, row]].max()
        self._last_seen[row] = 0
        for counts in (self._counters, self._bins):
            counts[self._limit] += counts[row]
            counts[row] = 0
        self._totals[row] = 0

    def top(self, count: int) -> list[EndpointFigures]:
        """The ``count`` endpoints with most requests; behind them OTHER, if there is room."""
        requests = self._closed.requests()
        requests.update(requests_by_endpoint(self._all_rows(), self._counters))
        other = requests.pop(self._others, 0)
        ranked = nsmallest(count, requests, key=lambda endpoint: (-requests[endpoint], endpoint))
        if other and len(ranked) < count:
            ranked.append(self._others)
        return self._figures(ranked)

    def _figures(self, endpoints: list[Endpoint]) -> list[EndpointFigures]:
        sums = self._closed.sums(endpoints)
        at, rows = places(endpoints, self._all_rows())
        sums.add(at, rows, self._counters, self._last_seen)
        sums.durations[at] += self._bins[rows]
        requests = requests_of(sums.counters)
        failed = sums.counters[:, :OUTCOMES] @ OUTCOME_FAILS
        timed = requests - sums.counters[:, UNTIMED]
        micros = sums.counters[:, DURATION_SUM_US]
        return [
            EndpointFigures(method, path, n, bad, us / with_one if with_one else None, p95, seen)
            for (method, path), n, bad, us, with_one, (p95,), seen in zip(
                endpoints,
                requests.tolist(),
                failed.tolist(),
                micros.tolist(),
                timed.tolist(),
                sketch.quantiles_of_each(sums.durations, (0.95,)),
                sums.last_seen.tolist(),
                strict=True,
            )
        ]

    @property
    def followed(self) -> int:
        """How many are followed."""
        return len(self._followed)

    def totals(self, count: int) -> list[tuple[Endpoint, Integers]]:
        """The ``count`` followed endpoints with most requests since they got their rows.

        With each, these requests by outcome. They never go down while the endpoint has its row.
        """
        rows = slice(self.followed)
        totals = self._totals[rows] + self._counters[rows, :OUTCOMES]
        requests = totals.sum(axis=1).tolist()
        ranked = nsmallest(
            count, range(self.followed), key=lambda row: (-requests[row], self._followed[row])
        )
        return [(self._followed[row], totals[row]) for row in ranked]

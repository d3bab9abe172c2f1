"""Five minutes of the busiest endpoints, closed; and the sums over such slots.

Counters have a row for each endpoint, and these columns: one for each outcome (see
``events/counters.py``), UNTIMED, DURATION_SUM_US.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers
from aegisd.events.counters import OUTCOMES
from aegisd.live.endpoint_rows import NO_ROW, Endpoint
from aegisd.stats import sketch

UNTIMED, DURATION_SUM_US = OUTCOMES, OUTCOMES + 1
COLUMNS = OUTCOMES + 2

Rows = dict[Endpoint, int]


def requests_of(counters: NDArray[np.int64]) -> Integers:
    """Each row's requests."""
    requests: Integers = counters[:, :OUTCOMES].sum(axis=1)
    return requests


@frozen(eq=False)
class Sums:
    """Some endpoints' sums over slots, a row each. ``last_seen`` is 0 where there are none."""

    counters: NDArray[np.int64]
    last_seen: Integers
    durations: NDArray[np.int64]  # sketches

    @classmethod
    def zeros(cls, size: int) -> "Sums":
        """Nothing, of ``size`` endpoints."""
        return cls(
            np.zeros((size, COLUMNS), np.int64),
            np.zeros(size, np.int64),
            np.zeros((size, sketch.BINS), np.int64),
        )

    def take(self, rows: list[int]) -> "Sums":
        """A copy of these rows."""
        return Sums(self.counters[rows], self.last_seen[rows], self.durations[rows])

    def add(
        self, at: Integers, rows: Integers, counters: NDArray[np.int64], last_seen: Integers
    ) -> None:
        """Add a slot's ``rows`` to the rows ``at``; no row twice."""
        self.counters[at] += counters[rows]
        self.last_seen[at] = np.maximum(self.last_seen[at], last_seen[rows])


def places(endpoints: list[Endpoint], rows: Rows) -> tuple[Integers, Integers]:
    """Which of the endpoints have a row, and which row that is."""
    found = np.array([rows.get(endpoint, NO_ROW) for endpoint in endpoints], np.int64)
    at = np.flatnonzero(found != NO_ROW)
    return at, found[at]


@frozen(eq=False)
class Slot:
    """A closed slot. Bin ``keys[i] % BINS`` of row ``keys[i] // BINS`` has the count ``counts[i]``.

    ``rows`` are the endpoints' rows in this slot. ``last_seen`` is the latest time of each row.
    """

    rows: Rows
    counters: NDArray[np.int64]
    last_seen: Integers
    keys: NDArray[np.int64]  # ascending
    counts: NDArray[np.int32]

    def add_to(self, sums: Sums, endpoints: list[Endpoint]) -> None:
        """Add the endpoints' counters and sketches to ``sums``, which has a row for each."""
        at, rows = places(endpoints, self.rows)
        sums.add(at, rows, self.counters, self.last_seen)
        starts = self.keys.searchsorted(rows * sketch.BINS)
        sizes = self.keys.searchsorted((rows + 1) * sketch.BINS) - starts
        # each row's keys are a run; all runs, one after the other:
        held = np.arange(sizes.sum()) + np.repeat(starts - (sizes.cumsum() - sizes), sizes)
        bins = self.keys[held] + np.repeat((at - rows) * sketch.BINS, sizes)
        sums.durations.reshape(-1)[bins] += self.counts[held]

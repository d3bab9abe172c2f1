"""Five minutes of the busiest endpoints, closed; and the sums over the hour of such slots.

Counters have a row for each endpoint, and these columns: one for each outcome (see
``events/counters.py``), UNTIMED, DURATION_SUM_US.
"""

from collections import Counter, deque
from collections.abc import Iterator

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers
from aegisd.events.counters import OUTCOMES
from aegisd.live.endpoint_rows import NO_ROW, Endpoint
from aegisd.stats import sketch

UNTIMED, DURATION_SUM_US = OUTCOMES, OUTCOMES + 1
COLUMNS = OUTCOMES + 2

SLOT_SECONDS = 300
SLOTS = 12
"""So many closed slots are kept: with the open one they cover 60 to 65 minutes."""

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


def requests_by_endpoint(rows: Rows, counters: NDArray[np.int64]) -> dict[Endpoint, int]:
    """The requests of each endpoint that has some, from those of its row."""
    seen = requests_of(counters).tolist()
    return {endpoint: seen[row] for endpoint, row in rows.items() if seen[row]}


class ClosedSlots:
    """The closed slots of the last hour. What is added up over them is kept until they change.

    For figures are read each second, and slots are closed each five minutes.
    """

    def __init__(self) -> None:
        self._slots: deque[tuple[int, Slot]] = deque()  # with the number of their five minutes
        self._requests: Counter[Endpoint] | None = None
        self._summed: tuple[Rows, Sums] = ({}, Sums.zeros(0))  # of those asked for last

    def __iter__(self) -> Iterator[Slot]:
        return (slot for _, slot in self._slots)

    def add(self, period: int, slot: Slot, now: int) -> None:
        """Add the slot of a period; remove those that are too old in the period ``now``."""
        self._slots.append((period, slot))
        while self._slots and self._slots[0][0] < now - SLOTS:
            self._slots.popleft()
        self._requests = None
        self._summed = {}, Sums.zeros(0)

    def requests(self) -> Counter[Endpoint]:
        """The requests of each endpoint that has some; the caller may change them."""
        if self._requests is None:
            self._requests = Counter()
            for slot in self:
                self._requests.update(requests_by_endpoint(slot.rows, slot.counters))
        return self._requests.copy()

    def sums(self, endpoints: list[Endpoint]) -> Sums:
        """The endpoints' sums; the caller may change them."""
        row_of, sums = self._summed
        if not row_of.keys() >= set(endpoints):
            row_of, sums = {e: row for row, e in enumerate(endpoints)}, Sums.zeros(len(endpoints))
            for slot in self:
                slot.add_to(sums, endpoints)
            self._summed = row_of, sums
        return sums.take([row_of[endpoint] for endpoint in endpoints])

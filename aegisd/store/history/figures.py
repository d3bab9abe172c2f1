"""What history answers with, and how rollups become it. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from attrs import define, field, frozen

from aegisd.events.units import MILLISECOND_US
from aegisd.stats import sketch
from aegisd.store.rollups import Rollups
from aegisd.store.schema import Kind

QUANTILES = (0.5, 0.95, 0.99)


T = TypeVar("T")


@frozen
class Answer(Generic[T]):
    """Figures, and until when they are complete (microseconds since 1970), None for all the way.

    Of what came to this daemon all is counted that came before, and of what came since, some is
    not. When events came is what counts, not the times they tell.
    """

    figures: T
    complete_until: int | None


def earliest(*moments: int | None) -> int | None:
    """The earliest of those there are."""
    return min((moment for moment in moments if moment is not None), default=None)


@frozen
class Latency:
    """In ms; None where no request had a duration."""

    p50: float | None
    p95: float | None
    p99: float | None
    average: float | None


@frozen
class Totals:
    """Requests of a range."""

    requests: int
    succeeded: int
    rate_limited: int
    denied: int  # rate-limit decisions
    latency: Latency


@frozen
class Present:
    """Who was there in the last five minutes, over all nodes asked for."""

    connections: int
    backends: int
    healthy: int


@frozen
class StatusCounts:
    """Requests of a bucket by class of status: a field for each of STATUS_CLASSES."""

    status_2xx: int
    status_3xx: int
    status_4xx: int
    status_5xx: int
    status_other: int


@frozen
class EndpointTotals:
    """Requests of one endpoint; latencies in ms."""

    method: str
    path: str
    requests: int
    failed: int
    average: float | None
    p95: float | None


@frozen
class KeyTotals:
    """Rate-limit decisions of one key."""

    key: str
    checked: int
    denied: int


@define
class Sums:
    """Rollups added up: counters by name, the sum of durations (microseconds), their sketch."""

    counters: dict[str, int] = field(factory=dict)
    total: int = 0
    durations: sketch.Counts = field(factory=lambda: np.zeros(sketch.BINS, np.int64))

    def add(self, counters: Iterable[tuple[str, int]], total: int = 0) -> None:
        """Add counters, and a sum of durations."""
        for name, count in counters:
            self.counters[name] = self.counters.get(name, 0) + count
        self.total += total

    def merge(self, other: "Sums") -> None:
        """Add all of another's."""
        self.add(other.counters.items(), other.total)
        self.durations = self.durations + other.durations

    def latency(self) -> Latency:
        """Quantiles and average, as everywhere: from the sketch, and from the exact sum."""
        return latencies([self])[0]

    def average(self) -> float | None:
        """In ms."""
        timed = self.counters.get("timed", 0)
        return self.total / timed / MILLISECOND_US if timed else None

    def p95(self) -> float | None:
        """In ms."""
        (micros,) = sketch.quantiles(self.durations, (0.95,))
        return _ms(micros)


def latencies(all_sums: Sequence[Sums]) -> list[Latency]:
    """The ``latency`` of each."""
    if not all_sums:
        return []
    sketches = np.stack([sums.durations for sums in all_sums])
    found = sketch.quantiles_of_each(sketches, QUANTILES)
    return [
        Latency(_ms(p50), _ms(p95), _ms(p99), sums.average())
        for (p50, p95, p99), sums in zip(found, all_sums, strict=True)
    ]


def _ms(micros: float | None) -> float | None:
    return None if micros is None else micros / MILLISECOND_US


Key = tuple[Any, ...]
"""Names, or the start of a bucket."""

Added = dict[Key, Sums]


def add_rollups(to: Added, rollups: Rollups, keys: Sequence[Key | None], kind: Kind) -> None:
    """Add rollups, each to the sums of its key; those without one are left out."""
    durations = rollups.durations
    columns = {name: rollups.counters[name].tolist() for name in kind.counters if name != "timed"}
    totals = [0] * rollups.size
    if durations is not None:
        columns["timed"] = durations.timed.tolist()
        totals = durations.total.tolist()
        edges = np.searchsorted(durations.rows, np.arange(rollups.size + 1)).tolist()
    for i, key in enumerate(keys):
        if key is None:
            continue
        sums = to.setdefault(key, Sums())
        sums.add(((name, column[i]) for name, column in columns.items()), totals[i])
        if durations is not None:
            own = slice(edges[i], edges[i + 1])
            sums.durations[durations.bins[own]] += durations.counts[own]

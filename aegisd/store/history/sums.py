"""Rollups added up by bucket or by name, and the latencies of the sums. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from attrs import define, field

from aegisd.events.units import MILLISECOND_US
from aegisd.stats import sketch
from aegisd.store.history.cover import Stretch
from aegisd.store.history.results import QUANTILES, Latency
from aegisd.store.rollups import Rollups
from aegisd.store.schema import RollupKind

Key = tuple[Any, ...]
"""A name (method and endpoint, or a rate-limit key), or the start of a bucket."""

Endpoint = tuple[str, str]
"""Such a name: method, and route or template."""


@define
class Sums:
    """What some rollups add up to."""

    counters: dict[str, int] = field(factory=dict)
    duration_sum_us: int = 0
    durations: sketch.Counts = field(factory=lambda: np.zeros(sketch.BINS, np.int64))

    @classmethod
    def of_row(cls, counters: Sequence[str], row: Sequence[Any], *, timed: bool = False) -> "Sums":
        """Those of a row: its counters and, with ``timed``, the sum of durations behind them."""
        sums = cls()
        count = len(counters)
        sums.add(zip(counters, row[:count], strict=True), int(row[count]) if timed else 0)
        return sums

    def add(self, counters: Iterable[tuple[str, int]], duration_sum_us: int = 0) -> None:
        """Add counters and a sum of durations."""
        for name, count in counters:
            self.counters[name] = self.counters.get(name, 0) + count
        self.duration_sum_us += duration_sum_us

    def merge(self, other: "Sums") -> None:
        """Add other sums."""
        self.add(other.counters.items(), other.duration_sum_us)
        self.durations = self.durations + other.durations

    def latency(self) -> Latency:
        """The quantiles, from the sketch, and the average, from the exact sum."""
        return latencies([self])[0]

    def average(self) -> float | None:
        """The average duration in ms; None where no request had one."""
        timed = self.counters.get("timed", 0)
        return self.duration_sum_us / timed / MILLISECOND_US if timed else None

    def p95(self) -> float | None:
        """The 95th percentile in ms; None where no request had a duration."""
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


SumsByKey = dict[Key, Sums]


def keys_of(
    rollups: Rollups,
    stretches: Sequence[Stretch],
    key: Callable[[int, tuple[str, ...]], Key],
) -> list[Key | None]:
    """The key of each rollup; None where it lies outside of the stretches."""
    start, end = stretches[0].start, stretches[-1].end
    texts = [text.rows() for text in rollups.names.values()]
    return [
        key(moment, tuple(str(text[i]) for text in texts)) if start <= moment < end else None
        for i, moment in enumerate(rollups.starts.tolist())
    ]


def add_rollups(
    to: SumsByKey, rollups: Rollups, keys: Sequence[Key | None], kind: RollupKind
) -> None:
    """Add each rollup to the sums of its key; rollups whose key is None are left out."""
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

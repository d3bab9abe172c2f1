"""Medians of warm runs, and their bars."""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from bench.store_table import NONE, table

RUNS = 9
WARM_UP = 2


async def milliseconds(
    work: Callable[[], Awaitable[Any]], runs: int = RUNS, warm_up: int = WARM_UP
) -> float:
    """The median of ``runs``, after ``warm_up`` runs that don't count."""
    taken = []
    for _ in range(warm_up + runs):
        start = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken[warm_up:])


def say(what: str) -> None:
    """Say on standard error what is measured now."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


@define
class Bar:
    """A figure and its bar; ``at_least`` if more is better."""

    what: str
    value: float
    unit: str
    reach: float | None = None
    ambition: float | None = None
    at_least: bool = False
    note: str = ""

    def cells(self) -> list[str]:
        """The row."""
        sign = "≥" if self.at_least else "≤"
        aims = [
            NONE if aim is None else f"{sign} {aim:,g} {self.unit}".rstrip()
            for aim in (self.reach, self.ambition)
        ]
        value = f"{figure(self.value)} {self.unit}".rstrip()
        return [self.what, value, *aims, self._verdict(), self.note]

    def _verdict(self) -> str:
        if self.reach is None:
            return NONE
        met = [
            aim is not None and (self.value >= aim if self.at_least else self.value <= aim)
            for aim in (self.reach, self.ambition)
        ]
        return ("ambition" if met[1] else "yes") if met[0] else "no"


@define
class Results:
    """The bars, further tables, and what could not be measured."""

    bars: list[Bar] = field(factory=list)
    tables: dict[str, list[list[str]]] = field(factory=dict)
    problems: list[str] = field(factory=list)

    def row(self, head: str, *cells: str) -> None:
        """Add a row to the table with that head."""
        self.tables.setdefault(head, []).append(list(cells))

    def render(self, machine: dict[str, str]) -> str:
        """All of it as Markdown."""
        parts = [
            table("machine|", machine.items()),
            table("figure|measured|to reach|ambition|reached|", (b.cells() for b in self.bars)),
            *(table(head, rows) for head, rows in self.tables.items()),
        ]
        return "\n\n".join([p for p in parts if p] + [f"{p}." for p in self.problems])


def figure(value: float) -> str:
    """A number with three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"

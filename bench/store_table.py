"""The results of the store's benchmark as Markdown."""

from collections.abc import Iterable

from attrs import define, field

NONE = "–"


@define
class Ratio:
    """A ratio and its bar; ``at_most`` if less is better."""

    what: str
    value: float | None
    against: float | None
    reach: float | None = None
    ambition: float | None = None
    at_most: bool = False

    def cells(self) -> list[str]:
        """The row."""
        sign = "≤" if self.at_most else "≥"
        aims = [NONE if aim is None else f"{sign} {aim:g}" for aim in (self.reach, self.ambition)]
        if not self.value or not self.against:
            return [self.what, NONE, *aims, NONE]
        ratio = self.value / self.against
        if self.reach is None:
            verdict = NONE
        else:
            met = ratio <= self.reach if self.at_most else ratio >= self.reach
            verdict = "yes" if met else "no"
        return [self.what, f"{ratio:.2f}", *aims, verdict]


@define
class Results:
    """Rows of cells for each table, the ratios, and what could not be measured."""

    rates: list[list[str]] = field(factory=list)
    cpu: list[list[str]] = field(factory=list)
    acknowledged: list[list[str]] = field(factory=list)
    replay: list[list[str]] = field(factory=list)
    ratios: list[Ratio] = field(factory=list)
    problems: list[str] = field(factory=list)


def render(results: Results, machine: dict[str, str]) -> str:
    """All tables."""
    parts = [
        table("machine|", machine.items()),
        table(
            "stored by|endpoints|rows|rows/s|sent within, s|waiting then|daemon's CPU µs a row",
            results.rates,
        ),
        table("CPU of the daemon|pace|µs a row, journal|without", results.cpu),
        table(
            "acknowledged: database|under way on each|messages/s|events/s|"
            "daemon's CPU µs an event|client busy|the disk's fdatasync/s",
            results.acknowledged,
        ),
        table("replay|events|journal, MiB|seconds|rows/s", results.replay),
        table(
            "ratio|measured|to reach|ambition|reached", (ratio.cells() for ratio in results.ratios)
        ),
    ]
    return "\n\n".join([part for part in parts if part] + [f"{p}." for p in results.problems])


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """A table, or nothing if it has no rows."""
    names = head.split("|")
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *lines])

"""The results of the load benchmark as Markdown, and the bars."""

from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from bench.delay import Delays
from bench.pauses import NOTHING, Pause
from bench.steady import MEGABYTE, Share, Soak, Steady
from bench.store_table import NONE, table
from bench.storing import Acknowledged

OURS, BEFORE, NETDATA = "aegisd", "before", "netdata"
RECEIVERS = (OURS, BEFORE, NETDATA)
"""Their order in the tables."""

BEHIND = 0.97
"""Below this share of its pace a sender was held up: its actual rate is shown."""

LOW_RATE = 5000
LOW_TIMES, HIGH_TIMES, TIMES_AMBITION = 2.0, 3.0, 1.0
HIGH_AMBITION = 1.5
ENOUGH = 0.02
"""A share of a core that always counts as reached; up to LOW_RATE, and for lists."""


@define
class Row:
    """One receiver, form and rate. ``form`` is its title, ``against`` a form of netdata's."""

    receiver: str
    form: str
    rate: int
    against: str = ""
    batched: bool = False
    steady: Steady | None = None
    problem: str = ""


@define
class Results:
    """All results; except in ``rows`` there is one for each daemon, by its name."""

    rows: list[Row] = field(factory=list)
    stored: list[tuple[str, str, int]] = field(factory=list)  # with what it was sent
    idle: dict[str, Share] = field(factory=dict)
    acknowledged: dict[str, Acknowledged] = field(factory=dict)
    delays: dict[str, Delays] = field(factory=dict)
    pauses: dict[str, list[Pause]] = field(factory=dict)
    soaks: dict[str, Soak] = field(factory=dict)
    problems: list[str] = field(factory=list)


@frozen
class Bar:
    """The bar of a figure; ``at_least`` if more is better."""

    what: str
    unit: str
    reach: float
    ambition: float
    at_least: bool = False

    def cells(self, receiver: str, value: float) -> list[str]:
        """The row of a daemon."""
        sign = "≥" if self.at_least else "≤"
        aims = [f"{sign} {aim:,g} {self.unit}" for aim in (self.reach, self.ambition)]
        met = [value >= aim if self.at_least else value <= aim for aim in self._aims]
        return [self.what, receiver, f"{value:,.2f} {self.unit}", *aims, verdict(*met)]

    @property
    def _aims(self) -> tuple[float, float]:
        return self.reach, self.ambition


IDLE = Bar("idle", "% of a core", 0.5, 0.2)
ACKNOWLEDGED = Bar("acknowledged, lists of 50", "messages/s", 4000, 10_000, at_least=True)
DELAY = Bar("delay, p99", "ms", 100, 50)
PAUSE = Bar("the longest pause", "ms", 50, 20)
SOAK = Bar("resident after the soak", "MB", 150, 100)


def verdict(reached: bool, ambition: bool) -> str:
    """The last cell of a bar."""
    return ("yes, the ambition too" if ambition else "yes") if reached else "no"


def render(results: Results, machine: dict[str, str]) -> str:
    """All tables."""
    parts = [
        table("machine|", machine.items()),
        table(
            "form|requests/s|receiver|CPU, % of a core|Postgres' CPU, %|flushes in 5 s|"
            "sent in all|lost",
            map(_steady, _sorted(results.rows)),
        ),
        table(
            "form|requests/s|daemon|CPU, % of a core|netdata's, %|times|to reach|ambition|reached",
            _ratios(results),
        ),
        table("all stored: daemon|queue|events counted, rows committed", _stored(results)),
        table(
            "nothing sent: daemon|CPU, % of a core|Postgres' CPU, %",
            ([name, *_shares(share)] for name, share in results.idle.items()),
        ),
        table(
            "acknowledged: daemon|messages/s|events/s|CPU µs an event|client busy",
            (_acknowledged(*item) for item in results.acknowledged.items()),
        ),
        table(
            "delay until shown: daemon|probes|median, ms|p99, ms|max, ms",
            (_delays(*item) for item in results.delays.items()),
        ),
        table(
            "content|bytes|daemon|longest answer to others, ms|answered after, ms|answer",
            map(_pause, _pauses(results)),
        ),
        table(
            "soak: daemon|seconds|sent|lost|resident, MB: before|at the end|highest",
            (_soak(*item) for item in results.soaks.items()),
        ),
        table("bar|daemon|measured|to reach|ambition|reached", _bars(results)),
    ]
    return "\n\n".join([part for part in parts if part] + [f"{p}." for p in results.problems])


def _sorted(rows: list[Row]) -> list[Row]:
    """The compared daemons side by side; the forms in the order of measurement."""
    forms = list(dict.fromkeys(row.form for row in rows))
    return sorted(
        rows,
        key=lambda row: (forms.index(row.form), row.rate, RECEIVERS.index(row.receiver)),
    )


def _plain(text: str) -> str:
    """Escape what would end a cell, such as in a daemon's last log line."""
    return text.replace("|", "¦")


def _percent(share: float) -> str:
    return f"{share * 100:.2f}"


def _shares(share: Share) -> list[str]:
    return [_percent(share.cpu), _percent(share.database)]


def _steady(row: Row) -> list[str]:
    head = [row.form, f"{row.rate:,}", row.receiver]
    steady = row.steady
    if steady is None:
        return [*head, _plain(row.problem) or NONE, NONE, NONE, NONE, NONE]
    if steady.rate < BEHIND * row.rate:
        head[1] += f" (sent: {steady.rate:,.0f})"
    shares = _shares(steady.share)
    if row.receiver == NETDATA:
        shares[1] = NONE
    batches = NONE if steady.batches is None else f"{steady.batches:.1f}"
    return [*head, *shares, batches, f"{steady.sent:,}", f"{steady.lost:,}"]


def _ratios(results: Results) -> Iterator[list[str]]:
    peers = {(r.form, r.rate): r.steady for r in results.rows if r.receiver == NETDATA}
    for row in _sorted(results.rows):
        peer = peers.get((row.against, row.rate))
        if row.steady is None or peer is None or not peer.share.cpu:
            continue
        cpu = row.steady.share.cpu
        times = cpu / peer.share.cpu
        lenient = row.batched or row.rate <= LOW_RATE
        reach, ambition = (LOW_TIMES, TIMES_AMBITION) if lenient else (HIGH_TIMES, HIGH_AMBITION)
        aim = f"≤ {reach:g}" + (f", or {ENOUGH * 100:g} %" if lenient else "")
        met = times <= reach or (lenient and cpu <= ENOUGH)
        shown = [_percent(cpu), _percent(peer.share.cpu), f"{times:.2f}", aim, f"≤ {ambition:g}"]
        head = [row.form, f"{row.rate:,}", row.receiver]
        yield [*head, *shown, verdict(met, times <= ambition)]


def _stored(results: Results) -> list[list[str]]:
    return [[name, queue, f"{rows:,}"] for name, queue, rows in results.stored]


def _acknowledged(name: str, run: Acknowledged) -> list[str]:
    rate = run.messages / run.seconds
    events = rate * run.events
    return [name, f"{rate:,.0f}", f"{events:,.0f}", f"{run.micros:.2f}", f"{run.busy:.0%}"]


def _delays(name: str, delays: Delays) -> list[str]:
    figures = [f"{delays.quantile(share) * 1000:.1f}" for share in (0.5, 0.99, 1)]
    return [name, f"{len(delays.seconds):,}", *figures]


def _pauses(results: Results) -> list[tuple[str, Pause]]:
    found = [(name, pause) for name, pauses in results.pauses.items() for pause in pauses]
    contents = list(dict.fromkeys(pause.content for _, pause in found))
    return sorted(found, key=lambda item: contents.index(item[1].content))


def _pause(item: tuple[str, Pause]) -> list[str]:
    name, pause = item
    times = [NONE if t is None else f"{t * 1000:,.1f}" for t in (pause.longest, pause.handled)]
    return [pause.content, f"{pause.size:,}", name, *times, _plain(pause.answer)]


def _soak(name: str, soak: Soak) -> list[str]:
    resident = (soak.resident[0], soak.resident[-1], max(soak.resident))
    counts = [f"{soak.seconds:,.0f}", f"{soak.sent:,}", f"{soak.lost:,}"]
    return [name, *counts, *(f"{nbytes / MEGABYTE:.1f}" for nbytes in resident)]


def _bars(results: Results) -> Iterable[list[str]]:
    for name, share in results.idle.items():
        yield IDLE.cells(name, share.cpu * 100)
    for name, run in results.acknowledged.items():
        yield ACKNOWLEDGED.cells(name, run.messages / run.seconds)
    for name, delays in results.delays.items():
        yield DELAY.cells(name, delays.quantile(0.99) * 1000)
    for name, pauses in results.pauses.items():
        longest = [pause.longest for pause in pauses if pause.longest and pause.content != NOTHING]
        if longest:
            yield PAUSE.cells(name, max(longest) * 1000)
    for name, soak in results.soaks.items():
        yield SOAK.cells(name, soak.resident[-1] / MEGABYTE)

"""The results as Markdown."""

from collections.abc import Iterable

from attrs import define, field, frozen

from bench.measure import EVEN_RATE, OWN_SHARE, Outcome

NONE = "–"


@define
class Row:
    """One receiver and form. ``even`` and ``own`` are the runs at the two paces."""

    receiver: str
    key: str
    form: str
    endpoints: int
    highest: float | None = None
    limited: bool = False  # the true value is higher: the sender was the limit
    lossy: bool = False  # there was loss at every rate, down to ``highest``
    even: Outcome | None = None
    own: Outcome | None = None
    problem: str = ""


@frozen
class Queue:
    """A sender that does not wait, and a kernel queue of ``length``."""

    length: int
    outcome: Outcome | None
    problem: str = ""


@define
class Results:
    """All results."""

    rows: list[Row] = field(factory=list)  # aegisd live, and the peers
    stored: list[Row] = field(factory=list)
    floor: list[Row] = field(factory=list)
    queues: list[Queue] = field(factory=list)
    arrays: dict[tuple[int, int], float] = field(factory=dict)  # endpoints, block -> micros
    absent: set[str] = field(factory=set)


@frozen
class Goal:
    """A form's CPU against a peer's: its ``best`` form, or its one-request datagrams."""

    key: str
    best: bool
    reach: str = NONE
    ambition: str = NONE


GOALS = (
    Goal("udp", best=False, reach="2.5", ambition="1"),
    Goal("unix", best=False),
    Goal("lists", best=True, reach="4", ambition="1.5"),
    Goal("columns", best=True, reach="0.6", ambition="0.3"),
)
ARRAYS_REACH, ARRAYS_AMBITION = "3", "1.5"


def render(results: Results, machine: dict[str, str]) -> str:
    """All tables."""
    rate, cpu = "highest rate without loss, requests/s", "CPU µs a request"
    even, own = f"at {EVEN_RATE:,}/s", f"at {OWN_SHARE:.0%} of its highest"
    parts = [
        _table("machine|", machine.items()),
        _table(
            f"receiver|form|endpoints|{rate}|{cpu} {even}|{own}",
            (
                [row.receiver, *_head(row), _micros(row.even), _micros(row.own)]
                for row in results.rows
            ),
        ),
        _table(
            f"CPU a request of aegisd|endpoints|against|times, {even}|{own}|to reach|ambition",
            [*_ratios(results), *_array_ratios(results)],
        ),
        _table(
            f"aegisd, all stored|endpoints|{rate}|{cpu} at that rate|Postgres' CPU µs|"
            "times netdata's best form",
            (_stored(results, row) for row in results.stored),
        ),
        _table(
            "max_dgram_qlen|rate sent|seconds|sent|refused|lost in all",
            (_queue(queue) for queue in results.queues),
        ),
        _table(
            f"a receiver that only reads|endpoints|sent flat out, requests/s|{cpu} {even}",
            ([*_head(row), _micros(row.even)] for row in results.floor),
        ),
    ]
    absent = [f"{name} is not installed here." for name in sorted(results.absent)]
    return "\n\n".join([part for part in parts if part] + absent)


def _table(head: str, rows: Iterable[Iterable[object]]) -> str:
    names = head.split("|")
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *lines])


def _head(row: Row) -> list[str]:
    return [row.form, f"{row.endpoints:,}", row.problem or _highest(row)]


def _stored(results: Results, row: Row) -> list[str]:
    netdata = _of(results, "netdata", row.endpoints).values()
    return [
        *_head(row),
        _micros(row.own),
        f"{row.own.database_micros:.2f}" if row.own else NONE,
        _ratio(_value(row.own), [_value(other.own) for other in netdata]),
    ]


def _highest(row: Row) -> str:
    if row.highest is None:
        return NONE
    if row.lossy:
        return f"none: loss down to {row.highest:,.0f}"
    return f"{'≥ ' if row.limited else ''}{row.highest:,.0f}"


def _micros(outcome: Outcome | None) -> str:
    if outcome is None:
        return NONE
    lost = f" ({outcome.lost_share:.1%} lost)" if outcome.lost else ""
    return f"{outcome.micros:.2f}{lost}"


def _value(outcome: Outcome | None) -> float | None:
    return None if outcome is None else outcome.micros


def _of(results: Results, receiver: str, endpoints: int) -> dict[str, Row]:
    return {
        row.key: row
        for row in results.rows
        if row.receiver == receiver and row.endpoints == endpoints
    }


def _ratios(results: Results) -> list[list[str]]:
    lines = []
    for endpoints in sorted({row.endpoints for row in results.rows}):
        live = _of(results, "aegisd", endpoints)
        for peer in ("netdata", "statsd"):
            peers = _of(results, peer, endpoints)
            for goal in (goal for goal in GOALS if goal.key in live and peers):
                row = live[goal.key]
                against = list(peers.values()) if goal.best else [peers["one"]]
                cells = [
                    _ratio(_value(row.even), [_value(other.even) for other in against]),
                    _ratio(_value(row.own), [_value(other.own) for other in against]),
                ]
                aim = [goal.reach, goal.ambition] if peer == "netdata" else [NONE, NONE]
                whom = f"{peer}, {'its best form' if goal.best else 'one request a datagram'}"
                lines.append([row.form, f"{endpoints:,}", whom, *cells, *aim])
    return lines


def _array_ratios(results: Results) -> list[list[str]]:
    lines = []
    for (endpoints, block), micros in results.arrays.items():
        row = _of(results, "aegisd", endpoints).get("columns")
        if row is not None:
            cells = [_ratio(_value(row.even), [micros]), _ratio(_value(row.own), [micros])]
            whom = f"numpy in blocks of {block:,} ({micros:.3f} µs)"
            aim = [ARRAYS_REACH, ARRAYS_AMBITION]
            lines.append([row.form, f"{endpoints:,}", whom, *cells, *aim])
    return lines


def _ratio(value: float | None, others: list[float | None]) -> str:
    known = [other for other in others if other]
    return NONE if value is None or not known else f"{value / min(known):.2f}"


def _queue(queue: Queue) -> list[str]:
    if queue.outcome is None:
        return [str(queue.length), queue.problem, NONE, NONE, NONE, NONE]
    outcome = queue.outcome
    return [
        str(queue.length),
        f"{outcome.rate:,.0f}",
        f"{outcome.seconds:.0f}",
        f"{outcome.sent:,}",
        f"{outcome.refused:,}",
        f"{outcome.lost:,} ({outcome.lost_share:.3%})",
    ]

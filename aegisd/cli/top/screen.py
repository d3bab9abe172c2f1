"""Renders the live view with rich: what is known and a terminal's size in, one layout out. Pure.

Text from outside enters by ``_text`` only, which leaves no character that a terminal could obey.
It is last in its row. So where a terminal counts its cells differently, nothing else moves.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from attrs import Factory, frozen
from rich.layout import Layout
from rich.table import Table
from rich.text import Text

from aegisd.cli.printable import clean
from aegisd.cli.top.api import Alert, Backend, Endpoint, Metrics, Overview, Time
from aegisd.cli.top.controls import Controls, Sort
from aegisd.cli.top.sparkline import peak, sparkline

T = TypeVar("T")

NONE = "–"
HEALTHY = "healthy"
ACKNOWLEDGED = "acknowledged"

CARD_COLUMNS, TOTAL_COLUMNS = 10, 16  # 8 and 5 in 80 columns
LABEL_COLUMNS, PEAK_COLUMNS = 8, 20
NARROW_COLUMNS = 64  # narrower: tables drop columns, so that names have room

BAD, WARNING, GOOD, NEUTRAL, DIM, HEAD = "bold red", "yellow", "green", "cyan", "dim", "reverse"

_SEVERITIES = {"critical": BAD, "warning": WARNING, "info": NEUTRAL}
_CLASSES = (
    ("2xx", "status_2xx", GOOD),
    ("3xx", "status_3xx", NEUTRAL),
    ("4xx", "status_4xx", WARNING),
    ("5xx", "status_5xx", BAD),
    ("other", "status_other", ""),
)
_SORTS: dict[Sort, Callable[[Endpoint], float]] = {
    Sort.REQUESTS: lambda endpoint: endpoint.request_count,
    Sort.ERRORS: lambda endpoint: endpoint.error_rate,
    Sort.AVERAGE: lambda endpoint: endpoint.avg_latency or 0,
    Sort.P95: lambda endpoint: endpoint.p95_latency or 0,
}


@frozen
class View:
    """What is shown. The notices say what is wrong with connection or alerts, if anything."""

    address: str
    metrics: Metrics
    alerts: Sequence[Alert] = ()
    alerts_notice: str = ""
    notice: str = ""
    controls: Controls = Factory(Controls)
    keys: bool = False  # whether there is a keyboard


@frozen
class _Part:
    """A part of the screen, and how many rows it takes."""

    body: Table | Text
    rows: int


@frozen
class _Section:
    """A table: heads of its columns, the last of which gets all the room that is left; rows."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Text | str]]

    def fitted(self, room: int) -> list[_Part]:
        """The head and the first rows in at most ``room``; nothing where only the head fits."""
        if room < 2 or not self.rows:
            return []
        shown = self.rows[: room - 1]
        hidden = len(self.rows) - len(shown)
        table = Table(box=None, expand=True, header_style=HEAD, padding=(0, 1, 0, 0))
        *numbers, last = self.heads
        for head in numbers:
            table.add_column(head, no_wrap=True, justify="right")
        note = f"  ({hidden} more)" if hidden else ""
        table.add_column(f"{last}{note}", ratio=1, no_wrap=True, overflow="ellipsis")
        for row in shown:
            table.add_row(*row)
        return [_Part(table, 1 + len(shown))]


def render(view: View, columns: int, rows: int) -> Layout:
    """The view for so many columns and rows; each part gets rows by its importance."""
    data = view.metrics.data
    narrow = columns < NARROW_COLUMNS
    above = [_Part(_header(view), 1), *_cards(data.overview, columns)]
    if view.alerts_notice:
        above.append(_Part(_text(f" {view.alerts_notice}", WARNING), 1))
    foot = [_Part(_keys(view.controls), 1)] if view.keys else []

    def room() -> int:
        return rows - sum(part.rows for part in above + foot)

    endpoints = _endpoints(data.top_endpoints, view.controls, narrow)
    backends = _backends(data.backends.backends, view, narrow)
    above += _alerts(view.alerts).fitted(min(room(), 1 + max(1, room() // 4)))
    above += _charts(view.metrics, columns).fitted(room() // 2)
    below = backends.fitted(max(room() - 1 - len(endpoints.rows), room() // 3))
    above += endpoints.fitted(room() - sum(part.rows for part in below))
    return _layout(above, below + foot, rows)


def _layout(above: Sequence[_Part], below: Sequence[_Part], rows: int) -> Layout:
    """The parts from top to bottom. What is above is cut where there is no room for all."""
    room = max(1, rows - sum(part.rows for part in below))
    regions = []
    for part in [*above, _Part(Text(" "), room)]:
        if size := min(part.rows, room):
            regions.append(Layout(part.body, size=size))
            room -= size
    if rows > 1:
        regions += [Layout(part.body, size=part.rows) for part in below]
    whole = Layout()
    whole.split_column(*regions)
    return whole


def _header(view: View) -> Table:
    when = f"{_clock(view.metrics.timestamp)} UTC"
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1, no_wrap=True)
    if view.notice:
        grid.add_row(_text(f" {view.notice} – figures of {when}"), style="bold reverse")
    else:
        grid.add_column(justify="right", no_wrap=True)
        title = Text.assemble((" aegisd  ", "bold"), _text(view.address))
        title.no_wrap, title.overflow = True, "ellipsis"
        grid.add_row(title, Text(f" {when} ", style=DIM))
    return grid


def _keys(controls: Controls) -> Text:
    """The last line: what the keys do, or the filter that is being typed."""
    if controls.typing:
        return Text.assemble(" filter: ", _text(controls.filter), "▏  Enter keeps it, Esc drops it")
    order = f"{controls.sort.value} {'▲' if controls.reverse else '▼'}"
    kept = f"/ filter: {controls.filter}" if controls.filter else "/ filter"
    return _text(f" q quits   s sorts: {order}   r reverses   {kept}", DIM)


# the overview


def _cards(overview: Overview, columns: int) -> Iterable[_Part]:
    o = overview
    healthy = f"{_count(o.healthy_backends)}/{_count(o.total_backends)}"
    minute = [
        ("req/s", _rate(o.requests_per_second), "bold"),
        ("errors %", _percent(o.error_rate), "bold"),
        ("p50 ms", _ms(o.p50_latency), "bold"),
        ("p95 ms", _ms(o.p95_latency), "bold"),
        ("p99 ms", _ms(o.p99_latency), "bold"),
        ("avg ms", _ms(o.avg_latency), "bold"),
        ("conns", _count(o.active_connections), "bold"),
        ("backends", healthy, BAD if o.healthy_backends < o.total_backends else "bold"),
    ]
    totals = [
        ("total requests", _count(o.total_requests), ""),
        ("successful", _count(o.successful_requests), ""),
        ("failed", _count(o.failed_requests), ""),
        ("rate-limited", _count(o.rate_limited_requests), ""),
        ("denied", _count(o.rate_limit_denied), ""),
    ]
    for cards, wide in ((minute, CARD_COLUMNS), (totals, TOTAL_COLUMNS)):
        beside = max(1, columns // wide)
        for first in range(0, len(cards), beside):
            yield _Part(_card_row(cards[first : first + beside], wide), 2)


def _card_row(cards: Sequence[tuple[str, str, str]], wide: int) -> Text:
    labels, values = Text(no_wrap=True), Text(no_wrap=True)
    for label, value, style in cards:
        labels.append(f"{label:>{wide - 1}} ", DIM)
        values.append(f"{value:>{wide - 1}} ", style)
    return Text("\n", no_wrap=True, overflow="ellipsis").join([labels, values])


# the last 15 minutes


def _charts(metrics: Metrics, columns: int) -> _Section:
    data = metrics.data
    rates = [point.value for point in data.request_rate]
    latencies = [point.p95 for point in data.latency_percentiles]
    charts: list[tuple[str, Sequence[float | None], str, str]] = [
        ("req/s", rates, f"peak {_rate(peak(rates))}", ""),
        ("p95 ms", latencies, f"peak {_ms(peak(latencies))}", ""),
    ]
    for label, name, style in _CLASSES:
        counts: list[int] = [getattr(point, name) for point in data.status_distribution]
        if any(counts):
            charts.append((label, counts, f"total {_count(sum(counts))}", style))
    room = max(1, columns - LABEL_COLUMNS - PEAK_COLUMNS)
    rows = [
        (Text(label.rjust(LABEL_COLUMNS - 2), DIM), _chart(values, room, note, style))
        for label, values, note, style in charts
    ]
    return _Section(("", "last 15 minutes"), rows)


def _chart(values: Sequence[float | None], room: int, note: str, style: str) -> Text:
    return Text.assemble((sparkline(values, room), style), f"  {note}")


# the tables


def _endpoints(endpoints: Sequence[Endpoint], controls: Controls, narrow: bool) -> _Section:
    passing = [e for e in endpoints if controls.matches(e.method, e.path)]
    passing.sort(key=_SORTS[controls.sort], reverse=not controls.reverse)
    heads = ("requests", "errors %", "avg ms", "p95 ms", "endpoint, last hour")
    rows = [
        (
            _count(e.request_count).rjust(11),
            _percent(e.error_rate),
            _ms(e.avg_latency),
            _ms(e.p95_latency).rjust(8),
            Text.assemble(_text(f"{e.method:7} ", DIM), _text(e.path)),
        )
        for e in passing
    ]
    if not rows:
        why = "no endpoint matches the filter" if endpoints else "no requests in the last hour"
        return _Section(("endpoint, last hour",), [(Text(f" {why}", DIM),)])
    return _without((1, 2), heads, rows) if narrow else _Section(heads, rows)


def _backends(backends: Sequence[Backend], view: View, narrow: bool) -> _Section:
    passing = [b for b in backends if view.controls.matches(b.name, b.status)]
    passing.sort(key=lambda backend: (backend.status == HEALTHY, backend.name))
    heads = ("backend", "circuit", "ms", "seen", "name")
    rows = [
        (
            _text(f"{b.status:>11}", GOOD if b.status == HEALTHY else BAD),
            _circuit(b.circuit_breaker),
            _ms(b.response_time_ms),
            f"{_count(max(0, (view.metrics.timestamp - b.last_seen).total_seconds() // 1))} s",
            _text(b.name),
        )
        for b in passing
    ]
    return _without((1, 2), heads, rows) if narrow else _Section(heads, rows)


def _without(
    columns: Iterable[int], heads: Sequence[str], rows: Sequence[Sequence[Text | str]]
) -> _Section:
    def kept(cells: Sequence[T]) -> list[T]:
        return [cell for place, cell in enumerate(cells) if place not in columns]

    return _Section(kept(heads), [kept(row) for row in rows])


def _circuit(state: str | None) -> Text:
    name = (state or NONE).replace("_", " ")
    return _text(name, "" if name in ("closed", NONE) else WARNING)


def _alerts(alerts: Iterable[Alert]) -> _Section:
    return _Section(("alerts", "since", ""), [_alert(a) for a in sorted(alerts, key=_urgency)])


def _urgency(alert: Alert) -> tuple[bool, int, float]:
    ranks = list(_SEVERITIES)
    rank = ranks.index(alert.severity) if alert.severity in ranks else len(ranks)
    return alert.status == ACKNOWLEDGED, rank, -alert.triggered_at.timestamp()


def _alert(alert: Alert) -> Sequence[Text | str]:
    taken = alert.status == ACKNOWLEDGED
    style = DIM if taken else _SEVERITIES.get(alert.severity, "")
    what = _text(f"{alert.rule_name}: {alert.message}")
    message = Text.assemble(("acknowledged  ", DIM), what) if taken else what
    return _text(f" {alert.severity:<8}", style), _clock(alert.triggered_at), message


# how values are written


def _text(outside: str, style: str = "") -> Text:
    """Text that may come from outside."""
    return Text(clean(outside), style, no_wrap=True, overflow="ellipsis")


def _clock(time: Time) -> str:
    return f"{time:%H:%M:%S}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{value:,.1f}" if value < 10_000 else f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.2f}"


def _ms(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.{2 if value < 10 else 1 if value < 1000 else 0}f}"

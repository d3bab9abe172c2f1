"""Renders the live view: metrics and a terminal's size in, lines out. Pure.

Text from outside is last in its line. So where a terminal counts its cells differently, nothing
else moves.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import frozen

from aegisd.cli.top.api import Alert, Backend, Endpoint, Metrics, Overview
from aegisd.cli.top.cells import Line, Span, Style, cut, fit, line
from aegisd.cli.top.sparkline import Point, peak, sparkline
from aegisd.events.units import SECOND_US

NONE = "–"
HEALTHY = "healthy"
ACKNOWLEDGED = "acknowledged"

CARD_COLUMNS, TOTAL_COLUMNS = 10, 16  # 8 and 5 in 80 columns
LABEL_COLUMNS, PEAK_COLUMNS = 8, 20
METHOD_COLUMNS = 7  # OPTIONS
ROWS_WITH_BLANK_LINE = 30
NARROW_COLUMNS = 64  # narrower: tables drop columns, so that names have room

_SEVERITIES = {"critical": Style.BAD, "warning": Style.WARNING, "info": Style.NEUTRAL}
_CLASSES = (
    ("2xx", "status_2xx", Style.GOOD),
    ("3xx", "status_3xx", Style.NEUTRAL),
    ("4xx", "status_4xx", Style.WARNING),
    ("5xx", "status_5xx", Style.BAD),
    ("other", "status_other", Style.PLAIN),
)


@frozen
class View:
    """What is shown. The notices say what is wrong with connection or alerts, if anything."""

    address: str
    metrics: Metrics
    alerts: Sequence[Alert] = ()
    alerts_notice: str = ""
    notice: str = ""
    hint: str = ""


def render(view: View, columns: int, rows: int) -> list[Line]:
    """At most ``rows`` lines of at most ``columns`` cells, the most important first."""
    data = view.metrics.data
    narrow = columns < NARROW_COLUMNS
    alerts = [_alert(alert) for alert in sorted(view.alerts, key=_urgency)]
    charts = _charts(view.metrics, columns)
    endpoints = [_endpoint(endpoint, narrow) for endpoint in data.top_endpoints]
    endpoints = endpoints or [line(Span(" no requests in the last hour", Style.DIM))]
    reports = sorted(data.backends.backends, key=lambda b: (b.status == HEALTHY, b.name))
    backends = [_backend(backend, view.metrics.timestamp, narrow) for backend in reports]

    lines = [_header(view, columns)]
    if rows >= ROWS_WITH_BLANK_LINE:
        lines.append(())
    lines += _cards(data.overview, columns)
    if view.alerts_notice:
        lines.append(line(Span(f" {view.alerts_notice}", Style.WARNING)))
    room = max(0, rows - len(lines))
    lines += _section(" alerts", alerts, 1 + max(1, room // 4), columns)
    room = max(0, rows - len(lines))
    lines += _section(" last 15 minutes", charts, room // 2, columns)
    room = max(0, rows - len(lines))
    for_backends = max(room - 1 - len(endpoints), room // 3) if backends else 0
    below = _section(_backends_head(narrow), backends, for_backends, columns)
    room -= len(below)
    shown = endpoints[: max(0, room - 1)]  # without "n more": the daemon sends only the first ones
    lines += _section(_endpoints_head(narrow), shown, room, columns)
    return [cut(each, columns) for each in (lines + below)[:rows]]


def _header(view: View, columns: int) -> Line:
    when = f"{_clock(view.metrics.timestamp)} UTC"
    if view.notice:
        return line(Span(fit(f" {view.notice} – figures of {when}", columns), Style.ALARM))
    right = f"{when}  {view.hint} " if view.hint else f"{when} "
    address = fit(f"  {view.address}", columns - len(" aegisd ") - len(right))
    return line(Span(" aegisd", Style.BOLD), address, " ", Span(right, Style.DIM))


def _section(head: str, body: list[Line], room: int, columns: int) -> list[Line]:
    """A head and as much of ``body`` as fits; nothing where only the head would fit."""
    if room < 2 or not body:
        return []
    shown = body[: room - 1]
    hidden = len(body) - len(shown)
    note = f"{hidden} more " if hidden else ""
    return [line(Span(fit(head, columns - len(note)) + note, Style.HEAD)), *shown]


# the overview


def _cards(overview: Overview, columns: int) -> list[Line]:
    o = overview
    unhealthy = o.healthy_backends < o.total_backends
    minute = [
        ("req/s", _rate(o.requests_per_second), Style.BOLD),
        ("errors %", _percent(o.error_rate), Style.BOLD),
        ("p50 ms", _ms(o.p50_latency), Style.BOLD),
        ("p95 ms", _ms(o.p95_latency), Style.BOLD),
        ("p99 ms", _ms(o.p99_latency), Style.BOLD),
        ("avg ms", _ms(o.avg_latency), Style.BOLD),
        ("conns", _count(o.active_connections), Style.BOLD),
        (
            "backends",
            f"{_count(o.healthy_backends)}/{_count(o.total_backends)}",
            Style.BAD if unhealthy else Style.BOLD,
        ),
    ]
    totals = [
        ("total requests", _count(o.total_requests), Style.PLAIN),
        ("successful", _count(o.successful_requests), Style.PLAIN),
        ("failed", _count(o.failed_requests), Style.PLAIN),
        ("rate-limited", _count(o.rate_limited_requests), Style.PLAIN),
        ("denied", _count(o.rate_limit_denied), Style.PLAIN),
    ]
    return [*_grid(minute, CARD_COLUMNS, columns), *_grid(totals, TOTAL_COLUMNS, columns)]


def _grid(cards: list[tuple[str, str, Style]], wide: int, columns: int) -> list[Line]:
    """Cards side by side, each value under its label, in as many lines as they need."""
    lines = []
    beside = max(1, columns // wide)
    for first in range(0, len(cards), beside):
        row = cards[first : first + beside]
        lines.append(line(*(Span(label.rjust(wide - 1) + " ", Style.DIM) for label, _, _ in row)))
        lines.append(line(*(Span(value.rjust(wide - 1) + " ", style) for _, value, style in row)))
    return lines


# the last 15 minutes


def _charts(metrics: Metrics, columns: int) -> list[Line]:
    data = metrics.data
    rates = [Point(p.timestamp, p.value) for p in data.request_rate]
    latencies = [Point(p.timestamp, p.p95) for p in data.latency_percentiles]
    lines = [
        _chart("req/s", rates, f"peak {_rate(peak(rates))}", Style.PLAIN, columns),
        _chart("p95 ms", latencies, f"peak {_ms(peak(latencies))}", Style.PLAIN, columns),
    ]
    for label, name, style in _CLASSES:
        points = [Point(p.timestamp, getattr(p, name)) for p in data.status_distribution]
        if peak(points):
            total = sum(point.value or 0 for point in points)
            lines.append(_chart(label, points, f"total {_count(total)}", style, columns))
    return lines


def _chart(label: str, points: list[Point], note: str, style: Style, columns: int) -> Line:
    room = max(1, columns - LABEL_COLUMNS - PEAK_COLUMNS)
    return line(
        Span(f"{label:>{LABEL_COLUMNS - 1}} ", Style.DIM),
        Span(sparkline(points, room), style),
        f"  {note}",
    )


# the tables


def _endpoints_head(narrow: bool) -> str:
    extra = "" if narrow else f"{'errors %':>10}{'avg ms':>9}"
    return f"{'requests':>12}{extra}{'p95 ms':>9}  endpoint, last hour"


def _endpoint(endpoint: Endpoint, narrow: bool) -> Line:
    e = endpoint
    extra = "" if narrow else f"{_percent(e.error_rate):>10}{_ms(e.avg_latency):>9}"
    return line(
        f"{_count(e.request_count):>12}{extra}{_ms(e.p95_latency):>9}  ",
        Span(fit(e.method, METHOD_COLUMNS), Style.DIM),
        f" {e.path}",
    )


def _backends_head(narrow: bool) -> str:
    extra = "" if narrow else f"{'circuit':>10}{'ms':>9}"
    return f"{'backend':>12}{extra}{'seen':>9}  name"


def _backend(backend: Backend, now: int, narrow: bool) -> Line:
    circuit = (backend.circuit_breaker or NONE).replace("_", " ")
    age = max(0, now - backend.last_seen) // SECOND_US
    extra: list[Span | str] = [
        Span(_right(circuit, 10), Style.PLAIN if circuit in ("closed", NONE) else Style.WARNING),
        f"{_ms(backend.response_time_ms):>9}",
    ]
    return line(
        Span(_right(backend.status, 12), Style.GOOD if backend.status == HEALTHY else Style.BAD),
        *([] if narrow else extra),
        f"{f'{_count(age)} s':>9}  ",
        backend.name,
    )


def _urgency(alert: Alert) -> tuple[bool, int, int]:
    ranks = list(_SEVERITIES)
    rank = ranks.index(alert.severity) if alert.severity in ranks else len(ranks)
    return alert.status == ACKNOWLEDGED, rank, -alert.triggered_at


def _alert(alert: Alert) -> Line:
    taken = alert.status == ACKNOWLEDGED
    style = Style.DIM if taken else _SEVERITIES.get(alert.severity, Style.PLAIN)
    return line(
        " ",
        Span(fit(alert.severity, 9), style),
        f"{_clock(alert.triggered_at)}  ",
        Span("acknowledged  " if taken else "", Style.DIM),
        f"{alert.rule_name}: {alert.message}",
    )


# how values are written


def _right(text: str, columns: int) -> str:
    return " " + fit(text.rjust(columns - 1), columns - 1)


def _clock(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds // SECOND_US, UTC):%H:%M:%S}"


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

"""The live view as lines: what is shown, at every size, of any text."""

import json
import re
from typing import Any

import pytest
from cli.terminals import cells
from hypothesis import given
from hypothesis import strategies as st

from aegisd.cli.top import figures
from aegisd.cli.top.cells import Span, Style, ansi, clean, cut, fit, line, plain, width
from aegisd.cli.top.screen import View, render
from aegisd.cli.top.sparkline import Point, sparkline

NOW = "2026-11-23T08:14:00.000Z"
ADDRESS = "http://127.0.0.1:7460"
SGR = re.compile(r"\x1b\[[0-9;]*m")
BUCKETS = 90


def overview(**changes: Any) -> dict[str, Any]:
    return {
        "timestamp": NOW,
        "requestsPerSecond": 1234.56,
        "avgLatency": 12.345,
        "p50Latency": 9.876,
        "p95Latency": 45.61,
        "p99Latency": 1012.3,
        "errorRate": 1.5,
        "totalRequests": 1_234_567,
        "successfulRequests": 1_200_000,
        "failedRequests": 34_567,
        "rateLimitedRequests": 120,
        "rateLimitDenied": 5,
        "activeConnections": 34,
        "healthyBackends": 1,
        "totalBackends": 2,
    } | changes


def at(bucket: int) -> str:
    return f"2026-11-23T{7 + bucket // 360:02}:{bucket % 360 // 6:02}:{bucket % 6}0.000Z"


def endpoint(**changes: Any) -> dict[str, Any]:
    return {
        "method": "GET",
        "path": "/orders/{id}",
        "requestCount": 4321,
        "errorRate": 2.5,
        "avgLatency": 3.5,
        "p95Latency": None,
    } | changes


def backend(name: str, status: str = "healthy", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "status": status,
        "responseTimeMs": 12.5,
        "circuitBreaker": None,
        "lastSeen": "2026-11-23T08:13:48.500Z",
    } | changes


def message(**topics: Any) -> dict[str, Any]:
    data = {
        "overview": overview(),
        "requestRate": [
            {"timestamp": at(b), "value": float(b), "requestCount": 10 * b} for b in range(BUCKETS)
        ],
        "latencyPercentiles": [
            {"timestamp": at(b), "p50": 1.0, "p95": 20.0, "p99": 3.0, "avg": 1.0}
            for b in range(BUCKETS)
        ],
        "statusDistribution": [
            {
                "timestamp": at(b),
                "status2xx": 100,
                "status3xx": 0,
                "status4xx": 0,
                "status5xx": b % 2,
                "statusOther": 0,
            }
            for b in range(BUCKETS)
        ],
        "topEndpoints": [endpoint()],
        "backends": {
            "summary": {"total": 2, "healthy": 1, "unhealthy": 1},
            "backends": [backend("good"), backend("bad", "unhealthy", circuitBreaker="half_open")],
        },
    }
    return {"type": "metrics", "timestamp": NOW, "data": data | topics}


def alert(**changes: Any) -> figures.Alert:
    return figures.alert(
        {
            "id": "1",
            "ruleName": "High Error Rate",
            "severity": "critical",
            "status": "active",
            "message": "error_rate is 12 % over 5m (> 5 %)",
            "triggeredAt": "2026-11-23T08:10:00.000Z",
        }
        | changes
    )


def view(told: dict[str, Any] | None = None, **changes: Any) -> View:
    metrics = figures.metrics(figures.parse(json.dumps(told or message())))
    assert metrics is not None
    return View(ADDRESS, metrics, **changes)


def shown(view: View, columns: int = 80, rows: int = 24) -> list[str]:
    return [plain(each) for each in render(view, columns, rows)]


# what is shown


def test_the_figures_are_those_of_the_message() -> None:
    text = shown(view())
    assert text[0].split() == ["aegisd", ADDRESS, "08:14:00", "UTC"]
    assert " ".join(text[1].split()) == (
        "req/s errors % p50 ms p95 ms p99 ms avg ms conns backends"
    )
    assert text[2].split() == ["1,234.6", "1.50", "9.88", "45.6", "1,012", "12.3", "34", "1/2"]
    assert text[4].split() == ["1,234,567", "1,200,000", "34,567", "120", "5"]


def test_charts_say_their_peak_and_only_classes_that_came_have_one() -> None:
    text = "\n".join(shown(view()))
    assert re.search(r"req/s ▁.*█  peak 89\.0\n", text)
    assert re.search(r"p95 ms █+  peak 20\.0\n", text)
    assert re.search(r"2xx █+  total 9,000\n", text)
    assert re.search(r"5xx .*  total 45\n", text)
    assert not re.search("3xx|4xx|other", text)


def test_endpoints_and_backends_unhealthy_first() -> None:
    text = shown(view())
    assert [each.split() for each in text if "/orders" in each] == [
        ["4,321", "2.50", "3.50", "–", "GET", "/orders/{id}"]
    ]
    assert [each.split() for each in text[-2:]] == [
        ["unhealthy", "half", "open", "12.5", "11", "s", "bad"],
        ["healthy", "–", "12.5", "11", "s", "good"],
    ]


def test_a_terminal_that_is_taller_shows_more_endpoints() -> None:
    many = view(message(topEndpoints=[endpoint(path=f"/{n}") for n in range(10)]))

    def count(rows: int) -> int:
        return sum(" GET " in each for each in shown(many, rows=rows))

    assert 0 < count(16) < count(20) < count(40) == 10


def test_backends_that_have_no_room_are_counted() -> None:
    reports = [backend(f"b{n}") for n in range(20)] + [backend("down", "unhealthy")]
    text = shown(view(message(backends={"summary": {}, "backends": reports})))
    (head,) = (each for each in text if each.endswith("more"))
    listed = [each for each in text if each.startswith(("     healthy", "   unhealthy"))]
    assert "down" in listed[0]
    assert int(head.split()[-2]) == len(reports) - len(listed)


def test_alerts_the_most_urgent_first() -> None:
    alerts = [
        alert(id="1", severity="info", ruleName="Info"),
        alert(id="2", status="acknowledged", ruleName="Known"),
        alert(id="3", severity="odd", ruleName="Odd"),
        alert(id="4", ruleName="Older", triggeredAt="2026-11-23T08:09:00.000Z"),
        alert(id="5", ruleName="Newer"),
    ]
    text = shown(view(alerts=alerts), rows=60)
    names = [n for each in text for n in ("Info", "Known", "Odd", "Older", "Newer") if n in each]
    assert names == ["Newer", "Older", "Info", "Odd", "Known"]
    assert " critical 08:10:00  Newer: error_rate is 12 % over 5m (> 5 %)" in text
    assert any("acknowledged  Known" in each for each in text)


def test_a_lost_connection_stands_on_top_with_the_time_of_the_figures() -> None:
    top, *_ = render(view(notice="connection lost, trying again"), 80, 24)
    assert plain(top) == " connection lost, trying again – figures of 08:14:00 UTC"
    assert top[0].style is Style.ALARM


def test_that_alerts_are_not_known_is_said() -> None:
    assert " earlier alerts are not known: why" in shown(
        view(alerts_notice="earlier alerts are not known: why")
    )


def test_without_any_data() -> None:
    none = dict.fromkeys(("avgLatency", "p50Latency", "p95Latency", "p99Latency"))
    zero = {name: 0 for name in overview() if name not in none and name != "timestamp"}
    told = message(
        overview=overview(**none, **zero),
        requestRate=[],
        latencyPercentiles=[],
        statusDistribution=[],
        topEndpoints=[],
        backends={"summary": {"total": 0, "healthy": 0, "unhealthy": 0}, "backends": []},
    )
    text = shown(view(told))
    assert text[2].split() == ["0.0", "0.00", "–", "–", "–", "–", "0", "0/0"]
    assert [each.split() for each in text if "peak" in each] == [
        ["req/s", "peak", "–"],
        ["p95", "ms", "peak", "–"],
    ]
    assert text[-1] == " no requests in the last hour"


def test_a_narrow_terminal_keeps_names() -> None:
    text = shown(view(), columns=50)
    assert [each.split() for each in text if "/orders" in each] == [
        ["4,321", "–", "GET", "/orders/{id}"]
    ]


# any text, any size


@given(
    text=st.text(st.characters(codec=None), max_size=60),
    columns=st.integers(1, 200),
    rows=st.integers(1, 60),
)
def test_no_text_reaches_the_terminal_as_more_than_text(text, columns, rows) -> None:
    told = message(
        topEndpoints=[endpoint(path=text, method=text)],
        backends={"summary": {}, "backends": [backend(text, text, circuitBreaker=text)]},
    )
    alerts = [alert(ruleName=text, message=text, severity=text)]
    lines = render(view(told, alerts=alerts, notice=text, alerts_notice=text), columns, rows)
    assert len(lines) <= rows
    for each in lines:
        assert cells(plain(each)) <= columns
        assert plain(each).isprintable()
        assert SGR.sub("", ansi(each, color=True)).isprintable()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/a\x1b[31mb", "/a�[31mb"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("\x9b2J\x85\x7f\r\n\t", "�2J�����"),
        ("/\u202egpj.exe", "/�gpj.exe"),
        ("\u200b\u2028\ufeff\ud800\U000e0041", "�����"),
        ("/e\u0301", "/é"),
        ("\u0301x", "�x"),
        ("o" + "\u0332" * 50, "o\u0332\u0332�"),
        ("\n\u0301", "�"),
        ("/ก็่น้ำ", "/ก็่น้ำ"),
    ],
)
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert Span(text).text == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "columns", "fitted"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 5, "abcd…"),
        ("漢字", 5, "漢字 "),
        ("漢字漢字", 5, "漢字…"),
        ("漢字漢字", 4, "漢… "),
        ("e\u0332e\u0332e\u0332", 2, "e\u0332…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", -3, ""),
    ],
)
def test_text_is_fitted_into_cells(text: str, columns: int, fitted: str) -> None:
    assert fit(text, columns) == fitted
    assert width(fitted) == max(columns, 0)


def test_a_line_is_cut_over_its_spans() -> None:
    whole = line("abc", Span("漢字", Style.BAD), "def")
    assert cut(whole, 10) == whole
    assert [plain(cut(whole, n)) for n in (9, 7, 6, 5, 4, 3, 1, 0)] == [
        *("abc漢字d…", "abc漢…", "abc漢…", "abc…", "abc…", "ab…", "…", ""),
    ]


def test_styles_end_where_they_should_and_colors_can_be_left_out() -> None:
    spans = line(Span("a", Style.BAD), "b", Span("c", Style.GOOD))
    assert ansi(spans, color=True) == "\x1b[1;31ma\x1b[0mb\x1b[32mc\x1b[0m"
    assert ansi(spans, color=False) == "\x1b[1ma\x1b[0mbc"


# sparklines


def points(*values: float | None, first: int = 0) -> list[Point]:
    return [Point((first + n) * 10, value) for n, value in enumerate(values)]


def test_a_sparkline_goes_from_zero_to_its_peak() -> None:
    assert sparkline(points(0, 1, 2, 3, 4, 5, 6, 7, 8), 20) == "▁▂▃▄▅▆▇██"
    assert sparkline(points(None, 5, None), 20) == " █ "
    assert sparkline(points(0, 0), 20) == "▁▁"
    assert sparkline([], 20) == ""


def test_columns_that_hold_several_points_show_the_largest_and_stay_in_place() -> None:
    values = [1, 1, 8, 1, 1, 1, 1, 1, 4, 1]
    before = sparkline(points(*values), 6)
    after = sparkline(points(*values[1:], 1, first=1), 6)
    assert before == "▂█▂▂▅"
    assert after == "▂█▂▂▅▂"


@given(
    st.lists(st.tuples(st.integers(0, 2**53), st.none() | st.floats(-1e18, 1e18))),
    st.integers(-1, 100),
)
def test_a_sparkline_never_takes_more_than_its_columns(given_points, columns) -> None:
    series = [Point(*point) for point in given_points]
    assert len(sparkline(series, columns)) <= max(1, columns, 0)


@pytest.mark.parametrize("tiny", [2.2e-309, -2.2e-309])
def test_a_sparkline_of_figures_that_make_no_sense_is_one_all_the_same(tiny: float) -> None:
    assert len(sparkline([Point(0, -1.0), Point(1, tiny)], 2)) == 2


# what is read


def test_a_message_without_all_topics_is_not_there_yet() -> None:
    told = message()
    del told["data"]["backends"]
    assert figures.metrics(told) is None


@pytest.mark.parametrize(
    "topics",
    [
        {"overview": {}},
        {"overview": 5},
        {"overview": overview(errorRate="5")},
        {"overview": overview(errorRate=True)},
        {"overview": overview(errorRate=None)},
        {"overview": overview(totalRequests=float("inf"))},
        {"overview": overview(totalRequests=float("nan"))},
        {"overview": overview(totalRequests=10**400)},
        {"requestRate": [{"timestamp": "yesterday", "value": 1}]},
        {"requestRate": [{"timestamp": "0001-01-01T00:00:00+23:59", "value": 1}]},
        {"requestRate": [{"timestamp": 5, "value": 1}]},
        {"requestRate": 5},
        {"topEndpoints": {"a": 1}},
        {"topEndpoints": [endpoint(path=None)]},
        {"backends": {"backends": [[]]}},
    ],
)
def test_what_is_none_of_the_apis_figures_is_refused(topics) -> None:
    with pytest.raises(figures.Unreadable):
        figures.metrics(message(**topics))


@pytest.mark.parametrize("text", ["", "5", "[]", "{", "[" * 100_000, '{"a":1' + "0" * 5000 + "}"])
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(figures.Unreadable):
        figures.parse(text)

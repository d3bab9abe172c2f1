"""The live view as lines: what is shown, at every size, of any text."""

import json
import re
from typing import Any

from cli.api_samples import alert, backend, endpoint, message, overview
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from aegisd.cli.top import api
from aegisd.cli.top.controls import Controls
from aegisd.cli.top.screen import View, render

ADDRESS = "http://127.0.0.1:7460"
SGR = re.compile(r"\x1b\[[0-9;]*m")


def view(told: dict[str, Any] | None = None, **changes: Any) -> View:
    metrics = api.parse(json.dumps(told or message()), api.Metrics)
    return View(ADDRESS, metrics, **changes)


def printed(view: View, columns: int, rows: int, color: str | None) -> str:
    console = Console(
        width=columns, height=rows, force_terminal=color is not None, color_system=color
    )
    with console.capture() as captured:
        console.print(render(view, columns, rows), end="")
    return captured.get()


def shown(view: View, columns: int = 80, rows: int = 24) -> list[str]:
    text = printed(view, columns, rows, None)
    return [line.rstrip() for line in text.rstrip().split("\n")]


# what is shown


def test_overview_shows_the_values_of_the_message() -> None:
    text = shown(view())
    assert text[0].split() == ["aegisd", ADDRESS, "08:14:00", "UTC"]
    assert " ".join(text[1].split()) == (
        "req/s errors % p50 ms p95 ms p99 ms avg ms conns backends"
    )
    assert text[2].split() == ["1,234.6", "1.50", "9.88", "45.6", "1,012", "12.3", "34", "1/2"]
    assert text[4].split() == ["1,234,567", "1,200,000", "34,567", "120", "5"]


def test_charts_show_their_peak_and_only_status_classes_that_occurred() -> None:
    text = "\n".join(shown(view()))
    assert re.search(r"req/s ▁.*█  peak 89\.0\n", text)
    assert re.search(r"p95 ms █+  peak 20\.0\n", text)
    assert re.search(r"2xx █+  total 9,000\n", text)
    assert re.search(r"5xx .*  total 45\n", text)
    assert not re.search("3xx|4xx|other", text)


def test_endpoints_are_shown_and_unhealthy_backends_come_first() -> None:
    text = shown(view())
    assert [each.split() for each in text if "/orders" in each] == [
        ["4,321", "2.50", "3.50", "–", "GET", "/orders/{id}"]
    ]
    assert [each.split() for each in text[-2:]] == [
        ["unhealthy", "half", "open", "12.5", "11", "s", "bad"],
        ["healthy", "–", "12.5", "11", "s", "good"],
    ]


def test_taller_terminal_shows_more_endpoints() -> None:
    many = view(message(topEndpoints=[endpoint(path=f"/{n}") for n in range(10)]))

    def count(rows: int) -> int:
        return sum(" GET " in each for each in shown(many, rows=rows))

    assert 0 < count(16) < count(20) < count(40) == 10


def test_backends_without_room_are_counted() -> None:
    reports = [backend(f"b{n}") for n in range(20)] + [backend("down", "unhealthy")]
    text = shown(view(message(backends={"summary": {}, "backends": reports})))
    (head,) = (each for each in text if each.endswith("more)"))
    listed = [each for each in text if each.startswith(("    healthy", "  unhealthy"))]
    assert "down" in listed[0]
    assert head.endswith(f"name  ({len(reports) - len(listed)} more)")


def test_most_urgent_alert_comes_first() -> None:
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
    assert " critical 08:10:00 Newer: error_rate is 12 % over 5m (> 5 %)" in text
    assert any("acknowledged  Known" in each for each in text)


def test_lost_connection_is_in_the_header_with_the_time_of_the_metrics() -> None:
    lost = view(notice="connection lost, trying again")
    assert shown(lost)[0] == " connection lost, trying again – figures of 08:14:00 UTC"
    assert printed(lost, 80, 24, "standard").startswith("\x1b[1;7m connection lost")


def test_unknown_alerts_have_a_notice() -> None:
    assert " earlier alerts are not known: why" in shown(
        view(alerts_notice="earlier alerts are not known: why")
    )


def test_view_without_data_has_empty_charts_and_tables() -> None:
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


def test_narrow_terminal_keeps_names_and_drops_columns() -> None:
    text = shown(view(), columns=50)
    assert [each.split() for each in text if "/orders" in each] == [
        ["4,321", "–", "GET", "/orders/{id}"]
    ]


def test_endpoints_are_sorted_and_filtered_as_the_controls_say() -> None:
    slow, busy = endpoint(path="/slow", p95Latency=900.0), endpoint(path="/busy", requestCount=9999)
    told = message(topEndpoints=[busy, slow])

    def order(keys: str) -> list[str]:
        text = "\n".join(shown(view(told, controls=Controls().press(keys))))
        return re.findall(r"GET +/(\w+)", text)

    assert order("") == ["busy", "slow"]
    assert order("r") == ["slow", "busy"]
    assert order("sss") == ["slow", "busy"]
    assert order("/SLOW\r") == ["slow"]
    assert order("/none\r") == []


def test_keyboard_gives_a_last_line_of_keys_or_the_typed_filter() -> None:
    assert shown(view(keys=True))[23].startswith(" q quits   s sorts: requests ▼")
    assert shown(view(keys=True, controls=Controls().press("/abc")))[23].startswith(" filter: abc▏")
    assert "quits" not in "".join(shown(view()))


# any text, any size


@settings(deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=60),
    columns=st.integers(1, 200),
    rows=st.integers(1, 60),
)
def test_any_text_stays_printable_and_within_the_size(text, columns, rows) -> None:
    told = message(
        topEndpoints=[endpoint(path=text, method=text)],
        backends={"summary": {}, "backends": [backend(text, text, circuitBreaker=text)]},
    )
    alerts = [alert(ruleName=text, message=text, severity=text)]
    hostile = view(told, alerts=alerts, notice=text, alerts_notice=text, keys=True)
    lines = printed(hostile, columns, rows, "standard").removesuffix("\n").split("\n")
    assert len(lines) <= rows
    for each in lines:
        plain = SGR.sub("", each)
        assert plain.isprintable()
        assert cell_len(plain) <= columns

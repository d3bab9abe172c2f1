from collections.abc import Callable

import pytest
from live_state import Live
from sample_events import DAY, GOOD, MICROSECONDS, NOW

from aegisd.events.counters import COUNTERS

WINDOWS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}


def request(**fields: object) -> dict[str, object]:
    return GOOD["request"] | fields


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (0, {"status_other", "server_errors"}),
        (1, {"status_other", "succeeded"}),
        (101, {"status_other", "succeeded"}),
        (199, {"status_other", "succeeded"}),
        (200, {"status_2xx", "succeeded"}),
        (299, {"status_2xx", "succeeded"}),
        (302, {"status_3xx", "succeeded"}),
        (399, {"status_3xx", "succeeded"}),
        (400, {"status_4xx"}),
        (404, {"status_4xx"}),
        (429, {"status_4xx", "rate_limited"}),
        (499, {"status_4xx"}),
        (500, {"status_5xx", "server_errors"}),
        (599, {"status_5xx", "server_errors"}),
        (600, {"status_other"}),
        (999, {"status_other"}),
    ],
)
def test_status_counts_in_its_class(status: int, counted: set[str]) -> None:
    live = Live()
    live.burst(request(status_code=status))
    expected = {name: int(name in counted or name == "requests") for name in COUNTERS}
    overview = live.state.overview()
    assert overview.totals == expected
    assert overview.minute.counters == expected
    assert live.state.top_endpoints(1)[0].failed == int("succeeded" not in counted)


def test_durations_are_summed_of_the_requests_that_have_one() -> None:
    live = Live()
    live.burst([request(duration_ms=d) for d in (1, None, 2.5, 0, None)])
    minute = live.state.overview().minute
    assert minute.counters["timed"] == 3
    assert minute.counters["duration_sum_us"] == 3500
    assert minute.durations.sum() == 3
    figures = live.state.top_endpoints(1)[0]
    assert (figures.requests, figures.average_us) == (5, 3500 / 3)
    assert figures.p95_us == pytest.approx(2500, rel=0.01)


def test_endpoint_without_durations_has_no_latency() -> None:
    live = Live()
    live.burst(request())
    figures = live.state.top_endpoints(1)[0]
    assert (figures.average_us, figures.p95_us) == (None, None)


def test_rate_limit_decisions_are_counted() -> None:
    live = Live()
    live.burst([GOOD["rate_limit"] | {"allowed": a} for a in (True, False, False)])
    counters = live.state.window("1h").counters
    assert (counters["checked"], counters["denied"], counters["requests"]) == (3, 2, 0)
    assert live.state.overview().totals["denied"] == 2


@pytest.mark.parametrize("age", [0, 59, 60, 299, 300, 899, 900, 3599, 3600, 86_400])
def test_late_event_counts_in_the_totals_and_in_the_windows_that_hold_it(age: int) -> None:
    live = Live()
    live.burst(request(timestamp=NOW - age), request())
    assert {w: live.requests(w) for w in WINDOWS} == {
        w: 1 + (age < length) for w, length in WINDOWS.items()
    }
    assert live.state.overview().totals["requests"] == 2
    assert sum(live.top().values()) == 1 + (age < 3600)


def test_totals_are_exact_over_days_and_windows_show_only_their_time() -> None:
    live, sent, micros = Live(), 0, 0
    for hour in range(4 * 24):
        for late in (0, 1800, 5000, 3 * DAY):
            events = [request(duration_ms=hour + 0.001, timestamp=live.wall - late)] * 7
            live.burst(events)
            sent += 7
            micros += 7 * (hour * 1000 + 1)
        live.wait(3600)
    totals = live.state.overview().totals
    assert (totals["requests"], totals["timed"], totals["duration_sum_us"]) == (sent, sent, micros)
    assert {w: live.requests(w) for w in WINDOWS} == dict.fromkeys(WINDOWS, 0)
    live.burst(request())
    assert {w: live.requests(w) for w in WINDOWS} == dict.fromkeys(WINDOWS, 1)


@pytest.mark.parametrize(
    "requests",
    [
        lambda live: live.state.overview().totals["requests"],
        lambda live: live.state.overview().minute.counters["requests"],
        lambda live: live.state.window("5m").counters["requests"],
        lambda live: live.state.series().counters[:, COUNTERS.index("requests")].sum(),
        lambda live: live.state.top_endpoints(1)[0].requests,
    ],
)
def test_request_is_in_each_figure_at_once(requests: Callable[[Live], int]) -> None:
    live = Live()
    for n in range(1, 4):
        live.burst(request())
        assert requests(live) == n


def test_overview_has_the_wall_clock_s_time() -> None:
    live = Live()
    live.wait(1.5)
    assert live.state.overview().now == NOW * MICROSECONDS + 1_500_000


@pytest.mark.parametrize("step", [3600, -3600, 300, -300, 61, 400 * DAY])
def test_clock_that_is_set_neither_empties_nor_doubles_a_window(step: int) -> None:
    live = Live()
    for second in range(1500):
        if second in (700, 710, 1200):
            live.set_clock(step)
        live.burst([request(timestamp=live.wall)] * 3)
        live.wait(1)
        for window, length in (("1m", 60), ("15m", 900)):
            # the second that has begun belongs to the window, and nothing came in it yet
            assert live.requests(window) == 3 * min(second + 1, length - 1)
    assert live.state.overview().totals["requests"] == 3 * 1500
    assert live.top() == {"/": 3 * 1500}


@pytest.mark.parametrize("drift", [0.02, -0.02])
def test_drifting_clock_keeps_the_windows(drift: float) -> None:
    live = Live(wall=NOW + 0.5)
    for _ in range(600):
        live.burst(request(timestamp=live.wall))
        live.wait(1)
        live.set_clock(drift)
        assert live.requests("1h") == live.state.overview().totals["requests"]
    assert abs(live.requests("1m") - 59) <= 2


@pytest.mark.parametrize("step", [0, 3600, -3600, 7])
def test_series_have_buckets_on_the_wall_clock_s_tens_of_seconds(step: int) -> None:
    live = Live()
    live.set_clock(step)
    for _ in range(100):
        live.burst([request(timestamp=live.wall, duration_ms=2)] * 2)
        live.wait(1)
    series = live.state.series()
    starts = series.starts.tolist()
    assert len(starts) == 90
    assert all(start % 10 == 0 for start in starts)
    assert starts[-1] <= live.wall < starts[-1] + 10
    requests = series.counters[:, COUNTERS.index("requests")]
    assert requests.sum() == sum(series.durations(n).sum() for n in range(90)) == 200
    inner = [n for n, s in zip(requests.tolist(), starts, strict=True) if n and s < starts[-1]]
    assert inner[1:] == [20] * len(inner[1:])

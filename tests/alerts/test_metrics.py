"""The value of each metric over its window."""

from typing import get_args

import pytest
from alerts.rule import WALL, live_with, requests, rule

from aegisd.alerts.metrics import METRICS, value_of
from aegisd.config.settings import WINDOW_SECONDS, AlertMetric

LONG = 1e9  # seconds of running: every window is full
MIXED = ((200, 10, 50), (101, None, 10), (404, 20, 20), (429, 30, 10), (503, 40, 8), (0, None, 2))


def test_table_has_exactly_the_metrics_that_settings_allow() -> None:
    assert tuple(METRICS) == get_args(AlertMetric)


@pytest.mark.parametrize("window", WINDOW_SECONDS)
@pytest.mark.parametrize(
    ("metric", "value"),
    [("error_rate", 40.0), ("server_error_rate", 10.0), ("rate_limit_rate", 10.0)],
)
def test_rates_are_percents_of_all_requests(metric: str, value: float, window: str) -> None:
    condition = rule(metric, window=window).condition
    assert value_of(condition, live_with(*MIXED).window(window), LONG) == value


@pytest.mark.parametrize(("metric", "value"), [("latency_p95", 40), ("latency_p99", 40)])
def test_latencies_count_only_requests_with_a_duration(metric: str, value: float) -> None:
    condition = rule(metric).condition
    live = live_with((200, None, 1000), (200, 10, 94), (200, value, 6))
    assert value_of(condition, live.window("5m"), LONG) == pytest.approx(value, rel=0.01)


def test_p95_and_p99_differ() -> None:
    window = live_with((200, 10, 95), (200, 1000, 5)).window("5m")
    assert value_of(rule("latency_p95").condition, window, LONG) == pytest.approx(10, rel=0.01)
    assert value_of(rule("latency_p99").condition, window, LONG) == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(("window", "seconds"), WINDOW_SECONDS.items())
def test_request_rate_is_per_second_of_the_window(window: str, seconds: int) -> None:
    condition = rule("request_rate", window=window).condition
    assert value_of(condition, live_with((200, 1, 90)).window(window), LONG) == 90 / seconds


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("error_rate", 0),
        ("server_error_rate", 0),
        ("rate_limit_rate", 0),
        ("request_rate", 0),
        ("latency_p95", None),
        ("latency_p99", None),
    ],
)
def test_window_without_requests_has_rate_0_and_no_latency(
    metric: str, value: float | None
) -> None:
    assert value_of(rule(metric).condition, live_with().window("5m"), LONG) == value


@pytest.mark.parametrize("operator", ["<", "<=", "=="])
def test_window_not_full_has_no_request_rate_for_low_operators(operator: str) -> None:
    condition = rule("request_rate", operator).condition
    window = live_with((200, 1, 30)).window("5m")
    assert value_of(condition, window, 299.9) is None
    assert value_of(condition, window, 300) == 0.1


def test_events_older_than_the_window_no_longer_count() -> None:
    live = live_with((500, 10, 10))
    requests(live, (200, 1, 10), at=WALL)
    live.advance(WALL + 59, 59)
    assert value_of(rule().condition, live.window("1m"), LONG) == 50
    live.advance(WALL + 61, 61)
    assert value_of(rule().condition, live.window("1m"), LONG) == 0
    assert value_of(rule().condition, live.window("5m"), LONG) == 50

"""With sampling, stored rows have weights; rollups and live figures count all events."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from support import Daemon, wait_until

RATE = 0.1
EVENTS, EVENTS_A_MESSAGE = 20_000, 100
FAILURES = {429: 40, 503: 25, 0: 99}  # a status, and how often it comes: every so many events

CONFIG = """
[metrics.sampling]
enabled = true
rate = 0.1
"""


def status(number: int) -> int:
    return next((code for code, every in FAILURES.items() if number % every == 0), 200)


def near(estimate: int, truth: int) -> bool:
    """Within five standard deviations of what a sample of ``truth`` successes estimates."""
    return abs(estimate - truth) < 5 * math.sqrt(truth * (1 - RATE) / RATE)


def test_sample_is_stored_with_weights_that_sum_up_to_all_events(
    make_storing: Callable[..., Daemon], rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    sampled = make_storing(CONFIG)
    sampled.start()
    codes = [status(number) for number in range(EVENTS)]
    failed = sum(code != 200 for code in codes)
    events = [
        {"method": "GET", "path": f"/e{number % 2}", "status_code": code, "duration_ms": number % 9}
        for number, code in enumerate(codes)
    ]
    decision = {"kind": "rate_limit", "key": "k", "allowed": False}
    sampled.emit(*(events[i : i + EVENTS_A_MESSAGE] for i in range(0, EVENTS, EVENTS_A_MESSAGE)))
    sampled.emit([decision] * 50)
    sampled.wait_for_events(EVENTS + 50)
    wait_until(lambda: sampled.get("/api/status")["journal"]["events"] == 0, "nothing waits")

    ingest = sampled.get("/api/ingest")
    assert ingest["events"]["request"] == EVENTS
    stored = EVENTS - ingest["sampledOut"]
    assert sampled.get("/api/status")["flush"]["rows"] == stored + 50
    assert failed < stored < EVENTS / 4
    assert sum(ingest["dropped"].values()) == 0
    assert f"aegisd_sampled_out_events_total {EVENTS - stored}.0" in sampled.fetch("/metrics")[1]

    realtime = sampled.get("/api/metrics/realtime")
    assert (realtime["totalRequests"], realtime["failedRequests"]) == (EVENTS, failed)
    assert realtime["rateLimitedRequests"] == codes.count(429)

    by_status = "SELECT status_code, weight, count(*) FROM request_metrics GROUP BY 1, 2 ORDER BY 1"
    counts = {code: (weight, count) for code, weight, count in rows(by_status)}
    assert counts.pop(200) == (10.0, stored - failed)
    assert counts == {code: (1.0, codes.count(code)) for code in FAILURES}

    raw = sampled.get("/api/metrics/overview?exact=true")
    assert raw["failedRequests"] == failed
    assert raw["rateLimitedRequests"] == codes.count(429)
    assert raw["successfulRequests"] == (stored - failed) * 10
    assert near(raw["successfulRequests"], EVENTS - failed)
    assert raw["totalRequests"] == raw["successfulRequests"] + failed
    assert raw["errorRate"] == 100 * failed / raw["totalRequests"]
    assert (raw["p50Latency"], raw["rateLimitDenied"]) == (4, 50)

    # the rollups count every event
    overview = sampled.get("/api/metrics/overview")
    assert (overview["totalRequests"], overview["failedRequests"]) == (EVENTS, failed)
    assert overview["rateLimitedRequests"] == codes.count(429)
    assert overview["p50Latency"] == pytest.approx(4, rel=0.01)

    rates = sampled.get("/api/metrics/request-rate")
    assert sum(point["requestCount"] for point in rates) == overview["totalRequests"]
    classes = sampled.get("/api/metrics/status-distribution")
    assert sum(point["status2xx"] for point in classes) == overview["successfulRequests"]
    assert sum(point["status4xx"] for point in classes) == codes.count(429)
    assert sum(point["statusOther"] for point in classes) == codes.count(0)
    endpoints = sampled.get("/api/metrics/top-endpoints")
    assert sum(each["requestCount"] for each in endpoints) == overview["totalRequests"]
    assert [each["requestCount"] for each in endpoints] == [EVENTS // 2] * 2
    decisions = sampled.get("/api/metrics/rate-limits")
    assert (decisions["checked"], decisions["denied"]) == (50, 50)

"""Every path of the API that shows figures: shapes, names, values."""

import math
import re
import time

import pytest
import trio
from store.databases import ask
from web.conftest import AWAY
from web.streams import wait_until

from aegisd.store.backlog import backlog
from aegisd.times import parse_rfc3339

OVERVIEW = {
    "timestamp",
    "requestsPerSecond",
    "avgLatency",
    "p50Latency",
    "p95Latency",
    "p99Latency",
    "errorRate",
    "totalRequests",
    "successfulRequests",
    "failedRequests",
    "rateLimitedRequests",
    "rateLimitDenied",
    "activeConnections",
    "healthyBackends",
    "totalBackends",
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
OF_ENDPOINT = ("request-rate", "latency", "status-distribution", "heatmap")
SERIES = (*OF_ENDPOINT, "nodes", "top-endpoints", "rate-limits")
POINTS = {"5m": 30, "15m": 90, "1h": 60, "6h": 72, "24h": 96, "7d": 84, "30d": 120}


def request(path: str = "/users/1", status: int = 200, duration: float | None = None) -> dict:
    event = {"method": "GET", "path": path, "status_code": status}
    return event if duration is None else event | {"duration_ms": duration}


EVENTS = [
    *(request(f"/users/{i}", 200, float(i)) for i in range(1, 101)),
    *(request("/gone", status) for status in (404, 429, 500, 0, 101, 302)),
    {"kind": "backend", "backend_name": "b", "status": "unhealthy"},
    {
        "kind": "backend",
        "backend_name": "a",
        "status": "healthy",
        "response_time_ms": 1.5,
        "circuit_breaker": "half_open",
    },
    {"kind": "rate_limit", "key": "k", "allowed": False},
    {"kind": "rate_limit", "key": "k", "allowed": True},
    {"kind": "rate_limit", "key": "j", "allowed": True},
    {"kind": "system", "active_connections": 7},
]


@pytest.mark.parametrize("path", ["realtime", "overview"])
async def test_overview_without_events_has_null_latencies_and_zero_rates(serving, dsn, path):
    async with serving(dsn=dsn) as web:
        overview = await web.data(f"/api/metrics/{path}")
    assert overview.keys() == OVERVIEW
    assert TIME.fullmatch(overview.pop("timestamp"))
    nulls = {name for name, value in overview.items() if value is None}
    assert nulls == {name for name in OVERVIEW if name.endswith("Latency")}
    assert {value for value in overview.values() if value is not None} == {0}


@pytest.mark.parametrize("path", ["realtime", "overview?range=5m", "overview?range=5m&node=here"])
async def test_overview_has_figures_of_its_events(serving, dsn, path):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        overview = await web.data(f"/api/metrics/{path}")
    assert overview["totalRequests"] == 106
    assert overview["successfulRequests"] == 102
    assert overview["failedRequests"] == 4
    assert overview["rateLimitedRequests"] == 1
    assert overview["rateLimitDenied"] == 1
    assert overview["errorRate"] == pytest.approx(100 * 4 / 106)
    assert overview["avgLatency"] == pytest.approx(50.5)
    assert overview["p50Latency"] == pytest.approx(50, rel=0.01)
    assert overview["p95Latency"] == pytest.approx(95, rel=0.01)
    assert overview["p99Latency"] == pytest.approx(99, rel=0.01)
    longest = 60 if path == "realtime" else 310  # a range begins with a whole rollup
    shortest = 60 if path == "realtime" else 300
    assert 106 / longest <= overview["requestsPerSecond"] <= 106 / shortest
    assert (overview["healthyBackends"], overview["totalBackends"]) == (1, 2)
    assert overview["activeConnections"] == 7


async def test_overview_of_another_node_is_empty(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        overview = await web.data("/api/metrics/overview?node=elsewhere")
    assert (overview["totalRequests"], overview["totalBackends"]) == (0, 0)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("request-rate", {"timestamp", "value", "requestCount", "failedCount"}),
        ("latency", {"timestamp", "p50", "p95", "p99", "avg"}),
        (
            "status-distribution",
            {"timestamp", "status2xx", "status3xx", "status4xx", "status5xx", "statusOther"},
        ),
    ],
)
async def test_series_without_events_has_a_point_for_each_bucket(serving, dsn, path, names):
    async with serving(dsn=dsn) as web:
        for name, count in POINTS.items():
            series = await web.data(f"/api/metrics/{path}?range={name}")
            assert len(series) in (count, count + 1)  # the range starts within a bucket
            assert all(point.keys() == names for point in series)
            times = [point["timestamp"] for point in series]
            assert times == sorted(times)
            assert all(TIME.fullmatch(text) for text in times)
            values = {v for p in series for k, v in p.items() if k != "timestamp"}
            assert values == ({None} if path == "latency" else {0})
        assert len(await web.data(f"/api/metrics/{path}")) in (60, 61)


async def test_series_hold_every_event(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        rate = await web.data("/api/metrics/request-rate?range=5m")
        latency = await web.data("/api/metrics/latency?range=7d")
        statuses = await web.data("/api/metrics/status-distribution?range=5m")
    assert sum(point["requestCount"] for point in rate) == 106
    assert sum(point["failedCount"] for point in rate) == 4
    (point,) = [point for point in latency if point["avg"] is not None]
    shares = [point["p50"], point["p95"], point["p99"]]
    assert shares == pytest.approx([50, 95, 99], rel=0.01)
    assert point["avg"] == 50.5
    sums = {k: sum(p[k] for p in statuses) for k in statuses[0] if k != "timestamp"}
    assert sums == {
        "status2xx": 100,
        "status3xx": 1,
        "status4xx": 2,
        "status5xx": 1,
        "statusOther": 2,
    }


async def test_busiest_endpoint_comes_first_under_its_template(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        both = await web.data("/api/metrics/top-endpoints?range=5m")
        one = await web.data("/api/metrics/top-endpoints?limit=1")
    assert both[0] == {
        "method": "GET",
        "path": "/users/{id}",
        "requestCount": 100,
        "errorRate": 0,
        "avgLatency": 50.5,
        "p95Latency": pytest.approx(95, rel=0.01),
    }
    assert both[1]["path"] == "/gone"
    assert both[1]["errorRate"] == pytest.approx(100 * 4 / 6)
    assert (both[1]["avgLatency"], both[1]["p95Latency"]) == (None, None)
    assert one == both[:1]


async def test_backends_show_latest_report_of_each(serving):
    async with serving() as web:
        assert await web.data("/api/metrics/backends") == {
            "summary": {"total": 0, "healthy": 0, "unhealthy": 0},
            "backends": [],
            "observed": [],
        }
        web.process(*EVENTS)
        answer = await web.data("/api/metrics/backends")
    assert answer["summary"] == {"total": 2, "healthy": 1, "unhealthy": 1}
    assert all(TIME.fullmatch(backend.pop("lastSeen")) for backend in answer["backends"])
    assert answer["backends"] == [
        {"name": "a", "status": "healthy", "responseTimeMs": 1.5, "circuitBreaker": "half_open"},
        {"name": "b", "status": "unhealthy", "responseTimeMs": None, "circuitBreaker": None},
    ]


async def test_backends_that_requests_name_are_observed(serving):
    request = {"kind": "request", "method": "GET", "path": "/", "status_code": 200}
    names = ["a", "a", "\x00 <b>\u202e", "", None]
    async with serving() as web:
        web.process(
            *(request | {"backend": name, "duration_ms": 40} for name in names),
            request | {"backend": "a", "status_code": 502},
        )
        answer = await web.data("/api/metrics/backends")
    assert all(TIME.fullmatch(backend.pop("lastSeen")) for backend in answer["observed"])
    assert [each.pop("p95Latency") for each in answer["observed"]] == [pytest.approx(40, 0.01)] * 2
    assert answer == {
        "summary": {"total": 0, "healthy": 0, "unhealthy": 0},
        "backends": [],
        "observed": [
            {"name": "a", "requestCount": 3, "errorRate": pytest.approx(100 / 3), "avgLatency": 40},
            {"name": "\ufffd <b>\u202e", "requestCount": 1, "errorRate": 0, "avgLatency": 40},
        ],
    }


async def test_rate_limits_list_key_with_most_denials_first(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        answer = await web.data("/api/metrics/rate-limits?range=5m")
    assert answer == {
        "checked": 3,
        "denied": 1,
        "topKeys": [
            {"key": "k", "checked": 2, "denied": 1},
            {"key": "j", "checked": 1, "denied": 0},
        ],
    }


async def test_ingest_counts_events_rejects_and_altered_texts(serving):
    async with serving() as web:
        web.process(*EVENTS, {"method": "GET"}, request("/\0"))
        web.process_messages(b"\xc1", oversize=2)
        answer = await web.data("/api/ingest")
    assert answer.keys() == {
        *("listeners", "events", "rejected", "altered", "disabled", "sampledOut"),
        *("dropped", "sources", "recentRejects"),
    }
    (listener,) = answer["listeners"]
    assert listener.keys() == {"address", "messages", "bytes", "kernelDropped"}
    assert listener["address"].startswith("udp:127.0.0.1:")
    assert answer["events"] == {"request": 107, "rate_limit": 3, "backend": 2, "system": 1}
    assert {k: n for k, n in answer["rejected"].items() if n} == {
        "missing_field": 1,
        "malformed": 1,
        "oversize": 2,
    }
    assert (answer["altered"], answer["disabled"], answer["sampledOut"]) == (1, 0, 0)
    assert answer["dropped"] == {"queue": 0, "journal": 0, "database": 0}
    newest, before, *_ = answer["recentRejects"]
    assert (newest["reason"], newest["preview"], newest["count"]) == ("oversize", "", 2)
    assert (before["reason"], before["preview"], before["count"]) == ("malformed", "c1", 1)
    assert (before["pid"], before["uid"]) == (None, None)  # UDP doesn't tell
    assert TIME.fullmatch(before["timestamp"])


async def test_gap_in_seq_shows_as_lost_events_of_the_source(serving):
    import msgpack  # noqa: PLC0415

    async with serving() as web:
        for seq in (0, 5):
            message = {"source": "s", "seq": seq, "events": [request()]}
            web.process_messages(msgpack.packb(message))
        sources = (await web.data("/api/ingest"))["sources"]
    assert sources == [{"source": "s", "received": 2, "lost": 4}]


async def test_status_of_a_healthy_daemon_has_no_degradation(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        status = await web.data("/api/status")
    assert status["node"] == "here"
    assert 0 <= status["uptimeSeconds"] < 120
    assert TIME.fullmatch(status["configurationLoadedAt"])
    assert status["database"] == {"connected": True, "lagSeconds": 0, "lastError": None}
    assert status["journal"].keys() == {"events", "bytes", "oldest", "lastError"}
    assert (status["journal"]["events"], status["journal"]["oldest"]) == (0, None)
    assert status["journal"]["bytes"] > 0
    assert status["journal"]["lastError"] is None
    assert status["flush"]["rows"] == len(EVENTS)
    assert status["flush"]["failures"] == 0
    assert TIME.fullmatch(status["flush"]["lastAt"])
    assert status["degradations"] == []


async def test_failing_fold_is_shown_until_it_works_again(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        upkeep = web.daemon.upkeep
        names = ("request_pieces", "elsewhere")
        for name, other in (names, names[::-1]):
            await ask(dsn, f"ALTER TABLE {name} RENAME TO {other}")
            await upkeep.maintain()
            status, page = await web.data("/api/status"), (await web.get("/metrics")).text
            failing = int(name == "request_pieces")
            assert status["upkeep"]["failures"]["fold"] == failing
            assert abs(status["upkeep"]["clockAheadSeconds"]) < 60
            assert f'aegisd_upkeep_failures{{duty="fold"}} {failing}.0' in page
            assert "aegisd_clock_ahead_seconds " in page
            assert any("(fold)" in line for line in status["degradations"]) == bool(failing)


async def test_database_that_went_away_without_writes_is_a_degradation(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        ready = trio.Event()
        ready.set()
        async with trio.open_nursery() as nursery:
            postgres = web.daemon.postgres
            postgres.dsn = AWAY
            postgres.close()
            nursery.start_soon(web.daemon.upkeep.run, ready)
            await wait_until(lambda: web.daemon.upkeep.duties.is_failing("database"))
            told = (await web.data("/readyz"))["degradations"]
            nursery.cancel_scope.cancel()
    assert told == ["the database's upkeep fails (database)"]


async def test_policy_of_the_database_decides_buckets_of_a_range(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        keys = ("metrics.rollups.ten_seconds_days", "metrics.rollups.minute_days")
        await ask(dsn, "INSERT INTO aegisd_policy SELECT unnest($1::text[]), 0", keys)
        before = (await web.get("/api/metrics/request-rate?range=24h")).json()["range"]
        await web.daemon.upkeep.maintain()
        after = (await web.get("/api/metrics/request-rate?range=24h")).json()["range"]
    assert (before["bucketSeconds"], after["bucketSeconds"]) == (900, 7200)


async def test_status_shows_waiting_events_while_the_database_is_away(serving):
    async with serving() as web:
        before = (await web.data("/api/status"))["journal"]
        web.process(*EVENTS)
        status = await web.data("/api/status")
    assert (before["events"], before["oldest"]) == (0, None)
    assert status["journal"]["events"] == len(EVENTS)
    assert status["journal"]["bytes"] > before["bytes"]
    assert TIME.fullmatch(status["journal"]["oldest"])
    assert 0 <= status["database"]["lagSeconds"] < 120


async def test_alerts_are_listed_by_status_and_found_by_id(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*[request(status=500)] * 10)
        web.daemon.alerts.check()
        await web.daemon.alerts.restore_and_save()
        (alert,) = await web.data("/api/alerts")
        assert (await web.data("/api/alerts?status=active&limit=1")) == [alert]
        assert (await web.data("/api/alerts?status=resolved")) == []
        assert await web.data(f"/api/alerts/{alert['id']}") == alert
        unknown = await web.get("/api/alerts/00000000-0000-0000-0000-000000000000")
        nonsense = await web.get("/api/alerts/nonsense")
    assert alert.keys() == {
        *("id", "ruleId", "ruleName", "severity", "status", "message", "triggeredAt"),
        *(
            "resolvedAt",
            "acknowledgedAt",
            "acknowledgedBy",
            "resolvedBy",
            "currentValue",
            "threshold",
        ),
    }
    assert (alert["ruleId"], alert["status"], alert["currentValue"]) == (
        "high-error-rate",
        "active",
        100,
    )
    assert TIME.fullmatch(alert["triggeredAt"])
    assert (unknown.status_code, nonsense.status_code) == (404, 404)


@pytest.mark.parametrize("path", SERIES)
async def test_answer_has_its_range_in_whole_rollups(serving, dsn, path):
    async with serving(dsn=dsn) as web:
        free = (await web.get(f"/api/metrics/{path}?from=1000000003&to=1000000031")).json()
        named = (await web.get(f"/api/metrics/{path}?range=1h")).json()["range"]
    assert free["range"] == {
        "from": "2001-09-09T00:00:00.000Z",  # of that time days alone are kept
        "to": "2001-09-10T00:00:00.000Z",
        "bucketSeconds": 86_400,
        "completeUntil": None,
    }
    assert named.keys() == {"from", "to", "bucketSeconds", "completeUntil"}
    assert named["bucketSeconds"] == 60
    assert named["from"].endswith("0.000Z")


@pytest.mark.parametrize("path", [*SERIES, "overview?exact=true", "latency?exact=true"])
async def test_answer_is_complete_until_the_first_unbuffered_event(serving, dsn, monkeypatch, path):
    """Rollups count buffered events; raw rows count committed events only."""
    monkeypatch.setattr(backlog, "MAX_BUFFERED_BYTES", 0)
    async with serving("[metrics]\nflush_interval_ms = 3600000", dsn=dsn) as web:
        before = math.floor(time.time())
        for _ in range(3):
            web.process({"method": "GET", "path": "/", "status_code": 200})
        after = time.time()
        until = (await web.get(f"/api/metrics/{path}")).json()["range"]["completeUntil"]
    assert TIME.fullmatch(until)
    assert before <= parse_rfc3339(until) / 1_000_000 <= after


async def test_exact_answers_equal_those_of_raw_rows(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS))
        overview = await web.data("/api/metrics/overview?exact=true")
        latency = await web.data("/api/metrics/latency?exact=true&range=7d")
        rolled_up = await web.data("/api/metrics/overview?exact=false")
    shares = ("p50Latency", "p95Latency", "p99Latency")
    assert [overview[share] for share in shares] == [50, 95, 99]
    (point,) = [point for point in latency if point["avg"] is not None]
    assert (point["p50"], point["p95"], point["p99"], point["avg"]) == (50, 95, 99, 50.5)
    assert all(rolled_up[share] == pytest.approx(overview[share], rel=0.01) for share in shares)
    inexact = {*shares, "timestamp", "requestsPerSecond"}
    assert {k: v for k, v in overview.items() if k not in inexact} == {
        k: v for k, v in rolled_up.items() if k not in inexact
    }


async def test_limit_bounds_keys_of_rate_limits(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS)
        answer = await web.data("/api/metrics/rate-limits?limit=1")
    assert (answer["checked"], answer["denied"]) == (3, 1)
    assert answer["topKeys"] == [{"key": "k", "checked": 2, "denied": 1}]


async def test_from_takes_every_form_of_a_time(serving, dsn):
    now = int(time.time())
    iso = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - 60))
    ahead = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - 60 + 19_800))
    froms = [
        *(f"{iso}Z", f"{iso}.000Z", f"{iso}+00:00", f"{iso}%2B00:00", f"{iso}z".lower()),
        *(f"{ahead}+05:30", f"{now - 60}", f"{now - 60}.0", f"{(now - 60) * 1000}"),
    ]
    async with serving(dsn=dsn) as web:
        for text in froms:
            series = await web.data(f"/api/metrics/request-rate?from={text}&to={now}")
            assert len(series) in (6, 7), text
            assert len(await web.data(f"/api/metrics/request-rate?from={text}")) >= 6
        assert len(await web.data(f"/api/metrics/request-rate?from=0&to={now}")) <= 151

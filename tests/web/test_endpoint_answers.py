"""The history of one endpoint, the heat map and the nodes over HTTP: shapes, names, values."""

import math
from itertools import pairwise

import pytest

METHODS = ("request-rate", "latency", "status-distribution", "heatmap")
USERS, GONE = "method=GET&path=/users/{id}", "method=GET&path=/gone"


def request(path: str, status: int = 200, duration: float | None = None) -> dict:
    event = {"method": "GET", "path": path, "status_code": status}
    return event if duration is None else event | {"duration_ms": duration}


EVENTS = [
    *(request(f"/users/{i}", 200, float(i)) for i in range(1, 101)),
    *(request("/gone", status) for status in (404, 429, 500, 0, 101, 302)),
    {"kind": "rate_limit", "key": "k", "allowed": False},
]


def sums(points: list[dict]) -> dict[str, float]:
    return {key: sum(p[key] for p in points) for key in points[0] if key != "timestamp"}


@pytest.mark.parametrize("stored", [False, True])
async def test_series_of_an_endpoint_hold_its_requests_alone(serving, dsn, stored):
    """Waiting for the database, and in it."""
    config = f"[metrics]\nflush_interval_ms = {20 if stored else 3_600_000}\n"
    async with serving(config, dsn=dsn) as web:
        web.process(*EVENTS)
        if stored:
            await web.wait_for_rows(len(EVENTS))
        rate = await web.data(f"/api/metrics/request-rate?range=5m&{GONE}")
        statuses = await web.data(f"/api/metrics/status-distribution?range=24h&{GONE}")
        latency = await web.data(f"/api/metrics/latency?range=7d&{USERS}")
        untimed = await web.data(f"/api/metrics/latency?{GONE}")
        unknown = await web.data("/api/metrics/request-rate?method=GET&path=/users/1")
    counts = sums(rate)
    assert (counts["requestCount"], counts["failedCount"]) == (6, 4)
    assert list(sums(statuses).values()) == [0, 1, 2, 1, 2]
    (point,) = [point for point in latency if point["avg"] is not None]
    assert (point["p95"], point["avg"]) == (pytest.approx(95, rel=0.01), 50.5)
    assert {value for p in untimed for key, value in p.items() if key != "timestamp"} == {None}
    assert sums(unknown)["requestCount"] == 0


@pytest.mark.parametrize("path", METHODS)
async def test_points_of_an_endpoint_are_a_minute_at_least(serving, dsn, path):
    async with serving(dsn=dsn) as web:
        for name, seconds in {"5m": 60, "15m": 60, "1h": 60, "24h": 900, "30d": 21_600}.items():
            answer = (await web.get(f"/api/metrics/{path}?range={name}&{USERS}")).json()
            assert answer["range"]["bucketSeconds"] == seconds
            assert answer["range"]["from"].endswith(":00.000Z")


async def test_exact_latencies_are_narrowed_to_an_endpoint_too(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS, request("/other", 200, 5000.0))
        await web.wait_for_rows(len(EVENTS) + 1)
        points = await web.data(f"/api/metrics/latency?exact=true&range=30d&{USERS}")
    (point,) = [point for point in points if point["avg"] is not None]
    assert [point[name] for name in ("p50", "p95", "p99", "avg")] == [50, 95, 99, 50.5]


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("method=GET", "path is missing: method and path together name an endpoint"),
        ("path=/users/{id}", "method is missing: method and path together name an endpoint"),
        ("method=GET&path=%00", "method and path take an endpoint's names, without NUL"),
        ("method=%00&path=/", "method and path take an endpoint's names, without NUL"),
    ],
)
async def test_half_an_endpoint_is_400_with_what_is_missing(serving, path, query, words):
    async with serving() as web:
        response = await web.get(f"/api/metrics/{path}?{query}")
    assert response.status_code == 400
    assert response.json()["error"] == {"code": "bad_request", "message": words}


@pytest.mark.parametrize("name", ["/é/\u202e", "/" + "x" * 2000, "/a%26b=c+d", "(other)", ""])
async def test_any_name_of_an_endpoint_can_be_asked_for(serving, dsn, name):
    async with serving(dsn=dsn) as web:
        web.process(request("/x") | {"route": name}, request("/y"))
        top = await web.data("/api/metrics/top-endpoints")
        for each in top:
            answer = await web.client.get(
                "/api/metrics/request-rate",
                params={"method": each["method"], "path": each["path"]},
            )
            assert sums(answer.json()["data"])["requestCount"] == each["requestCount"]
    assert len(top) == 2


async def test_heat_map_counts_durations_between_its_edges(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process(*EVENTS, request("/users/1", 200, 0), request("/users/2", 200, 9e6))
        await web.wait_for_rows(len(EVENTS) + 2)
        whole = await web.data("/api/metrics/heatmap?range=5m")
        users = await web.data(f"/api/metrics/heatmap?range=1h&{USERS}")
        nowhere = await web.data("/api/metrics/heatmap?node=nowhere")
    edges = whole["edges"]
    assert edges == users["edges"] == nowhere["edges"]
    assert all(low < high for low, high in pairwise(edges))
    assert (math.floor(edges[0] * 10), math.floor(edges[-1] / 1000)) == (0, 60)
    expected = [sum(low < i <= high for i in range(1, 101)) for low, high in pairwise(edges)]
    expected[0] += 1  # what is shorter, too
    expected[-1] += 1  # what is longer, too
    for data in (whole, users):
        columns = zip(*(bucket["counts"] for bucket in data["buckets"]), strict=True)
        assert [sum(column) for column in columns] == expected
    assert {n for bucket in nowhere["buckets"] for n in bucket["counts"]} == {0}


@pytest.mark.parametrize("asked", ["from=1000000000", "from=1700000000&to=1700000900"])
async def test_heat_map_has_the_buckets_of_the_latencies(serving, dsn, asked):
    async with serving(dsn=dsn) as web:
        for endpoint in ("", f"&{USERS}"):
            points = await web.data(f"/api/metrics/latency?{asked}{endpoint}")
            buckets = (await web.data(f"/api/metrics/heatmap?{asked}{endpoint}"))["buckets"]
            assert all(bucket.keys() == {"timestamp", "counts"} for bucket in buckets)
            assert [b["timestamp"] for b in buckets] == [p["timestamp"] for p in points]


async def test_nodes_that_wrote_are_listed_with_their_requests(serving, dsn):
    async with serving(dsn=dsn) as web:
        empty = await web.data("/api/metrics/nodes?range=30d")
        web.process(*EVENTS)
        waiting = await web.data("/api/metrics/nodes")
        await web.wait_for_rows(len(EVENTS))
        stored = await web.data("/api/metrics/nodes?range=5m")
        before = await web.data("/api/metrics/nodes?from=1000000000&to=1000000100")
    assert empty == before == []
    assert waiting == stored == [{"node": "here", "requestCount": 106}]

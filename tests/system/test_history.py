"""History over HTTP, of the real daemon on a real Postgres, against the raw rows asked with SQL."""

import asyncio
import json
import random
import threading
import time
import urllib.error
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hasty import hasty
from support import WHERE_TABLES_ARE, Daemon, short_directory, wait_until

from aegisd.store.rollups.folding import LATE_SECONDS
from aegisd.store.schema.levels import MINUTE

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]

RANGES = ("5m", "15m", "1h", "6h", "24h", "7d", "30d")
OF_ENDPOINT = ("request-rate", "latency", "status-distribution", "heatmap")
PATHS = (*OF_ENDPOINT, "overview", "nodes", "top-endpoints", "rate-limits")
ENDPOINT = ("GET", "/pxx")
SPANS = (240, 800, 3000, 20_000, 80_000, 600_000, 29 * 86_400)  # seconds
LIVE = ("/api/metrics/realtime", "/api/status", "/healthz", "/api/metrics/backends")
EVENTS, EVENTS_A_MESSAGE = 6000, 50
TIME_LIMIT = 60
CONFIG = '[ingest]\nudp = "127.0.0.1:0"\n[http]\nlisten = "127.0.0.1:0"\n'

WHERE = '"timestamp" >= $1 AND "timestamp" < $2 AND node = coalesce($3, node)'
FAILED = "count(*) FILTER (WHERE status_code NOT BETWEEN 1 AND 399)"
SHARES = "percentile_disc('{0.5, 0.95, 0.99}'::float8[]) WITHIN GROUP (ORDER BY duration_ms)"
BUCKET = "date_bin(make_interval(secs => $4), \"timestamp\", 'epoch'::timestamptz)"


def generated(now: float) -> list[dict[str, Any]]:
    """Requests and decisions of the last 29 days, mostly of late, and of minutes that are over.

    Also by LATE_SECONDS: the next fold takes all of them.
    """
    chance = random.Random(7460)
    made: list[dict[str, Any]] = []
    for _ in range(EVENTS):
        moment = now - MINUTE - LATE_SECONDS - chance.random() * chance.choice(SPANS)
        if chance.random() < 0.25:
            key = f"k{min(int(chance.expovariate(0.3)), 20)}"
            made.append({"kind": "rate_limit", "key": key, "allowed": chance.random() < 0.8})
        else:
            made.append(
                {
                    "method": chance.choice(["GET", "POST"]),
                    "path": f"/p{'x' * min(int(chance.expovariate(0.3)), 30)}",
                    "status_code": chance.choice([0, 200, 200, 200, 204, 301, 404, 429, 503]),
                }
            )
            if chance.random() < 0.9:
                made[-1]["duration_ms"] = round(chance.lognormvariate(3, 1.5), 3)
        made[-1]["timestamp"] = round(moment, 6)
    return made


@pytest.fixture
def filled(make_storing: MakeStoring) -> Daemon:
    """A daemon that has stored the generated events."""
    daemon = make_storing(NODE="here")
    daemon.start()
    events = generated(time.time())
    daemon.emit(*(events[i : i + EVENTS_A_MESSAGE] for i in range(0, EVENTS, EVENTS_A_MESSAGE)))
    daemon.wait_for_rows(EVENTS)
    return daemon


def answer(daemon: Daemon, path: str) -> tuple[Any, dict[str, Any]]:
    """Data and range of a history path's answer."""
    status, body = daemon.fetch(f"/api/metrics/{path}")
    assert status == 200, body
    found = json.loads(body)
    assert found["success"] is True
    return found["data"], found["range"]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def near(exact: float | None) -> Any:
    """Within 1 %, and what is lost to whole microseconds: both, where approx takes the larger."""
    return None if exact is None else pytest.approx(exact, abs=exact * 0.01 + 0.000501)


def average(exact: float | None) -> Any:
    return None if exact is None else pytest.approx(exact, abs=0.0006)


class Raw:
    """The answers, computed from raw rows."""

    def __init__(
        self,
        rows: Rows,
        range_: dict[str, Any],
        node: str | None,
        endpoint: tuple[str, str] | None,
        *,
        exact: bool,
    ):
        self._rows = rows
        self._node = node
        self._endpoint = endpoint
        self.start, self.end = moment(range_["from"]), moment(range_["to"])
        self.bucket = range_["bucketSeconds"]
        self.near = average if exact else near

    def ask(self, select: str, *more: Any) -> list[tuple[Any, ...]]:
        return self._rows(select, self.start, self.end, self._node, *more)

    def buckets(self) -> list[datetime]:
        """The start of each bucket that overlaps the range."""
        step = timedelta(seconds=self.bucket)
        first = self.start - (self.start - datetime.fromtimestamp(0, UTC)) % step
        return [first + i * step for i in range(-(-(self.end - first) // step))]

    def overview(self, data: dict[str, Any]) -> None:
        ((count, failed, limited, shares, mean),) = self.ask(
            f"SELECT count(*), {FAILED}, count(*) FILTER (WHERE status_code = 429), {SHARES},"
            " avg(duration_ms)"
            f" FROM request_metrics WHERE {WHERE}"
        )
        ((denied,),) = self.ask(
            f"SELECT count(*) FROM rate_limit_metrics WHERE NOT allowed AND {WHERE}"
        )
        assert data["totalRequests"] == count
        assert (data["failedRequests"], data["successfulRequests"]) == (failed, count - failed)
        assert (data["rateLimitedRequests"], data["rateLimitDenied"]) == (limited, denied)
        names = ("p50Latency", "p95Latency", "p99Latency")
        for name, value in zip(names, shares or (None,) * 3, strict=True):
            assert data[name] == self.near(value), name
        assert data["avgLatency"] == average(mean)
        seconds = (self.end - self.start).total_seconds()
        assert data["requestsPerSecond"] == pytest.approx(count / seconds, rel=1e-3)

    def series(self, points: list[dict[str, Any]], select: str) -> dict[datetime, Any]:
        """The expected value of each bucket; asserts that the points are those of all buckets."""
        assert [moment(point["timestamp"]) for point in points] == self.buckets()
        where = WHERE if self._endpoint is None else f"{WHERE} AND method = $5 AND endpoint = $6"
        rows = self.ask(
            f"SELECT {BUCKET} AS b, {select} FROM request_metrics WHERE {where} GROUP BY b",
            float(self.bucket),
            *(self._endpoint or ()),
        )
        return {bucket: figures for bucket, *figures in rows}

    def request_rate(self, points: list[dict[str, Any]]) -> None:
        expected = self.series(points, f"count(*), {FAILED}")
        for point in points:
            count, failed = expected.pop(moment(point["timestamp"]), (0, 0))
            assert (point["requestCount"], point["failedCount"]) == (count, failed)
            assert (point["value"] > 0) == (count > 0)
        assert not expected

    def latency(self, points: list[dict[str, Any]]) -> None:
        expected = self.series(points, f"{SHARES}, avg(duration_ms)")
        for point in points:
            shares, mean = expected.pop(moment(point["timestamp"]), (None, None))
            found = [point["p50"], point["p95"], point["p99"]]
            assert found == [self.near(value) for value in shares or (None,) * 3], point
            assert point["avg"] == average(mean)
        assert not expected

    def status_distribution(self, points: list[dict[str, Any]]) -> None:
        classes = [f"count(*) FILTER (WHERE status_code / 100 = {n})" for n in (2, 3, 4, 5)]
        other = "count(*) FILTER (WHERE status_code / 100 NOT IN (2, 3, 4, 5))"
        expected = self.series(points, ", ".join([*classes, other]))
        names = ("status2xx", "status3xx", "status4xx", "status5xx", "statusOther")
        for point in points:
            counts = expected.pop(moment(point["timestamp"]), [0] * 5)
            assert [point[name] for name in names] == list(counts)
        assert not expected

    def heatmap(self, data: dict[str, Any]) -> None:
        edges = data["edges"]
        expected = self.series(data["buckets"], "array_remove(array_agg(duration_ms), NULL)")
        for bucket in data["buckets"]:
            counts = [0] * (len(edges) - 1)
            (durations,) = expected.pop(moment(bucket["timestamp"]), ([],))
            for duration in durations:
                counts[bisect_left(edges[1:-1], duration)] += 1
            assert bucket["counts"] == counts
        assert not expected

    def nodes(self, data: list[dict[str, Any]]) -> None:
        assert [(each["node"], each["requestCount"]) for each in data] == self.ask(
            f"SELECT node, count(*) FROM request_metrics WHERE {WHERE} GROUP BY node"
        )

    def top_endpoints(self, data: list[dict[str, Any]]) -> None:
        rows = self.ask(
            "SELECT method, endpoint, count(*), avg(duration_ms),"
            f" 100.0 * {FAILED} / count(*),"
            " percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms)"
            f" FROM request_metrics WHERE {WHERE} GROUP BY 1, 2"
            ' ORDER BY 3 DESC, method COLLATE "C", endpoint COLLATE "C" LIMIT 1000',
        )
        assert len(data) == len(rows)
        for found, (method, path, count, mean, failed, p95) in zip(data, rows, strict=True):
            assert (found["method"], found["path"], found["requestCount"]) == (method, path, count)
            assert found["errorRate"] == pytest.approx(float(failed))
            assert (found["avgLatency"], found["p95Latency"]) == (average(mean), near(p95))

    def rate_limits(self, data: dict[str, Any]) -> None:
        counts = "count(*), count(*) FILTER (WHERE NOT allowed) FROM rate_limit_metrics"
        assert [(data["checked"], data["denied"])] == self.ask(f"SELECT {counts} WHERE {WHERE}")
        keys = [(key["key"], key["checked"], key["denied"]) for key in data["topKeys"]]
        assert keys == self.ask(
            f"SELECT key, {counts} WHERE {WHERE} GROUP BY 1"
            ' ORDER BY 3 DESC, 2 DESC, key COLLATE "C" LIMIT 1000',
        )


def assert_all_paths(daemon: Daemon, rows: Rows) -> None:
    """Every path at every range: for all nodes, for this one, for an unknown one."""
    for range_ in RANGES:
        for path in PATHS:
            assert_same(daemon, rows, path, f"range={range_}")
        for path in OF_ENDPOINT:
            assert_same(daemon, rows, path, f"range={range_}", endpoint=ENDPOINT)
        for node in ("here", "nowhere"):
            assert_same(daemon, rows, "overview", f"range={range_}&node={node}", node)
    now = int(time.time())
    for start, end in ((now - 777, now - 60), (now - 9 * 86_400, now - 8 * 86_400 + 7)):
        for path in PATHS:
            assert_same(daemon, rows, path, f"from={start}&to={end}")
    for path in ("overview", "latency"):
        assert_same(daemon, rows, path, "range=30d&exact=true", exact=True)
    assert_same(daemon, rows, "latency", "range=30d&exact=true", endpoint=ENDPOINT, exact=True)


def assert_same(
    daemon: Daemon,
    rows: Rows,
    path: str,
    asked: str,
    node: str | None = None,
    *,
    endpoint: tuple[str, str] | None = None,
    exact: bool = False,
) -> None:
    limit = "&limit=1000" if path in ("top-endpoints", "rate-limits") else ""
    narrowed = "&method={}&path={}".format(*endpoint) if endpoint else ""
    data, range_ = answer(daemon, f"{path}?{asked}{limit}{narrowed}")
    raw = Raw(rows, range_, node, endpoint, exact=exact)
    getattr(raw, path.replace("-", "_"))(data)


def test_every_path_and_range_agrees_with_raw_rows(filled: Daemon, rows: Rows) -> None:
    """Before the fold, and after a restart, when pieces are folded."""
    assert_all_paths(filled, rows)
    filled.stop()
    rows("UPDATE rollup_progress SET folded_at = 'epoch'")  # it's time
    filled.start()
    folded = "SELECT (SELECT count(*) FROM request_pieces), (SELECT count(*) > 0 FROM {})"
    wait_until(
        lambda: rows(folded.format("request_rollups_1h")) == [(0, True)],
        "all of it is folded",
        TIME_LIMIT,
    )
    assert_all_paths(filled, rows)


def test_range_beyond_retention_is_answered_as_far_as_data_goes(filled: Daemon, rows: Rows) -> None:
    ten_years = int(time.time()) - 10 * 365 * 86_400
    for path in PATHS:
        _, range_ = answer(filled, f"{path}?from={ten_years}")
        assert range_["bucketSeconds"] % 86_400 == 0
        assert moment(range_["from"]).timestamp() <= ten_years
        assert_same(filled, rows, path, f"from={ten_years}")


def test_history_is_shown_after_a_restart_without_traffic(
    make_storing: MakeStoring, dsn: str
) -> None:
    """Also what only the journal has: until it is read, the answer says that it lacks something."""
    daemon = make_storing()
    daemon.start()
    daemon.emit(*[{"method": "GET", "path": "/", "status_code": 500, "duration_ms": 5}] * 3)
    daemon.wait_for_rows(3)
    with locked(dsn, "request_metrics"):
        daemon.emit({"method": "GET", "path": "/", "status_code": 200})
        daemon.wait_for_events(4)
        daemon.kill()
        daemon.start()
        assert daemon.get("/api/metrics/realtime")["totalRequests"] == 0
        found = [requests_and_end(daemon)]
        wait_until(
            lambda: found.append(requests_and_end(daemon)) or found[-1] == (4, None),
            "all is counted",
            TIME_LIMIT,
        )
    told = [each for each in found if each is not None]
    assert all(count == 4 or (count == 3 and until is not None) for count, until in told), told
    heat, _ = answer(daemon, "heatmap?method=GET&path=/")
    assert sum(sum(bucket["counts"]) for bucket in heat["buckets"]) == 3


def requests_and_end(daemon: Daemon) -> tuple[int, str | None] | None:
    """The requests of the last hour, and until when they are complete; None without a database."""
    status, body = daemon.fetch("/api/metrics/request-rate")
    if status == 503:
        return None
    found = json.loads(body)
    return sum(p["requestCount"] for p in found["data"]), found["range"]["completeUntil"]


@pytest.fixture(scope="module")
def shared(postgres: str) -> Iterator[Daemon]:
    """A daemon for tests whose requests change nothing."""
    with short_directory() as directory:
        daemon = Daemon(directory, CONFIG, {"AEGISD_STORAGE__DSN": postgres})
        daemon.start()
        yield daemon
        daemon.stop()
        daemon.kill()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("overview?exact=wrong", "exact takes true or false, not 'wrong'"),
        ("top-endpoints?limit=0", "limit takes a whole number from 1 to 1000, not '0'"),
        ("rate-limits?limit=0", "limit takes a whole number from 1 to 1000, not '0'"),
        ("top-endpoints?limit=10000000", "limit takes a whole number from 1 to 1000"),
        ("rate-limits?limit=10000000", "limit takes a whole number from 1 to 1000"),
        *((f"{path}?node=", "node takes a node's name") for path in PATHS),
        *((f"{path}?from=200&to=100", "from takes a time before to") for path in PATHS),
        *((f"{path}?range=31d", "range takes one of 5m 15m 1h") for path in PATHS),
    ],
)
def test_nonsensical_range_is_400_with_a_reason(shared: Daemon, path: str, words: str) -> None:
    status, body = shared.fetch(f"/api/metrics/{path}")
    assert status == 400
    assert json.loads(body)["error"]["code"] == "bad_request"
    assert words in json.loads(body)["error"]["message"]


@contextmanager
def locked(dsn: str, *tables: str) -> Iterator[None]:
    """Hold locks that keep others from these tables."""
    held, done = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(dsn, server_settings=WHERE_TABLES_ARE)
        await connection.execute(f"BEGIN; LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        held.set()
        await asyncio.to_thread(done.wait)
        connection.terminate()

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    assert held.wait(30)
    try:
        yield
    finally:
        done.set()
        thread.join(30)


def fetch(daemon: Daemon, path: str) -> tuple[int, str]:
    """``daemon.fetch`` with a longer timeout."""
    try:
        with urllib.request.urlopen(daemon.url + path, timeout=TIME_LIMIT) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def assert_unharmed(daemon: Daemon) -> None:
    for path in LIVE:
        assert daemon.fetch(path)[0] == 200, path


def test_slow_database_is_503_within_the_deadline_and_events_are_taken(
    make_storing: MakeStoring, dsn: str, rows: Rows
) -> None:
    path, one = "/api/metrics/overview?range=1h", {"method": "GET", "path": "/", "status_code": 200}
    answers: list[tuple[int, str]] = []
    storing = make_storing()
    storing.start(*hasty({"store.database.pool.READ_SECONDS": 5}))
    storing.emit(one)
    storing.wait_for_rows(1)
    with locked(dsn, "request_rollups_10s", "request_rollups_1m", "request_rollups_1h"):
        asking = threading.Thread(target=lambda: answers.append(fetch(storing, path)))
        asking.start()
        wait_until(lambda: rows("SELECT 1 FROM pg_locks WHERE NOT granted"), "it waits")
        storing.emit(one)
        storing.wait_for_rows(2)  # whoever writes does not wait
        assert storing.fetch("/api/metrics/top-endpoints?range=1h")[0] == 200
        asking.join(TIME_LIMIT)
        assert_unharmed(storing)
    ((status, body),) = answers
    assert status == 503
    error = json.loads(body)["error"]
    assert error["code"] == "database_unavailable"
    assert "timeout" in error["message"] or "no answer within" in error["message"]
    assert storing.get(path)["totalRequests"] == 2


@pytest.mark.parametrize("table", ["request_pieces", "rollup_progress", "request_rollups_10s"])
def test_dropped_table_is_503_and_other_paths_answer(
    storing: Daemon, rows: Rows, table: str
) -> None:
    storing.emit({"method": "GET", "path": "/", "status_code": 200})
    storing.wait_for_rows(1)
    rows(f"DROP TABLE {table} CASCADE")
    status, body = storing.fetch("/api/metrics/request-rate?range=5m")
    assert status == 503
    assert json.loads(body)["error"] == {
        "code": "database_unavailable",
        "message": f'the database can\'t be used: relation "{table}" does not exist',
    }
    storing.emit({"method": "GET", "path": "/", "status_code": 200})
    storing.wait_for_events(2)
    assert_unharmed(storing)
    assert storing.get("/api/metrics/realtime")["totalRequests"] == 2
    storing.kill()  # a stop would try for 30 s to write what can't be written

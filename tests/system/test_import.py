"""A real access log through the whole daemon, held against figures counted from the file."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from support import Daemon

SHARED = Path(__file__).parents[2].parent / "shared/data/apache_access.log"
LINE = re.compile(r'\[([^\]]+)\] "(\S+) (.*?)(?: HTTP/[\d.]+)?" (\d{3}) ')


@frozen
class Request:
    time: float
    method: str
    path: str
    status: int

    @property
    def failed(self) -> bool:
        return not 1 <= self.status <= 399


def counted(log: Path) -> list[Request]:
    """The log's requests, read by other means than the daemon's."""
    requests = []
    for line in log.read_text("utf-8", "replace").splitlines():
        match = LINE.search(line)
        assert match is not None, line
        time, method, target, status = match.groups()
        moment = datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z")
        path = re.sub(";[^/]*", "", re.split("[?#]", target)[0])
        path = re.sub("(?<!:)//+", "/", path)
        requests.append(Request(moment.timestamp(), method, path, int(status)))
    return requests


def excerpt(folder: Path) -> Path:
    """A log of the test's own: 300 requests, 21 of them 404, over five hours."""
    statuses = [200] * 10 + [301, 304, 404, 500]
    paths = ["/", "/a", "/b?x=1", "/b?x=2", "/c/index.html"]
    lines = [
        f"192.0.2.{i % 9} - - [17/May/2015:{10 + i // 60:02}:{i % 60:02}:07 +0000] "
        f'"{"POST" if i % 7 == 3 else "GET"} {paths[i % 5]} HTTP/1.1" {statuses[i % 14]} 5 "-" "-"'
        for i in range(300)
    ]
    (folder / "access.log").write_text("\n".join(lines) + "\n")
    return folder / "access.log"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return SHARED if SHARED.exists() else excerpt(tmp_path)


@pytest.fixture
def imported(make_storing: Callable[..., Daemon], log: Path) -> Daemon:
    """A daemon that has stored the log; without templates, so endpoints are paths."""
    daemon = make_storing(PATHS__TEMPLATES="false")
    daemon.start()
    done = daemon.run("import", "--rebase", str(log))
    count = len(counted(log))
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        f"{count} events sent, 0 lines could not be read",
    )
    daemon.wait_for_events(count)
    daemon.wait_for_rows(count)
    return daemon


def test_imported_log_has_the_figures_of_the_file(
    imported: Daemon, log: Path, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    requests = counted(log)
    total, failed = len(requests), sum(request.failed for request in requests)
    not_found = sum(request.status == 404 for request in requests)
    assert (total, not_found) == ((10_000, 213) if log == SHARED else (300, 21))

    realtime = imported.get("/api/metrics/realtime")
    assert (realtime["totalRequests"], realtime["failedRequests"]) == (total, failed)

    assert rows("SELECT count(*), sum(weight) FROM request_metrics") == [(total, total)]
    by_status = dict(rows("SELECT status_code, count(*) FROM request_metrics GROUP BY 1"))
    assert by_status == Counter(request.status for request in requests)
    assert by_status[404] == not_found

    overview = imported.get("/api/metrics/overview?range=7d")
    assert overview["totalRequests"] == total
    assert overview["failedRequests"] == failed
    assert overview["successfulRequests"] == total - failed
    assert overview["errorRate"] == pytest.approx(100 * failed / total)
    # a range begins with a whole rollup
    assert overview["requestsPerSecond"] == pytest.approx(total / (7 * 86_400), rel=60 / 86_400)
    assert overview["p50Latency"] is None, "the combined format has no durations"

    assert shown_statuses(imported) == expected_statuses(requests, newest_of(rows))
    assert shown_endpoints(imported) == expected_endpoints(requests)


def newest_of(rows: Callable[..., list[tuple[Any, ...]]]) -> float:
    ((newest,),) = rows('SELECT max("timestamp") FROM request_metrics')
    return float(newest.timestamp())


CLASSES = ("status2xx", "status3xx", "status4xx", "status5xx")


def shown_statuses(daemon: Daemon) -> dict[float, list[int]]:
    """The buckets with requests, by their start."""
    points = daemon.get("/api/metrics/status-distribution?range=7d")
    assert not any(point["statusOther"] for point in points)
    by_start = {
        datetime.fromisoformat(point["timestamp"]).timestamp(): [point[name] for name in CLASSES]
        for point in points
    }
    return {start: counts for start, counts in by_start.items() if any(counts)}


def expected_statuses(requests: list[Request], newest: float) -> dict[float, list[int]]:
    """The same from the file, shifted to end with the newest row, in buckets of two hours."""
    shift = newest - max(request.time for request in requests)
    buckets: dict[float, list[int]] = {}
    for request in requests:
        start = (request.time + shift) // 7200 * 7200
        buckets.setdefault(start, [0, 0, 0, 0])[request.status // 100 - 2] += 1
    return buckets


def shown_endpoints(daemon: Daemon) -> dict[tuple[str, str], tuple[int, float]]:
    shown = daemon.get("/api/metrics/top-endpoints?range=7d&limit=1000")
    counts = [one["requestCount"] for one in shown]
    assert counts == sorted(counts, reverse=True)
    return {
        (one["method"], one["path"]): (one["requestCount"], round(one["errorRate"], 6))
        for one in shown
        if one["requestCount"] > 1  # who of those seen once is among 1,000 is not said
    }


def expected_endpoints(requests: list[Request]) -> dict[tuple[str, str], tuple[int, float]]:
    every = Counter((request.method, request.path) for request in requests)
    failed = Counter((request.method, request.path) for request in requests if request.failed)
    assert sum(count > 1 for count in every.values()) < 1000
    return {
        key: (count, round(100 * failed[key] / count, 6))
        for key, count in every.items()
        if count > 1
    }

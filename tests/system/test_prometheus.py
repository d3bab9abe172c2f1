"""Debian's Prometheus reads what the daemon tells it."""

import hashlib
import subprocess

import pytest
from support import wait_until
from system.prometheus import program, scraping

CONFIG = """
[storage]
dsn = "postgresql://nobody@/none?host=/nonexistent"
[ingest]
udp = ""
[http]
listen = "127.0.0.1:0"
metrics_endpoints = 10
"""
TOKENS = f"""
tokens = [{{ name = "prometheus", sha256 = "{hashlib.sha256(b"secret").hexdigest()}" }}]
"""
HOSTILE = ['a"b\\', "line\nline", "nul \0", "\u202eright to left", "{} 5", "(other)"]
REQUEST = {"method": "GET", "path": "/users/1", "status_code": 200, "duration_ms": 40}


@pytest.fixture
def daemon(make_daemon):
    """A running daemon whose database is away."""
    made = make_daemon(CONFIG)
    made.start()
    return made


def emit(daemon, count=100):
    """Requests: of a hundred 90 take 40 ms, 10 take 700 ms and fail; and hostile names."""
    slow = REQUEST | {"status_code": 503, "duration_ms": 700, "backend": "blue"}
    one_in_ten = [REQUEST | {"backend": "green"}] * 9 + [slow]
    daemon.emit(one_in_ten * (count // 10))
    daemon.emit([REQUEST | {"backend": name, "path": f"/{name}"} for name in HOSTILE])


def test_promtool_finds_no_fault_in_the_figures(daemon):
    promtool = program("promtool")
    emit(daemon)
    daemon.wait_for_events(100 + len(HOSTILE))
    status, text = daemon.fetch("/metrics")
    assert status == 200
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=text.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_prometheus_answers_with_totals_rates_and_quantiles(daemon, tmp_path):
    with scraping(daemon.url, tmp_path / "prometheus") as prometheus:
        wait_until(lambda: prometheus.value("sum(aegisd_requests_total)") == 0, "a first scrape")
        emit(daemon)
        sent = 100 + len(HOSTILE)
        wait_until(lambda: prometheus.value("sum(aegisd_requests_total)") == sent, "a second one")
        assert prometheus.value("up") == 1
        assert prometheus.last_error() == ""
        assert prometheus.values("aegisd_requests_total > 0", "status") == {
            "2xx": sent - 10,
            "5xx": 10,
        }
        assert prometheus.values("aegisd_requests_by_method_total > 0", "method", "status") == {
            ("GET", "2xx"): sent - 10,
            ("GET", "5xx"): 10,
        }
        backends = prometheus.values("sum by (backend) (aegisd_backend_requests_total)", "backend")
        mended = [name.replace("\0", "\ufffd") for name in HOSTILE if name != "(other)"]
        assert backends == {"green": 90, "blue": 10} | dict.fromkeys(mended, 1)
        endpoints = prometheus.values("aegisd_endpoint_requests_total > 0", "path", "status")
        assert endpoints["/users/{id}", "2xx"] == 90
        assert len(endpoints) == len(HOSTILE) + 2

        # what was counted between the two scrapes; rates reach a little beyond them
        assert sent <= prometheus.value("sum(increase(aegisd_requests_total[5m]))") <= 2.2 * sent
        assert prometheus.value('rate(aegisd_requests_total{status="5xx"}[5m])') > 0
        buckets = "rate(aegisd_request_duration_seconds_bucket[5m])"
        assert 0.025 < prometheus.value(f"histogram_quantile(0.5, {buckets})") <= 0.05
        assert 0.5 < prometheus.value(f"histogram_quantile(0.95, {buckets})") <= 1
        average = "aegisd_request_duration_seconds_sum / aegisd_request_duration_seconds_count"
        assert prometheus.value(average) == pytest.approx((7 + 0.04 * (sent - 10)) / sent)


def test_prometheus_gets_in_with_its_token_alone(make_daemon, tmp_path):
    daemon = make_daemon(CONFIG + TOKENS)
    daemon.start()
    with scraping(daemon.url, tmp_path / "good", "secret") as prometheus:
        wait_until(lambda: prometheus.value("up") == 1, "a scrape with the token")
        assert prometheus.value("aegisd_database_connected") == 0
    with scraping(daemon.url, tmp_path / "bad", "wrong") as prometheus:
        wait_until(lambda: prometheus.value("up") == 0, "a scrape without")
        assert "401" in prometheus.last_error()

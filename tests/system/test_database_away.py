"""The database is away, cut off, killed or refuses us: events are taken all the same."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import pytest
from attrs import define
from support import Daemon, wait_until

EVENT = {"method": "GET", "path": "/", "status_code": 200, "duration_ms": 2}
NOWHERE = "postgresql://aegisd@127.0.0.1:1/aegisd"
MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]


@define
class Stream:
    """A steady stream of events, one a millisecond or so."""

    sent: int = 0
    ended: bool = False

    def run(self, daemon: Daemon) -> None:
        pause = threading.Event()
        with daemon.sender() as sender:
            while not self.ended:
                sender.send(msgpack.packb(EVENT | {"path": f"/{self.sent}"}))
                self.sent += 1
                pause.wait(0.001)


@contextmanager
def stream_to(daemon: Daemon) -> Iterator[Stream]:
    stream = Stream()
    thread = threading.Thread(target=stream.run, args=(daemon,))
    thread.start()
    try:
        yield stream
    finally:
        stream.ended = True
        thread.join(30)


def is_connected(daemon: Daemon) -> bool:
    connected: bool = daemon.get("/api/status")["database"]["connected"]
    return connected


def assert_nothing_is_missing(daemon: Daemon, rows: Rows, sent: int) -> None:
    """Every event has one row, apart from those counted as dropped."""
    wait_until(lambda: daemon.get("/api/status")["journal"]["events"] == 0, "nothing waits")
    ingest = daemon.get("/api/ingest")
    assert ingest["events"]["request"] == sent
    stored = "SELECT count(*), count(DISTINCT path) FROM request_metrics"
    assert rows(stored) == [(sent, sent)]
    assert sum(ingest["dropped"].values()) == 0, "the journal holds far more than that"


def test_daemon_without_a_database_is_ready_and_answers_from_memory(
    make_storing: MakeStoring,
) -> None:
    daemon = make_storing(STORAGE__DSN=NOWHERE)
    daemon.start()
    daemon.emit(EVENT)
    daemon.wait_for_events(1)
    assert daemon.get("/api/metrics/realtime")["p99Latency"] == pytest.approx(2, rel=0.01)
    assert daemon.get("/api/metrics/backends")["summary"]["total"] == 0
    for path in ("/healthz", "/metrics", "/", "/api/ingest", "/api/status"):
        assert daemon.fetch(path)[0] == 200

    readiness = daemon.get("/readyz")
    assert readiness["status"] == "degraded"
    assert any("the database can't be used" in line for line in readiness["degradations"])
    for path in ("overview", "request-rate", "latency", "status-distribution", "top-endpoints"):
        status, body = daemon.fetch(f"/api/metrics/{path}")
        assert status == 503
        assert json.loads(body)["error"]["code"] == "database_unavailable"
    assert daemon.fetch("/api/alerts")[0] == 503
    assert daemon.get("/api/status")["journal"]["events"] == 1
    assert daemon.stop(seconds=15) == 0


def test_database_that_comes_later_gets_earlier_events(
    line: Any, make_storing: MakeStoring, rows: Rows
) -> None:
    line.cut()
    daemon = make_storing(STORAGE__DSN=line.dsn)
    daemon.start()
    daemon.emit([EVENT] * 10)
    daemon.wait_for_events(10)
    wait_until(lambda: daemon.get("/api/status")["flush"]["failures"] > 0, "it has tried")
    assert not is_connected(daemon)
    line.restore()
    daemon.wait_for_rows(10)
    assert rows("SELECT count(*) FROM request_metrics") == [(10,)]
    assert daemon.get("/readyz") == {"status": "ok", "degradations": []}


def test_events_waiting_at_a_stop_are_stored_once_by_the_next_start(
    line: Any, make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing(STORAGE__DSN=line.dsn)
    daemon.start()
    daemon.emit(numbered(0, 50))
    daemon.wait_for_rows(50)
    line.cut()
    daemon.emit(numbered(50, 1000))
    daemon.wait_for_events(1000)
    wait_until(lambda: not is_connected(daemon), "it has noticed")
    assert daemon.get("/api/status")["journal"]["events"] == 950
    assert daemon.stop(seconds=15) == 0
    assert "events wait in the journal for the next start" in daemon.log()

    daemon.start()  # still away: it starts all the same
    daemon.emit(numbered(1000, 1100))
    daemon.wait_for_events(100)
    # which of them are stored only the database knows
    assert 1050 <= daemon.get("/api/status")["journal"]["events"] <= 1100
    assert daemon.get("/api/metrics/realtime")["totalRequests"] == 100, "live is what comes now"
    line.restore()
    daemon.wait_for_rows(1050)
    assert_stored_once(rows, 1100)
    assert daemon.stop() == 0
    daemon.start()
    daemon.emit(numbered(1100, 1101))
    daemon.wait_for_rows(1)
    assert_stored_once(rows, 1101)


def test_events_waiting_at_a_kill_are_stored_once_by_the_next_start(
    line: Any, make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing(STORAGE__DSN=line.dsn)
    line.cut()
    daemon.start()
    for start in range(0, 5000, 100):
        daemon.emit(numbered(start, start + 100))
    daemon.wait_for_events(5000)
    daemon.kill()
    line.restore()
    daemon.start()
    daemon.wait_for_rows(5000)
    assert_stored_once(rows, 5000)


def numbered(start: int, end: int) -> list[dict[str, Any]]:
    """Events that can be told apart."""
    return [EVENT | {"path": f"/{number}", "route": "/"} for number in range(start, end)]


def assert_stored_once(rows: Rows, events: int) -> None:
    stored = "SELECT count(*), count(DISTINCT path) FROM request_metrics"
    assert rows(stored) == [(events, events)]


def test_database_connection_cut_repeatedly_under_load_loses_no_event(
    line: Any, make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing(STORAGE__DSN=line.dsn, METRICS__FLUSH_INTERVAL_MS="20")
    daemon.start()
    with stream_to(daemon) as stream:
        for _ in range(3):
            wait_until(lambda: is_connected(daemon), "it is connected")
            written = daemon.get("/api/status")["flush"]["rows"]
            daemon.wait_for_rows(written + 50)
            line.cut()
            wait_until(lambda: not is_connected(daemon), "it has noticed")
            line.restore()
        wait_until(lambda: is_connected(daemon), "it is connected again")
    daemon.wait_for_events(stream.sent)
    assert_nothing_is_missing(daemon, rows, stream.sent)


def test_database_connection_cut_within_a_copy_loses_no_event(
    line: Any, make_storing: MakeStoring, rows: Rows
) -> None:
    one_batch = {"METRICS__BATCH_SIZE": "20000", "METRICS__FLUSH_INTERVAL_MS": "3600000"}
    daemon = make_storing(STORAGE__DSN=line.dsn, **one_batch)
    daemon.start()
    wait_until(lambda: is_connected(daemon), "it is connected")
    line.stall()  # the rows fill the buffers on the way, and wait
    for number in range(200):
        daemon.emit([EVENT | {"path": f"/{number}/{i}", "route": "/"} for i in range(100)])
    daemon.wait_for_events(20_000)
    wait_until(lambda: daemon.get("/api/status")["database"]["lagSeconds"] > 1, "it waits")
    line.cut()
    wait_until(lambda: not is_connected(daemon), "it has noticed")
    line.restore()
    wait_until(lambda: is_connected(daemon), "it is connected again")
    assert_nothing_is_missing(daemon, rows, 20_000)


def test_postgres_killed_under_load_and_restarted_loses_no_event(
    daemon: Daemon,
) -> None:
    with stream_to(daemon) as stream:
        daemon.wait_for_rows(100)
        postmaster = (daemon.state / "postgres/data/postmaster.pid").read_text().split()[0]
        os.kill(int(postmaster), signal.SIGKILL)
        wait_until(lambda: not is_connected(daemon), "the daemon has noticed")
        wait_until(lambda: is_connected(daemon), "Postgres is back", 60)
    daemon.wait_for_events(stream.sent)
    assert_nothing_is_missing(daemon, daemon.rows, stream.sent)


def test_wrong_password_logs_one_line_and_events_are_taken(
    make_storing: MakeStoring, dsn: str
) -> None:
    daemon = make_storing(STORAGE__DSN=with_password(dsn, "wrong-password"))
    daemon.start()
    daemon.emit(EVENT)
    daemon.wait_for_events(1)
    wait_until(lambda: daemon.get("/api/status")["flush"]["failures"] >= 2, "it tried twice")
    told = [line for line in daemon.log().splitlines() if "the database can't be used" in line]
    assert len(told) == 1, "the second failure is no news"
    assert "password authentication failed" in told[0]
    assert "wrong-password" not in daemon.log()
    daemon.kill()


def with_password(dsn: str, password: str) -> str:
    scheme, rest = dsn.split("://", 1)
    return f"{scheme}://aegisd:{password}@{rest.split('@', 1)[1]}"


def test_newer_schema_logs_one_line_and_events_are_taken(
    make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing()
    assert daemon.run("migrate").returncode == 0
    rows("INSERT INTO aegisd_schema (version, name) VALUES (9999, 'of a later aegisd')")
    daemon.start()
    daemon.emit(EVENT)
    daemon.wait_for_events(1)
    wait_until(lambda: daemon.get("/api/status")["flush"]["failures"] >= 2, "it tried twice")
    told = [line for line in daemon.log().splitlines() if "schema" in line]
    assert len(told) == 1
    assert "has version 9999" in told[0]
    assert "upgrade aegisd" in told[0]
    assert "has version 9999" in daemon.get("/api/status")["degradations"][0]
    assert daemon.get("/readyz")["degradations"] == ["the database can't be used: SchemaError"]
    assert rows("SELECT count(*) FROM request_metrics") == [(0,)]
    rows("DELETE FROM aegisd_schema WHERE version = 9999")
    daemon.wait_for_rows(1)


def test_empty_database_without_migrate_waits_for_aegisd_migrate(
    make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing(STORAGE__MIGRATE="false")
    daemon.start()
    daemon.emit(EVENT)
    daemon.wait_for_events(1)
    wait_until(lambda: "aegisd migrate" in daemon.log(), "it says what to do")
    assert rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert daemon.run("migrate").returncode == 0
    daemon.wait_for_rows(1)
    assert rows("SELECT count(*) FROM request_metrics") == [(1,)]

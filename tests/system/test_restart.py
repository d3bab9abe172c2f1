"""A state directory after a kill, and two daemons on one state directory or journal."""

import signal
from collections.abc import Callable
from typing import Any

import msgpack
from support import Daemon, wait_until

EVENT = {"method": "GET", "path": "/", "status_code": 200}


def postmaster(daemon: Daemon) -> int:
    return int((daemon.state / "postgres/data/postmaster.pid").read_text().splitlines()[0])


def test_postgres_of_a_killed_daemon_is_taken_up_by_the_next_one(daemon: Daemon) -> None:
    daemon.emit([EVENT] * 100)
    daemon.wait_for_rows(100)
    pid = postmaster(daemon)
    daemon.process.kill()
    daemon.process.wait(30)
    assert daemon.ingest.is_socket(), "a killed daemon leaves its socket's file"
    assert daemon.rows("SELECT count(*) FROM request_metrics") == [(100,)]

    daemon.start()
    daemon.emit(EVENT)
    daemon.wait_for_rows(1)
    assert postmaster(daemon) == pid
    assert daemon.rows("SELECT count(*) FROM request_metrics") == [(101,)]
    assert daemon.get("/api/metrics/overview")["totalRequests"] == 101
    assert daemon.stop() == 0
    assert not (daemon.state / "postgres/data/postmaster.pid").exists()


def test_second_daemon_on_a_state_directory_ends_and_names_the_first(
    daemon: Daemon, make_daemon: Callable[..., Daemon]
) -> None:
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "the first one runs")
    second = make_daemon(
        environment={
            "STATE_DIRECTORY": str(daemon.state),
            "AEGISD_STORAGE__JOURNAL": str(daemon.directory / "journal"),
        }
    )
    done = second.run("run")
    assert done.returncode == 1
    assert done.stderr == (
        f"aegisd: {daemon.state}/postgres is in use by another aegisd, pid {daemon.process.pid}: "
        "stop that one, or give this one a state directory of its own\n"
    )
    assert not second.ingest.exists()
    daemon.emit(EVENT)
    daemon.wait_for_rows(1)


def test_daemon_killed_repeatedly_under_load_loses_and_doubles_no_accepted_event(
    make_storing: Callable[..., Daemon], rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    daemon = make_storing(METRICS__FLUSH_INTERVAL_MS="10")
    accepted = sent = 0
    for _ in range(4):
        daemon.start()
        with daemon.sender() as sender:
            sender.settimeout(30)
            enough = sent + 8000
            while sent < enough or daemon.get("/api/status")["flush"]["rows"] == 0:
                paths = range(sent, sent + 40)
                sender.send(msgpack.packb([EVENT | {"path": f"/{path}"} for path in paths]))
                sent += 40
        accepted += daemon.get("/api/ingest")["events"]["request"]
        daemon.kill()
    daemon.start()
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "it is connected")
    wait_until(lambda: daemon.get("/api/status")["journal"]["events"] == 0, "nothing waits")
    ((stored, distinct),) = rows("SELECT count(*), count(DISTINCT path) FROM request_metrics")
    assert stored == distinct
    assert accepted <= stored <= sent


def test_second_daemon_on_a_journal_ends_and_names_the_first(
    make_storing: Callable[..., Daemon],
) -> None:
    first = make_storing()
    first.start()
    second = make_storing(STORAGE__JOURNAL=str(first.state / "journal"))
    done = second.run("run")
    assert done.returncode == 1
    assert done.stderr == (
        f"aegisd: the journal in {first.state}/journal is in use by process {first.process.pid};"
        " stop it, or set storage.journal to another directory\n"
    )
    first.emit(EVENT)
    first.wait_for_rows(1)


def test_next_daemon_starts_while_the_previous_one_still_writes(
    line: Any, make_storing: Callable[..., Daemon]
) -> None:
    leaving = make_storing(STORAGE__DSN=line.dsn)
    leaving.start()
    wait_until(lambda: leaving.get("/api/status")["database"]["connected"], "it is connected")
    line.stall()
    leaving.emit(EVENT)
    leaving.wait_for_events(1)
    leaving.process.send_signal(signal.SIGTERM)  # it now waits for its database
    wait_until(lambda: not leaving.ingest.exists(), "intake has ended")

    coming = make_storing(INGEST__UNIX_DATAGRAM=str(leaving.ingest))
    coming.start()
    leaving.stop(signal.SIGTERM, seconds=15)
    assert leaving.ingest.is_socket(), "the file is the next one's"
    leaving.emit(EVENT)
    coming.wait_for_rows(1)

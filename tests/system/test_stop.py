"""Signals: a stop loses no event whose sending succeeded, a second signal stops at once."""

import signal
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from attrs import define
from support import Daemon, wait_until

SENDERS = 4
EVENTS_A_MESSAGE = 20
EVENT = {"method": "GET", "path": "/", "status_code": 200}
NOWHERE = "postgresql://aegisd@127.0.0.1:1/aegisd"
"""A DSN without a server."""
MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]


@define
class Load:
    """Senders that send, waiting where the daemon is behind, until it refuses them."""

    sent: list[int]
    threads: list[threading.Thread]

    @classmethod
    def on(cls, daemon: Daemon) -> "Load":
        load = cls([0] * SENDERS, [])
        for number in range(SENDERS):
            sender = daemon.sender()
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 60, 0))
            load.threads.append(threading.Thread(target=load._send, args=(number, sender)))
        for thread in load.threads:
            thread.start()
        return load

    def _send(self, number: int, sender: socket.socket) -> None:
        message = msgpack.packb([EVENT | {"path": f"/{number}"}] * EVENTS_A_MESSAGE)
        with sender:
            try:
                while True:
                    sender.send(message)
                    self.sent[number] += EVENTS_A_MESSAGE
            except (BrokenPipeError, ConnectionRefusedError):
                pass

    def wait_for_end(self) -> dict[str, int]:
        """Wait until the senders end; return how many events each has sent, by path."""
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "the daemon neither takes nor refuses"
        return {f"/{number}": count for number, count in enumerate(self.sent)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_under_load_stores_every_event_that_was_sent(
    storing: Daemon, rows: Rows, number: signal.Signals
) -> None:
    wait_until(lambda: storing.get("/api/status")["database"]["connected"], "it is connected")
    load = Load.on(storing)
    wait_until(lambda: sum(load.sent) >= 20_000, "the load runs")
    assert storing.stop(number) == 0
    sent = load.wait_for_end()
    assert dict(rows("SELECT path, count(*) FROM request_metrics GROUP BY path")) == sent
    assert sum(sent.values()) >= 20_000
    assert f"signal={number.name}" in storing.log()
    assert "stopped" in storing.log()
    assert not storing.ingest.exists()


def test_events_waiting_for_the_next_flush_are_stored_at_the_stop(
    make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing(METRICS__FLUSH_INTERVAL_MS="3600000")
    daemon.start()
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "it is connected")
    daemon.emit([EVENT] * 7)
    daemon.wait_for_events(7)
    assert daemon.stop() == 0
    assert rows("SELECT count(*) FROM request_metrics") == [(7,)]


def stalled(line: Any, make_storing: MakeStoring) -> Daemon:
    """A daemon with a waiting event, whose database no longer answers."""
    daemon = make_storing(STORAGE__DSN=line.dsn)
    daemon.start()
    daemon.emit(EVENT)
    daemon.wait_for_rows(1)
    line.stall()
    daemon.emit(EVENT)
    daemon.wait_for_events(2)
    return daemon


def test_second_signal_stops_at_once_and_logs_it(
    line: Any, make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = stalled(line, make_storing)
    daemon.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "signal=SIGTERM" in daemon.log(), "the first signal is heard")
    assert daemon.process.poll() is None, "it waits for the database"
    daemon.stop(signal.SIGINT, seconds=15)  # half the time that the last flush has
    assert "stopping at once, what waits is not written" in daemon.log()
    line.restore()
    daemon.start()
    daemon.wait_for_rows(1)
    assert rows("SELECT count(*) FROM request_metrics") == [(2,)]


def test_stopping_daemon_is_not_ready_and_still_answers(
    line: Any, make_storing: MakeStoring
) -> None:
    daemon = stalled(line, make_storing)
    daemon.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not daemon.ingest.exists(), "intake has ended")
    assert daemon.fetch("/readyz")[0] == 503
    assert daemon.get("/api/ingest")["events"]["request"] == 2
    assert daemon.fetch("/metrics")[0] == 200
    daemon.stop()


@pytest.mark.parametrize("events", [0, 1000])
def test_stop_without_a_database_is_quick(make_storing: MakeStoring, events: int) -> None:
    daemon = make_storing(STORAGE__DSN=NOWHERE)
    daemon.start()
    if events:
        daemon.emit([EVENT] * events)
        daemon.wait_for_events(events)
    assert daemon.stop(seconds=15) == 0  # half the time that the last flush has


def test_hangup_logs_one_line_and_changes_nothing(storing: Daemon) -> None:
    before = storing.log()
    loaded = storing.get("/api/status")["configurationLoadedAt"]
    storing.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in storing.log(), "it is told")
    storing.emit(EVENT)
    storing.wait_for_rows(1)
    said = storing.log().removeprefix(before).splitlines()
    hangup = [line for line in said if "connected to the database" not in line]
    assert len(hangup) == 1
    assert "the configuration can't be reloaded yet; restart to apply it" in hangup[0]
    assert storing.get("/api/status")["configurationLoadedAt"] == loaded

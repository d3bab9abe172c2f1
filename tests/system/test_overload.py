"""A daemon that can't keep up: every event that was sent is accounted for.

Senders don't wait and don't ask. Each numbers all it emits, also what it could not send.
"""

import signal
import socket
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from attrs import define
from prometheus_client.parser import text_string_to_metric_families
from support import Daemon, wait_until

STALLED, LATER = 4000, 500  # messages each sender emits while the daemon stands still, and after
GOOD = {"method": "GET", "path": "/", "status_code": 200, "duration_ms": 1.5}
BAD = {"method": "GET", "path": "/"}
OFF = {"kind": "backend", "backend_name": "b", "status": "healthy"}
EVENTS = [GOOD, GOOD, GOOD, BAD, OFF]  # of each message

RSS_BOUND_BYTES = 320 * 1024 * 1024  # 128 MiB of events, Python's own share in it, the daemon
JOURNAL_BYTES = 4 * 1024 * 1024


@define
class Emitter:
    """Emits messages and doesn't wait; what the socket refuses is lost and counted."""

    name: str
    socket: socket.socket
    emitted: int = 0  # events
    refused: int = 0  # events that it could not send

    def emit(self, events: list[dict[str, Any]]) -> None:
        message = {"source": self.name, "seq": self.emitted, "events": events}
        self.emitted += len(events)
        try:
            self.socket.send(msgpack.packb(message), socket.MSG_DONTWAIT)
        except BlockingIOError:
            self.refused += len(events)

    def close_sum(self) -> None:
        """Send a heartbeat, and wait for room for it."""
        self.socket.send(msgpack.packb({"source": self.name, "seq": self.emitted}))


@pytest.fixture
def overloaded(make_storing: Callable[..., Daemon]) -> Daemon:
    daemon = make_storing(
        "[metrics.enabled_metrics]\nbackends = false\n", INGEST__RECEIVE_BUFFER_BYTES="65536"
    )
    daemon.start()
    return daemon


def test_account_of_each_source_adds_up_to_the_event(overloaded: Daemon) -> None:
    addresses = [x["address"] for x in overloaded.get("/api/ingest")["listeners"]]
    unix, udp = (address.partition(":")[2] for address in addresses[:2])
    host, port = udp.rsplit(":", 1)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to_udp,
    ):
        to_unix.connect(unix)
        to_udp.connect((host, int(port)))
        emitters = [Emitter("over unix", to_unix), Emitter("over udp", to_udp)]
        overloaded.process.send_signal(signal.SIGSTOP)
        for _ in range(STALLED):
            for emitter in emitters:
                emitter.emit(EVENTS)
        overloaded.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(overloaded.get("/api/ingest")["sources"]) == 2, "both were heard of")
        for _ in range(LATER):
            for emitter in emitters:
                emitter.emit(EVENTS)
        # over UDP a heartbeat may be dropped too, until the daemon has caught up
        wait_until(lambda: _closed(overloaded, emitters), "both sums are closed")

    ingest = overloaded.get("/api/ingest")
    received = {s["source"]: s["received"] for s in ingest["sources"]}
    lost = {s["source"]: s["lost"] for s in ingest["sources"]}
    for emitter in emitters:
        assert received[emitter.name] + lost[emitter.name] == emitter.emitted
    # who did not wait knows what he lost; of UDP the kernel does
    assert lost["over unix"] == emitters[0].refused > 0
    dropped = [x["kernelDropped"] for x in ingest["listeners"][:2]]
    assert emitters[1].refused == 0
    assert dropped[0] == 0
    assert dropped[1] > 0
    heartbeats_dropped = dropped[1] - lost["over udp"] // len(EVENTS)
    assert lost["over udp"] % len(EVENTS) == 0
    assert heartbeats_dropped >= 0

    # and what came was stored, rejected or disabled
    messages = sum(received.values()) // len(EVENTS)
    assert ingest["rejected"]["missing_field"] == ingest["disabled"] == messages
    assert ingest["events"]["request"] == 3 * messages
    assert sum(ingest["dropped"].values()) == ingest["sampledOut"] == 0
    overloaded.wait_for_rows(3 * messages, 120)
    assert overloaded.get("/api/status")["flush"]["rows"] == 3 * messages
    _wait_until_told(overloaded, "datagrams came faster than they can be taken")


def _wait_until_told(daemon: Daemon, told: str) -> None:
    """Wait until /readyz shows the line; the log has it once."""
    wait_until(
        lambda: any(told in line for line in daemon.get("/readyz")["degradations"]), "it is said"
    )
    assert daemon.get("/readyz")["status"] == "degraded"
    assert daemon.log().count(told) == 1


def _closed(daemon: Daemon, emitters: list[Emitter]) -> bool:
    for emitter in emitters:
        emitter.close_sum()
    sources = {s["source"]: s for s in daemon.get("/api/ingest")["sources"]}
    return all(
        sources[emitter.name]["received"] + sources[emitter.name]["lost"] == emitter.emitted
        for emitter in emitters
    )


ROWS, BATCHES = 500, 10_000


def test_full_journal_and_memory_drop_and_count_events_and_live_figures_go_on(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon(
        environment={
            "AEGISD_STORAGE__DSN": "postgresql://u@127.0.0.1:1/d",
            "AEGISD_STORAGE__JOURNAL_MAX_BYTES": str(JOURNAL_BYTES),
        }
    )
    daemon.start()
    columns = {
        "method": "GET",
        "path": {"values": ["/a", "/b"], "index": bytes([0, 1] * (ROWS // 2))},
        "status_code": (200).to_bytes(2, "little") * ROWS,
        "duration_ms": [1.5] * ROWS,
    }
    message = msgpack.packb({"n": ROWS, "columns": columns})
    with daemon.sender() as sender:
        for _ in range(BATCHES):
            sender.send(message)
    sent = ROWS * BATCHES
    daemon.wait_for_events(sent, 120)

    ingest, status = daemon.get("/api/ingest"), daemon.get("/api/status")
    assert ingest["events"]["request"] == sent
    dropped = ingest["dropped"]
    assert dropped["journal"] > 0
    assert dropped["queue"] == dropped["database"] == 0
    assert dropped["journal"] + status["journal"]["events"] == sent
    assert status["journal"]["bytes"] <= JOURNAL_BYTES
    full = "it is full (storage.journal_max_bytes)"
    assert status["journal"]["lastError"] == full
    assert _resident_bytes(daemon) < RSS_BOUND_BYTES
    assert daemon.get("/api/metrics/realtime")["totalRequests"] == sent
    assert daemon.log().count("the journal can't be written, events wait in memory alone") == 1
    assert f"the journal can't be written: {full}" in status["degradations"]
    assert "the journal can't be written" in daemon.get("/readyz")["degradations"]
    _wait_until_told(daemon, "events found no room while the journal could not be written")
    samples = [
        sample.value
        for family in text_string_to_metric_families(daemon.fetch("/metrics")[1])
        for sample in family.samples
        if sample.name == "aegisd_dropped_events_total" and sample.labels["where"] == "journal"
    ]
    assert samples == [dropped["journal"]]
    assert daemon.stop(seconds=15) == 0


def _resident_bytes(daemon: Daemon) -> int:
    with open(f"/proc/{daemon.process.pid}/status") as status:
        (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024

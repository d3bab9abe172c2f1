"""The conformance vectors through a live daemon's sockets, as any emitter would send them."""

import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Daemon, wait_until
from vectors import FILE, VECTORS, message

EMITTER = Path(__file__).with_name("emitter.js")

Rows = Callable[..., list[tuple[Any, ...]]]

TIMELESS = [vector for vector in VECTORS if not vector["clock"]]
"""A daemon has the real clock; the other vectors hold at their own time only."""

EVENTS = [event for vector in TIMELESS for event in vector["events"]]
REJECTS = [reject for vector in TIMELESS for reject in vector["rejects"]]
SOURCES = [vector for vector in TIMELESS if vector["source"] is not None]

STORED = {
    "request": (
        "request_metrics",
        ["method", "path", "status_code", "duration_ms", "backend", "client_ip", "error_message"],
    ),
    "rate_limit": ("rate_limit_metrics", ["key", "allowed", "remaining", "limit"]),
    "backend": (
        "backend_metrics",
        ["backend_name", "status", "response_time_ms", "circuit_breaker"],
    ),
    "system": (
        "system_metrics",
        ["active_connections", "cpu_percent", "memory_bytes", "open_files", "source"],
    ),
}
"""Of each kind the table, and the columns that hold what was sent."""


def stored_value(event: dict[str, Any], name: str) -> Any:
    """What the database has of an expected event: milliseconds again, percentages as real."""
    value = event.get(name.replace("_ms", "_us"))
    if value is None:
        return None
    if name.endswith("_ms"):
        return value / 1000
    return float(np.float32(value)) if name == "cpu_percent" else value


def without_zeros(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def received(times: int) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for vector in SOURCES:
        counts[vector["source"]] += vector["received"] * times
    return dict(counts)


def assert_stored(daemon: Daemon, rows: Rows, times: int, but: str = "") -> None:
    """That the database has the vectors' events, each so many times; ``but`` one column."""
    daemon.wait_for_rows(len(EVENTS) * times)
    for kind, (table, columns) in STORED.items():
        names = [name for name in columns if name != but]
        expected = [
            tuple(stored_value(event, name) for name in names)
            for event in EVENTS
            if event["kind"] == kind
        ]
        selected = ", ".join(f'"{name}"' for name in names)
        assert Counter(rows(f"SELECT {selected} FROM {table}")) == Counter(expected * times), kind


def udp_port(daemon: Daemon) -> int:
    addresses = [listener["address"] for listener in daemon.get("/api/ingest")["listeners"]]
    (address,) = [address for address in addresses if address.startswith("udp:")]
    return int(address.rpartition(":")[2])


def udp_sender(daemon: Daemon) -> socket.socket:
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connected.connect(("127.0.0.1", udp_port(daemon)))
    return connected


def wait_for_all(daemon: Daemon, total: int) -> Any:
    """What the daemon counted once it has read so many events."""

    def read() -> Any:
        ingest = daemon.get("/api/ingest")
        counted = sum(ingest["events"].values()) + sum(ingest["rejected"].values())
        return ingest if counted >= total else None

    return wait_until(read, f"{total} events are read")


def test_live_daemon_agrees_with_the_vectors_over_both_sockets(storing: Daemon, rows: Rows) -> None:
    for times, connect in enumerate((Daemon.sender, udp_sender), 1):
        with connect(storing) as sender:
            for vector in TIMELESS:
                sender.send(message(vector))
        ingest = wait_for_all(storing, (len(EVENTS) + len(REJECTS)) * times)
        kinds, reasons = (event["kind"] for event in EVENTS), (r["reason"] for r in REJECTS)
        assert ingest["events"] == Counter([*kinds] * times)
        assert without_zeros(ingest["rejected"]) == Counter([*reasons] * times)
        assert ingest["altered"] == sum(vector["altered"] for vector in TIMELESS) * times
        assert {s["source"]: s["received"] for s in ingest["sources"]} == received(times)
        messages = sum(listener["messages"] for listener in ingest["listeners"])
        assert messages == len(TIMELESS) * times
    assert_stored(storing, rows, 2)
    assert "Traceback" not in storing.log()


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_emitter_written_from_the_wire_page_sends_the_vectors_events(
    storing: Daemon, rows: Rows
) -> None:
    port = str(udp_port(storing))
    for times, form in enumerate(("alone", "list", "columns"), 1):
        subprocess.run(["node", str(EMITTER), str(FILE), port, form], check=True, timeout=60)
        ingest = wait_for_all(storing, len(EVENTS) * times)
        assert ingest["events"] == Counter([event["kind"] for event in EVENTS] * times)
        assert without_zeros(ingest["rejected"]) == {}
        assert ingest["altered"] == 0
    assert_stored(storing, rows, 3, but="source")  # it named itself

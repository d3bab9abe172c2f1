"""The conformance vectors through a live daemon's sockets, as any emitter would send them."""

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from support import Daemon, wait_until
from vectors import VECTORS, message

TIMELESS = [vector for vector in VECTORS if not vector["clock"]]
"""A daemon goes by the real clock; what the other vectors say holds at their own time only."""

EVENTS = [event for vector in TIMELESS for event in vector["events"]]
REJECTS = [reject for vector in TIMELESS for reject in vector["rejects"]]
SOURCES = [vector for vector in TIMELESS if vector["source"] is not None]

STORED = {
    "request": (
        "SELECT method, path, status_code, duration_ms, backend, client_ip, error_message "
        "FROM request_metrics",
        ("method", "path", "status_code", "duration_ms", "backend", "client_ip", "error_message"),
    ),
    "rate_limit": (
        'SELECT key, allowed, remaining, "limit" FROM rate_limit_metrics',
        ("key", "allowed", "remaining", "limit"),
    ),
    "backend": (
        "SELECT backend_name, status, response_time_ms, circuit_breaker FROM backend_metrics",
        ("backend_name", "status", "response_time_ms", "circuit_breaker"),
    ),
    "system": (
        "SELECT source, active_connections, cpu_percent, memory_bytes, open_files "
        "FROM system_metrics",
        ("source", "active_connections", "cpu_percent", "memory_bytes", "open_files"),
    ),
}
"""Of each kind the query for what is stored, and the fields that it gives."""


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


def udp_sender(daemon: Daemon) -> socket.socket:
    addresses = [listener["address"] for listener in daemon.get("/api/ingest")["listeners"]]
    (address,) = [a.removeprefix("udp:") for a in addresses if a.startswith("udp:")]
    host, _, port = address.rpartition(":")
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connected.connect((host, int(port)))
    return connected


def wait_for_all(daemon: Daemon, times: int) -> Any:
    """What the daemon counted once it has read the vectors so many times."""
    total = (len(EVENTS) + len(REJECTS)) * times

    def read() -> Any:
        ingest = daemon.get("/api/ingest")
        counted = sum(ingest["events"].values()) + sum(ingest["rejected"].values())
        return ingest if counted >= total else None

    return wait_until(read, f"{total} events are read")


def test_a_live_daemon_makes_of_the_vectors_what_they_say_over_either_socket(
    storing: Daemon, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    for times, sender in enumerate((storing.sender(), udp_sender(storing)), 1):
        with sender:
            for vector in TIMELESS:
                sender.send(message(vector))
        ingest = wait_for_all(storing, times)
        kinds, reasons = (event["kind"] for event in EVENTS), (r["reason"] for r in REJECTS)
        assert ingest["events"] == Counter([*kinds] * times)
        assert without_zeros(ingest["rejected"]) == Counter([*reasons] * times)
        assert ingest["altered"] == sum(vector["altered"] for vector in TIMELESS) * times
        assert {s["source"]: s["received"] for s in ingest["sources"]} == received(times)
        messages = sum(listener["messages"] for listener in ingest["listeners"])
        assert messages == len(TIMELESS) * times
    storing.wait_for_rows(len(EVENTS) * 2)
    for kind, (sql, names) in STORED.items():
        of_kind = [event for event in EVENTS if event["kind"] == kind]
        expected = [tuple(stored_value(event, name) for name in names) for event in of_kind]
        assert Counter(rows(sql)) == Counter(expected * 2), kind
    assert "Traceback" not in storing.log()

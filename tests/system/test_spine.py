"""An event from the socket to every interface, with the real daemon and a real Postgres."""

import pytest
from support import Daemon


def test_event_is_stored_and_shown_by_every_interface(daemon: Daemon) -> None:
    daemon.emit({"method": "GET", "path": "/users/1", "status_code": 200, "duration_ms": 12.5})
    daemon.wait_for_rows(1)
    assert daemon.get("/api/metrics/realtime")["totalRequests"] == 1
    overview = daemon.get("/api/metrics/overview")
    assert overview["totalRequests"] == 1
    assert overview["p99Latency"] == pytest.approx(12.5, rel=0.01)
    assert overview["avgLatency"] == 12.5
    assert daemon.rows("SELECT path, endpoint, duration_ms FROM request_metrics") == [
        ("/users/1", "/users/{id}", 12.5)
    ]
    assert daemon.stop() == 0

"""Kinds and metrics that are off."""

from collections.abc import Callable
from typing import Any

import pytest
from support import Daemon

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]

EVENTS = {
    "requests": {"kind": "request", "method": "GET", "path": "/", "status_code": 200},
    "rate_limits": {"kind": "rate_limit", "key": "k", "allowed": False},
    "backends": {"kind": "backend", "backend_name": "b", "status": "healthy"},
    "system": {"kind": "system", "active_connections": 7},
}
TABLES = {
    "requests": "request_metrics",
    "rate_limits": "rate_limit_metrics",
    "backends": "backend_metrics",
    "system": "system_metrics",
}
SHOWN = {
    "requests": "totalRequests",
    "rate_limits": "rateLimitDenied",
    "backends": "totalBackends",
    "system": "activeConnections",
}


def counted(rows: Rows) -> dict[str, int]:
    return {key: rows(f"SELECT count(*) FROM {table}")[0][0] for key, table in TABLES.items()}


@pytest.mark.parametrize("off", EVENTS)
def test_disabled_kind_is_counted_and_neither_stored_nor_shown(
    make_storing: MakeStoring, rows: Rows, off: str
) -> None:
    daemon = make_storing(**{f"METRICS__ENABLED_METRICS__{off.upper()}": "false"})
    daemon.start()
    daemon.emit(list(EVENTS.values()))
    daemon.wait_for_rows(3)
    ingest = daemon.get("/api/ingest")
    assert ingest["disabled"] == 1
    assert ingest["events"][EVENTS[off]["kind"]] == 0
    assert sum(ingest["events"].values()) == 3
    assert sum(ingest["rejected"].values()) == 0
    assert counted(rows) == {key: int(key != off) for key in EVENTS}
    realtime = daemon.get("/api/metrics/realtime")
    for key, name in SHOWN.items():
        assert bool(realtime[name]) == (key != off), name


def test_disabled_metrics_are_shown_live_and_not_stored(
    make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing(METRICS__ENABLED="false")
    daemon.start()
    daemon.emit(list(EVENTS.values()))
    daemon.wait_for_events(4)
    assert daemon.get("/api/metrics/realtime")["totalRequests"] == 1
    assert daemon.get("/api/status")["journal"]["events"] == 0
    assert daemon.get("/readyz")["status"] == "ok"
    assert daemon.stop() == 0
    stored = "SELECT count(*) FROM pg_tables WHERE tablename LIKE '%metrics_20%'"
    assert rows(stored) == [(0,)], "no partition was ever needed"

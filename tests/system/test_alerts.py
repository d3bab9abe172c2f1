"""An alert from real events to the database, the API and the WebSocket, and over a restart."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from support import Daemon, wait_until
from trio_websocket import open_websocket_url

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]

LIMIT = 60
RULE = """
[alerts]
check_interval_ms = 50
default_cooldown_ms = 3600000
[[alerts.rules]]
id = "half-fail"
name = "Half Fail"
severity = "critical"
condition = { metric = "error_rate", operator = ">", threshold = 50, window = "5m" }
actions = [{ type = "log" }]
"""
STORED = "SELECT id::text, rule_id, status, threshold FROM alerts"


def emit(daemon: Daemon, status: int, count: int) -> None:
    daemon.emit([{"method": "GET", "path": "/", "status_code": status}] * count)


def active(daemon: Daemon) -> list[dict[str, Any]]:
    alerts: list[dict[str, Any]] = daemon.get("/api/alerts?status=active")
    return alerts


def start(daemon: Daemon) -> None:
    daemon.start()
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "it is connected")


@pytest.fixture
def watched(make_storing: MakeStoring) -> Daemon:
    """A running daemon with one rule: more than half of the requests fail."""
    daemon = make_storing(RULE)
    start(daemon)
    return daemon


async def test_alert_is_pushed_stored_and_listed_when_it_fires_and_resolves(
    watched: Daemon, dsn: str
) -> None:
    async def in_thread(ask: Callable[..., Any], *args: Any) -> Any:
        return await trio.to_thread.run_sync(ask, *args)

    url = watched.url.replace("http://", "ws://") + "/ws/metrics"
    with trio.fail_after(LIMIT):
        async with open_websocket_url(url) as socket:
            await next_of_type(socket, "metrics")  # it is subscribed
            await in_thread(emit, watched, 500, 10)
            fired = await next_of_type(socket, "alert")
            listed = await in_thread(wait_until, lambda: active(watched), "it is listed")
            assert listed == [fired]
            assert (fired["ruleId"], fired["severity"]) == ("half-fail", "critical")
            assert (fired["currentValue"], fired["threshold"]) == (100.0, 50.0)
            assert await in_thread(watched.get, f"/api/alerts/{fired['id']}") == fired

            await in_thread(emit, watched, 200, 10)
            resolved = await next_of_type(socket, "alert")
    assert (resolved["id"], resolved["status"]) == (fired["id"], "resolved")
    assert resolved["currentValue"] == 50.0
    assert resolved["resolvedAt"] >= resolved["triggeredAt"] == fired["triggeredAt"]
    await in_thread(wait_until, lambda: not active(watched), "none is active")
    assert await in_thread(watched.get, "/api/alerts") == [resolved]
    log = watched.log()
    assert ("alert triggered" in log, "alert resolved" in log) == (True, True)


async def next_of_type(socket: Any, type_: str) -> dict[str, Any]:
    """The data of the next message of a type."""
    while True:
        message = json.loads(await socket.get_message())
        if message["type"] == type_:
            data: dict[str, Any] = message["data"]
            return data


def test_open_alert_keeps_its_id_after_a_restart(watched: Daemon, rows: Rows) -> None:
    emit(watched, 500, 10)
    (before,) = wait_until(lambda: active(watched), "it is stored")
    assert watched.stop() == 0

    start(watched)
    wait_until(lambda: active(watched) == [before], "it is still there")
    emit(watched, 500, 10)
    watched.wait_for_rows(10)
    assert active(watched) == [before]
    assert rows(STORED) == [(before["id"], "half-fail", "active", 50.0)]


def test_alert_fired_just_before_the_stop_is_stored(watched: Daemon, rows: Rows) -> None:
    emit(watched, 500, 10)
    wait_until(lambda: "alert triggered" in watched.log(), "it fires")
    assert watched.stop() == 0
    assert [row[1:] for row in rows(STORED)] == [("half-fail", "active", 50.0)]


def test_open_alert_of_a_killed_daemon_is_not_doubled(watched: Daemon, rows: Rows) -> None:
    emit(watched, 500, 10)
    (before,) = wait_until(lambda: active(watched), "it is stored")
    watched.process.kill()
    watched.process.wait(30)
    start(watched)
    emit(watched, 500, 10)
    watched.wait_for_rows(10)
    assert watched.stop() == 0
    assert rows(STORED) == [(before["id"], "half-fail", "active", 50.0)]


def test_alert_fired_while_the_database_is_away_is_stored_later(
    line: Any, make_storing: MakeStoring, rows: Rows
) -> None:
    line.cut()
    daemon = make_storing(RULE, STORAGE__DSN=line.dsn)
    daemon.start()
    emit(daemon, 500, 10)
    daemon.wait_for_events(10)
    wait_until(lambda: daemon.get("/api/status")["flush"]["failures"] > 0, "it has tried")
    line.restore()
    (alert,) = wait_until(lambda: daemon.fetch("/api/alerts")[0] == 200 and active(daemon), "it is")
    assert [row[0] for row in rows(STORED)] == [alert["id"]]


def test_alert_of_a_removed_rule_is_resolved_at_the_next_start(watched: Daemon, rows: Rows) -> None:
    emit(watched, 500, 10)
    (before,) = wait_until(lambda: active(watched), "it is stored")
    assert watched.stop() == 0
    watched.config.write_text(watched.config.read_text().replace("half-fail", "other"))
    start(watched)
    wait_until(lambda: not active(watched), "it is resolved")
    assert rows(STORED) == [(before["id"], "half-fail", "resolved", 50.0)]

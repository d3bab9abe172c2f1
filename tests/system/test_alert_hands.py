"""People acknowledge, resolve and silence alerts of the real daemon, over HTTP."""

import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from alerts.servers import HttpServer, http_server
from store.databases import eventually
from support import Daemon, wait_until
from system.test_alerts import LIMIT, active, emit, next_of_type, start
from trio_websocket import open_websocket_url

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]

RULE = """
[alerts]
check_interval_ms = 50
default_cooldown_ms = 3600000
[[alerts.rules]]
id = "half-fail"
name = "Half Fail"
severity = "critical"
condition = {{ metric = "error_rate", operator = ">", threshold = 50, window = "5m" }}
actions = [{{ type = "webhook", config = {{ url = "{url}" }} }}]
"""
NOBODY = "http://127.0.0.1:9/"


def send(daemon: Daemon, method: str, path: str, body: object = None) -> Any:
    """The data of the answer to a request that changes something."""
    request = urllib.request.Request(
        daemon.url + path,
        method=method,
        data=json.dumps({} if body is None else body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())["data"]


async def in_thread(ask: Callable[..., Any], *args: Any) -> Any:
    return await trio.to_thread.run_sync(ask, *args)


async def received(server: HttpServer, count: int) -> list[tuple[str, str]]:
    """Event and alert's status of each of so many notices."""
    with trio.fail_after(LIMIT):
        await eventually(lambda: len(server.received) >= count)
    bodies = [json.loads(each.body) for each in server.received]
    return [(body["event"], body["alert"]["status"]) for body in bodies]


@asynccontextmanager
async def watched(make_storing: MakeStoring) -> AsyncIterator[tuple[Daemon, HttpServer]]:
    """A running daemon whose rule tells a webhook."""
    async with http_server() as server:
        daemon = make_storing(RULE.format(url=server.url))
        await in_thread(start, daemon)
        yield daemon, server


async def test_acknowledgement_is_pushed_and_survives_a_restart(make_storing: MakeStoring) -> None:
    daemon = make_storing(RULE.format(url=NOBODY))
    await in_thread(start, daemon)
    with trio.fail_after(LIMIT):
        async with open_websocket_url(
            daemon.url.replace("http://", "ws://") + "/ws/metrics"
        ) as socket:
            await next_of_type(socket, "metrics")
            await in_thread(emit, daemon, 500, 10)
            fired = await next_of_type(socket, "alert")
            path = f"/api/alerts/{fired['id']}/acknowledge"
            alert = await in_thread(send, daemon, "POST", path)
            assert await next_of_type(socket, "alert") == alert
    assert (alert["status"], alert["acknowledgedBy"]) == ("acknowledged", "anonymous")
    assert await in_thread(daemon.stop) == 0

    await in_thread(start, daemon)
    await in_thread(emit, daemon, 500, 10)
    await in_thread(daemon.wait_for_rows, 10)
    assert await in_thread(daemon.get, "/api/alerts") == [alert]
    assert await in_thread(send, daemon, "POST", path) == alert


async def test_silence_holds_a_webhook_back_and_releases_it(make_storing: MakeStoring) -> None:
    async with watched(make_storing) as (daemon, server):
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        body = {"ruleId": "half-fail", "until": until, "comment": "a test"}
        silence = await in_thread(send, daemon, "POST", "/api/alerts/silences", body)
        await in_thread(emit, daemon, 500, 10)
        await in_thread(wait_until, lambda: active(daemon), "it is shown and stored")
        assert server.received == []
        await in_thread(send, daemon, "DELETE", f"/api/alerts/silences/{silence['id']}")
        assert await received(server, 1) == [("triggered", "active")]
        assert await in_thread(daemon.get, "/api/alerts/silences") == []


async def test_alert_resolved_by_hand_is_told_and_stays_resolved(
    make_storing: MakeStoring, rows: Rows
) -> None:
    async with watched(make_storing) as (daemon, server):
        await in_thread(emit, daemon, 500, 10)
        (alert,) = await in_thread(wait_until, lambda: active(daemon), "it fires")
        await in_thread(send, daemon, "POST", f"/api/alerts/{alert['id']}/resolve")
        told = [("triggered", "active"), ("resolved", "resolved")]
        assert await received(server, 2) == told
        await in_thread(emit, daemon, 500, 10)
        await in_thread(daemon.wait_for_rows, 20)
        assert await in_thread(daemon.stop) == 0
        assert await received(server, 2) == told
    stored = await in_thread(rows, "SELECT status, resolved_by FROM alerts")
    assert stored == [("resolved", "anonymous")]


async def test_alert_is_acknowledged_and_resolved_over_another_daemon(
    make_storing: MakeStoring,
) -> None:
    async with watched(make_storing) as (daemon, server):
        other = make_storing(RULE.format(url=NOBODY), NODE="other")
        await in_thread(start, other)
        await in_thread(emit, daemon, 500, 10)
        (alert,) = await in_thread(wait_until, lambda: active(other), "the other lists it")
        path = f"/api/alerts/{alert['id']}"
        url = daemon.url.replace("http://", "ws://") + "/ws/metrics"
        with trio.fail_after(LIMIT):
            async with open_websocket_url(url) as socket:
                await next_of_type(socket, "metrics")
                acknowledged = await in_thread(send, other, "POST", f"{path}/acknowledge")
                assert await next_of_type(socket, "alert") == acknowledged
                resolved = await in_thread(send, other, "POST", f"{path}/resolve")
                assert await next_of_type(socket, "alert") == resolved
        assert await received(server, 2) == [("triggered", "active"), ("resolved", "resolved")]
        assert await in_thread(daemon.get, path) == resolved

"""The WebSocket: messages and their order."""

import json
from typing import Any

import pytest
import trio
from trio_websocket import (
    WebSocketConnection,
    open_websocket_url,
)
from web.streams import WAIT_SECONDS, wait_until

from aegisd.web.websocket.hub import MAX_EXTRA_REFRESHES

SLOW = "[dashboard.websocket]\nupdate_interval_ms = 1000000"
TOPICS = (
    *("overview", "requestRate", "latencyPercentiles", "statusDistribution"),
    *("topEndpoints", "backends"),
)
NAMES = {*TOPICS, "alerts"}
EVENTS = [
    {"method": "GET", "path": "/a", "status_code": 500, "duration_ms": 5},
    {"method": "GET", "path": "/a", "status_code": 200},
    {"kind": "backend", "backend_name": "a", "status": "healthy"},
]


def connected_to(web: Any, path: str = "/ws/metrics", **options: Any) -> Any:
    return open_websocket_url(f"ws://127.0.0.1:{web.port}{path}", **options)


async def receive(connection: WebSocketConnection) -> dict[str, Any]:
    with trio.fail_after(WAIT_SECONDS):
        return json.loads(await connection.get_message(), parse_constant=pytest.fail)


async def ask(connection: WebSocketConnection, message: Any) -> dict[str, Any]:
    await connection.send_message(message if isinstance(message, str) else json.dumps(message))
    return await receive(connection)


def subscribe(*on: str, off: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "subscribe", "data": dict.fromkeys(on, True) | dict.fromkeys(off, False)}


async def test_server_sends_the_overview_first(serving):
    async with serving(SLOW) as web, connected_to(web) as connection:
        first = await receive(connection)
    assert first.keys() == {"type", "timestamp", "data"}
    assert first["type"] == "metrics"
    assert first["data"].keys() == {"overview"}


async def test_metrics_come_every_interval(serving):
    async with serving() as web, connected_to(web) as connection:
        times = [(await receive(connection))["timestamp"] for _ in range(5)]
    assert times == sorted(times)
    assert len(set(times)) > 1


@pytest.mark.parametrize(
    ("message", "topics"),
    [
        (subscribe(*NAMES), NAMES),
        (subscribe("backends"), {"overview", "alerts", "backends"}),
        (subscribe("requestRate", off=("overview",)), {"alerts", "requestRate"}),
        (subscribe(off=("overview", "alerts")), set()),
        (subscribe(), {"overview", "alerts"}),
        (subscribe("overview", off=("backends",)), {"overview", "alerts"}),
    ],
)
async def test_subscription_is_answered_with_all_topics_then_metrics(serving, message, topics):
    async with serving(SLOW) as web, connected_to(web) as connection:
        await receive(connection)
        assert await ask(connection, message) == {
            "type": "subscribed",
            "data": {name: name in topics for name in NAMES},
        }
        metrics = await receive(connection)
    assert metrics["type"] == "metrics"
    assert metrics["data"].keys() == topics - {"alerts"}


async def test_unsubscribed_topic_is_no_longer_sent(serving):
    async with serving() as web, connected_to(web) as connection:
        await receive(connection)
        await connection.send_message(json.dumps(subscribe("backends", off=("overview",))))
        while (await receive(connection))["type"] != "subscribed":
            pass
        for _ in range(5):
            assert (await receive(connection))["data"].keys() == {"backends"}


async def test_topic_has_the_shape_of_its_http_answer(serving, dsn):
    async with serving(SLOW, dsn) as web, connected_to(web) as connection:
        web.process(*EVENTS)
        web.daemon.storage.writer.stop()  # which writes what waits
        await web.wait_for_rows(len(EVENTS))
        await receive(connection)
        await ask(connection, subscribe(*TOPICS))
        data = (await receive(connection))["data"]
        paths = {
            "overview": "realtime",
            "requestRate": "request-rate?range=15m",
            "latencyPercentiles": "latency?range=15m",
            "statusDistribution": "status-distribution?range=15m",
            "topEndpoints": "top-endpoints",
            "backends": "backends",
        }
        answers = {topic: await web.data(f"/api/metrics/{path}") for topic, path in paths.items()}
    assert tuple(data) == TOPICS
    assert shape(data) == shape(answers)
    assert data["overview"]["totalRequests"] == 2
    assert sum(point["requestCount"] for point in data["requestRate"]) == 2
    assert sum(point["failedCount"] for point in data["requestRate"]) == 1
    assert data["backends"] == answers["backends"]
    assert 89 <= len(data["requestRate"]) <= 91


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


async def test_alert_is_sent_at_once_to_subscribers_of_alerts(serving):
    async with serving(SLOW) as web, connected_to(web) as one, connected_to(web) as other:
        await receive(one)
        await receive(other)
        await ask(other, subscribe(off=("alerts",)))
        await receive(other)
        web.process(EVENTS[0])
        web.daemon.alerts.check()
        triggered = await receive(one)
        web.process(*[EVENTS[1]] * 100)
        web.daemon.alerts.check()
        resolved = await receive(one)
        assert await ask(other, {"type": "ping"}) == {"type": "pong"}
    assert triggered.keys() == {"type", "timestamp", "data"}
    assert (triggered["type"], triggered["data"]["status"]) == ("alert", "active")
    assert resolved["data"]["status"] == "resolved"
    assert resolved["data"]["id"] == triggered["data"]["id"]
    assert resolved["data"].keys() == {
        *("id", "ruleId", "ruleName", "severity", "status", "message", "triggeredAt"),
        *(
            "resolvedAt",
            "acknowledgedAt",
            "acknowledgedBy",
            "resolvedBy",
            "currentValue",
            "threshold",
        ),
    }


def record_calls(monkeypatch: pytest.MonkeyPatch, whose: Any, name: str) -> list[str]:
    """A list that gets an item for each later call of a method."""
    found: list[str] = []
    made = getattr(whose, name)
    monkeypatch.setattr(whose, name, lambda *args: found.append(name) or made(*args))
    return found


async def test_topic_is_made_once_an_interval_for_all_clients(serving, monkeypatch):
    async with serving() as web, connected_to(web) as one, connected_to(web) as other:
        for connection in (one, other):
            await connection.send_message(json.dumps(subscribe(*TOPICS)))
            while (await receive(connection))["type"] != "subscribed":
                pass
        series = record_calls(monkeypatch, web.daemon.live, "series")
        published = record_calls(monkeypatch, web.daemon.hub, "_publish")
        while len(published) < 4:
            await receive(one)
        assert 0 < len(series) <= len(published)  # fewer where both clients are slow


async def test_repeated_subscriptions_make_few_refreshes(serving, monkeypatch):
    async with serving(SLOW) as web, connected_to(web) as connection:
        await receive(connection)
        series = record_calls(monkeypatch, web.daemon.live, "series")
        for _ in range(4 * MAX_EXTRA_REFRESHES):
            await ask(connection, subscribe(*TOPICS))
            assert (await receive(connection))["data"].keys() == set(TOPICS)
    assert len(series) < MAX_EXTRA_REFRESHES


async def test_ping_gets_a_pong(serving):
    async with serving(SLOW) as web, connected_to(web) as connection:
        await receive(connection)
        assert await ask(connection, {"type": "ping", "more": 1}) == {"type": "pong"}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("nonsense", "bad_message"),
        ("", "bad_message"),
        ("[" * 4000, "bad_message"),
        ("5", "unknown_type"),
        ("[]", "unknown_type"),
        ({}, "unknown_type"),
        ({"type": "unsubscribe"}, "unknown_type"),
        ({"type": ["ping"]}, "unknown_type"),
        ({"type": "subscribe"}, "bad_message"),
        ({"type": "subscribe", "data": {}, "delta": 1}, "bad_message"),
        ({"type": "subscribe", "data": {}, "since": 1}, "bad_message"),
        ({"type": "subscribe", "data": ["overview"]}, "bad_message"),
        (subscribe("nothing"), "unknown_topic"),
        (subscribe("\ud800"), "unknown_topic"),
        ({"type": "subscribe", "data": {"overview": 1}}, "bad_message"),
        ({"type": "subscribe", "data": {"overview": None}}, "bad_message"),
    ],
)
async def test_wrong_message_gets_an_error_and_the_connection_stays(serving, message, code):
    async with serving(SLOW) as web, connected_to(web) as connection:
        await receive(connection)
        answer = await ask(connection, message)
        assert answer.keys() == {"type", "error"}
        assert (answer["type"], answer["error"]["code"]) == ("error", code)
        assert answer["error"]["message"]
        assert await ask(connection, {"type": "ping"}) == {"type": "pong"}


async def test_wrong_subscription_changes_no_topic(serving):
    async with serving(SLOW) as web, connected_to(web) as connection:
        await receive(connection)
        await ask(connection, subscribe("backends", "nothing"))
        assert (await ask(connection, subscribe()))["data"]["backends"] is False


async def test_client_that_closes_is_removed(serving):
    async with serving(SLOW) as web:
        async with connected_to(web) as connection:
            await receive(connection)
            assert web.daemon.hub.count == 1
        await wait_until(lambda: web.daemon.hub.count == 0)

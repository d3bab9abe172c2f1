"""What the stream sends: changes only, alerts that were missed, and nothing to the slow."""

import json
import socket

import pytest
import trio
from attrs import evolve
from web.frames import PING, RawClient, frame, raw_client
from web.streams import WAIT_SECONDS, wait_until
from web.test_websocket import EVENTS, SLOW, TOPICS, record_calls, subscribe

from aegisd.alerts import Alert
from aegisd.web.websocket import hub as hub_module

SERIES = ("requestRate", "latencyPercentiles", "statusDistribution")
FAST = "[dashboard.websocket]\nupdate_interval_ms = 20\nmax_connections_per_ip = 3"
NEVER_STORED = "5b3c2f9e-0000-4000-8000-000000000000"


def alert(number: int, status: str = "active") -> Alert:
    id_ = f"5b3c2f9e-0000-4000-8000-{number:012}"
    return Alert(id_, "r", "Rule", "info", status, "high", 1.0, 0.5, number * 1_000_000)


async def metrics(client: RawClient) -> dict:
    while (message := await client.message())["type"] != "metrics":
        pass
    return message


async def ask_delta(client: RawClient, *topics: str, **more: object) -> dict:
    """Subscribe to changes; return the first metrics after the answer."""
    await client.say(subscribe(*topics) | {"delta": True} | more)
    while (await client.message())["type"] != "subscribed":
        pass
    return await metrics(client)


def merge(whole: dict, message: dict) -> dict:
    """What a client shows after a message, by the rule of docs/api.md."""
    if not message.get("delta"):
        return message["data"]
    merged = whole | message["data"]
    for topic in SERIES:
        points = {p["timestamp"]: p for p in whole[topic]}
        points |= {p["timestamp"]: p for p in message["data"].get(topic, [])}
        merged[topic] = [points[time] for time in sorted(points)]
    return merged


async def test_delta_sends_the_whole_then_only_buckets_that_changed(serving):
    async with serving(FAST) as web, raw_client(web) as client:
        web.process(*EVENTS)
        first = await ask_delta(client, *TOPICS)
        assert "delta" not in first
        assert {len(first["data"][topic]) for topic in SERIES} <= {89, 90}
        for _ in range(5):
            web.process(EVENTS[0])
            message = await metrics(client)
            assert message["delta"] is True
            assert all(len(message["data"].get(topic, [])) <= 3 for topic in SERIES)


async def test_topic_without_a_change_is_left_out_of_a_delta(serving):
    async with serving(FAST) as web, raw_client(web) as client:
        web.process(EVENTS[2])
        await ask_delta(client, "backends", "topEndpoints", "statusDistribution")
        second = await metrics(client)
        assert second["data"].keys() <= {"overview", "statusDistribution"}
        web.process({"kind": "backend", "backend_name": "b", "status": "healthy"})
        while "backends" not in (message := await metrics(client))["data"]:
            pass
        assert message["data"]["backends"]["summary"]["total"] == 2


async def test_merged_deltas_equal_the_whole(serving):
    async with serving(FAST) as web, raw_client(web) as client, raw_client(web) as other:
        shown = merge({}, await ask_delta(client, *TOPICS))
        for number in range(10):
            web.process(EVENTS[0] | {"timestamp": web.daemon.advance() / 1e6 - 60 * number})
            shown = merge(shown, await metrics(client))
        await other.say(subscribe(*TOPICS))
        web.daemon.hub._extra_left = 5
        while "statusDistribution" not in (whole := await metrics(other))["data"]:
            pass
        for _ in range(20):  # until both show the same moment
            shown = merge(shown, await metrics(client))
        counts = {p["timestamp"]: p["status5xx"] for p in shown["statusDistribution"]}
        assert sum(counts.values()) == 10
        for point in whole["data"]["statusDistribution"]:
            assert counts[point["timestamp"]] == point["status5xx"]


async def test_delta_is_ended_by_a_subscription_without_it(serving):
    async with serving(FAST) as web, raw_client(web) as client:
        await ask_delta(client, "requestRate")
        await client.say({"type": "subscribe", "data": {}, "delta": False})
        while (await client.message())["type"] != "subscribed":
            pass
        for _ in range(3):
            message = await metrics(client)
            assert "delta" not in message
            assert len(message["data"]["requestRate"]) >= 89


async def test_client_that_missed_updates_gets_all_buckets_that_changed(serving, monkeypatch):
    async with serving(SLOW) as web, raw_client(web) as client:
        await ask_delta(client, *SERIES)
        (served,) = web.daemon.hub._clients.values()
        served.outbox.idle = False  # as if the last message still waited
        now = web.daemon.advance() / 1e6
        for age in (400, 200, 0):
            web.process(EVENTS[0] | {"timestamp": now - age})
            await web.daemon.hub._publish()
        served.outbox.idle = True
        await web.daemon.hub._publish()
        message = await metrics(client)
        assert message["delta"] is True
        assert sum(p["status5xx"] for p in message["data"]["statusDistribution"]) == 3
        assert web.daemon.hub.refused["skipped_updates"] == 3


async def test_clock_that_is_set_back_gives_the_whole_again(serving):
    async with serving(SLOW) as web, raw_client(web) as client:
        await ask_delta(client, *SERIES)
        wall, steady = 1_000_000_000.0, web.daemon.started[1] + 5
        web.daemon.live.advance(wall, steady)
        web.daemon.hub._board.refresh(round(wall * 1e6))
        web.daemon.hub._send_update(*web.daemon.hub._clients.values())
        message = await metrics(client)
        assert "delta" not in message
        assert message["data"]["requestRate"][-1]["timestamp"].startswith("2001-09-09")


@pytest.mark.parametrize(
    ("since", "got"),
    [(1, [2, 3]), (2, [1, 3]), (3, []), (9, [2, 1, 3])],
    ids=["known", "changed since", "the newest", "unknown"],
)
async def test_alerts_missed_since_one_come_before_the_metrics(serving, since, got):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.say(subscribe(off=("alerts",)))
        assert (await client.message())["type"] == "subscribed"
        await metrics(client)
        changes = [alert(1), alert(2), alert(1, "resolved"), alert(3)]
        if since == 1:
            changes = [alert(1), alert(2), alert(3)]
        for change in changes:
            web.daemon.hub.announce(change)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.say(subscribe("alerts") | {"since": alert(since).id})
        assert (await client.message())["type"] == "subscribed"
        for number in got:
            message = await client.message()
            assert message["type"] == "alert"
            assert message["data"]["id"] == alert(number).id
        assert (await client.message())["type"] == "metrics"


async def test_alerts_before_the_daemon_s_start_come_from_the_database(serving, dsn):
    async with serving(SLOW, dsn) as web, raw_client(web) as client:
        await client.message()
        for stored in (alert(1), alert(2), alert(3)):
            await web.daemon.alert_table.save(stored)
        web.daemon.hub.announce(evolve(alert(3), status="resolved", resolved_at=9_000_000))
        assert (await client.message())["data"]["status"] == "resolved"
        await client.say({"type": "subscribe", "data": {}, "since": alert(1).id})
        assert (await client.message())["type"] == "subscribed"
        found = [(await client.message())["data"] for _ in range(3)]
        assert [(each["id"], each["status"]) for each in found] == [
            (alert(1).id, "active"),
            (alert(2).id, "active"),
            (alert(3).id, "resolved"),
        ]
        assert (await client.message())["type"] == "metrics"


@pytest.mark.parametrize("id_", [NEVER_STORED, "", "no id", "x" * 3000])
async def test_unknown_alert_gives_all_that_are_remembered(serving, id_):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        web.daemon.hub.announce(alert(1))
        await client.message()
        await client.say({"type": "subscribe", "data": {}, "since": id_})
        assert (await client.message())["type"] == "subscribed"
        assert (await client.message())["data"]["id"] == alert(1).id


async def test_client_that_never_reads_is_passed_over_then_ended(serving, monkeypatch):
    monkeypatch.setattr(hub_module, "SLOW_SECONDS", 0.5)
    async with serving(FAST) as web, raw_client(web) as other:
        with socket.socket() as small:
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            small.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(small))
            await stream.socket.connect(("127.0.0.1", web.port))
            never = RawClient(stream, "")
            from web.frames import HANDSHAKE  # noqa: PLC0415

            await stream.send_all(HANDSHAKE.encode() + b"\r\n")
            await never.say(subscribe(*TOPICS))
            await wait_until(lambda: web.daemon.hub.refused["too_slow"] == 1)
            assert web.daemon.hub.refused["skipped_updates"] > 0
            await wait_until(lambda: web.daemon.hub.count == 1)
        times = {(await metrics(other))["timestamp"] for _ in range(5)}
        assert len(times) > 1


async def test_half_open_client_is_pinged_then_closed(serving, monkeypatch):
    monkeypatch.setattr(hub_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(hub_module, "PING_SECONDS", 0.1)
    monkeypatch.setattr(hub_module, "CLIENT_SILENCE_SECONDS", 1)
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        assert (await client.receive())[0] & 0x0F == PING
        assert await client.closed() == 1008
        assert web.daemon.hub.refused["silent"] == 1


async def test_client_that_answers_pings_stays(serving, monkeypatch):
    monkeypatch.setattr(hub_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(hub_module, "PING_SECONDS", 0.1)
    monkeypatch.setattr(hub_module, "CLIENT_SILENCE_SECONDS", 2)
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        for _ in range(25):
            head, payload = await client.receive()
            assert head & 0x0F == PING
            await client.send(frame(10, payload))
        assert web.daemon.hub.count == 1


async def test_more_clients_of_an_address_than_allowed_get_429_and_all_503(serving):
    async with serving(FAST) as web:
        async with raw_client(web), raw_client(web), raw_client(web), raw_client(web) as fourth:
            assert fourth.answer.startswith("HTTP/1.1 429 ")
            web.daemon.hub._limit = 3
            async with raw_client(web) as fifth:
                assert fifth.answer.startswith("HTTP/1.1 503 ")
            assert web.daemon.connections.refused["too_many_connections"] == 2
        await wait_until(lambda: web.daemon.hub.count == 0)


async def test_websocket_client_takes_no_place_of_the_http_connections(serving):
    async with serving(FAST, room=10) as web, raw_client(web), raw_client(web):
        assert web.daemon.connections.placed == 0
        assert (await web.get("/healthz")).status_code == 200
        assert web.daemon.connections.waiting <= 1


async def test_refusals_are_in_the_exposition(serving):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.say({"type": "nothing"})
        await client.message()
        text = (await web.get("/metrics")).text
    assert 'aegisd_websocket_refused_total{reason="unknown_type"} 1.0' in text


async def test_many_clients_share_one_message(serving, monkeypatch):
    async with serving(SLOW) as web, raw_client(web) as one, raw_client(web) as other:
        for client in (one, other):
            await ask_delta(client, *TOPICS)
        made = record_calls(monkeypatch, web.daemon.hub._board, "_text")
        with trio.fail_after(WAIT_SECONDS):
            await web.daemon.hub._publish()
            await web.daemon.hub._publish()
        first, second = await metrics(one), await metrics(other)
        assert json.dumps(first) == json.dumps(second)
        assert len(made) <= 3  # at first one client's base is older

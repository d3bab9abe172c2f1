"""Expensive questions: bounded in number, of one address and in all, and nobody else waits."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import pytest
import trio
from attrs import evolve
from store.databases import ask, session
from store.databases import until as wait_for_answer
from web.streams import wait_until

from aegisd.alerts import Alert
from aegisd.web.answers.costly import RAW_SECONDS, WIDE_SECONDS
from aegisd.web.http import leaving

RAW = "/api/metrics/overview?exact=true&range=30d"
WIDE = "/api/metrics/request-rate?range=30d"
QUICK = (
    *("/api/metrics/realtime", "/api/metrics/overview?range=5m", "/api/metrics/latency?range=15m"),
    *("/api/alerts", "/readyz"),
)
STUCK = "SELECT count(*)::int FROM pg_locks WHERE NOT granted"
ALERT = Alert(str(uuid4()), "r", "Rule", "critical", "active", "m", 1.0, 0.5, 1_000_000)
EVENT = {"method": "GET", "path": "/a", "status_code": 200}

ADDRESSES = [f"127.0.0.{n}" for n in range(2, 30)]


@asynccontextmanager
async def crowd(
    web, dsn, locked: str, path: str, addresses: Sequence[str]
) -> AsyncIterator[list[trio.SocketStream]]:
    """Connections from these addresses whose questions, all different, wait for a locked table."""
    async with session(dsn) as execute, AsyncExitStack() as stack:
        await execute(f"BEGIN; LOCK TABLE {locked}")
        streams = []
        for number, address in enumerate(addresses):
            stream = await stack.enter_async_context(await web.connect(address))
            line = f"GET {path}&node=n{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await stream.send_all(line.encode())
            if not number:
                await wait_for_answer(dsn, STUCK, 1)
            streams.append(stream)
        connections = web.daemon.connections
        await wait_until(lambda: connections.placed + connections.refused["busy"] == len(streams))
        yield streams


async def test_crowd_of_raw_questions_leaves_room_for_all_else(serving, dsn):
    """Quick questions, folding, and the alert manager's saves; refused ones learn when to ask."""
    async with serving(dsn=dsn) as web:
        web.process(EVENT | {"timestamp": time.time() - 600})  # old enough to be folded
        await web.wait_for_rows(1)
        await web.daemon.upkeep._read_clock_and_policy()
        async with crowd(web, dsn, "request_metrics", RAW, ADDRESSES[:12]):
            await wait_until(lambda: web.daemon.connections.placed == 6)
            quick = {path: (await web.get(path)).status_code for path in QUICK}
            await web.daemon.alert_table.save(ALERT)
            await web.daemon.upkeep._fold()  # alone: partitions would wait for the test's lock
            assert await ask(dsn, "SELECT count(*)::int FROM request_pieces") == [(0,)]
            assert await ask(dsn, STUCK) == [(1,)]
            refused = await web.get(RAW)
        alerts = await web.data("/api/alerts")
    assert quick == dict.fromkeys(QUICK, 200)
    assert [alert["ruleId"] for alert in alerts] == ["r"]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, str(RAW_SECONDS))
    assert refused.json()["error"] == {
        "code": "busy",
        "message": "questions of raw rows: 6 run or wait; ask again later",
    }


async def test_crowd_of_wide_questions_leaves_a_place_to_those_about_a_day(serving, dsn):
    async with (
        serving(dsn=dsn) as web,
        crowd(web, dsn, "request_rollups_1h", WIDE, ADDRESSES[:5] * 14),
    ):
        await wait_until(lambda: web.daemon.connections.placed == 64)
        await wait_for_answer(dsn, STUCK, 2)
        quick = {path: (await web.get(path)).status_code for path in QUICK}
        await web.daemon.alert_table.save(evolve(ALERT, id=str(uuid4())))
        refused = await web.get(WIDE)
    assert quick == dict.fromkeys(QUICK, 200)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, str(WIDE_SECONDS))


@pytest.mark.parametrize(
    ("locked", "path", "share", "seconds"),
    [
        ("request_metrics", RAW, 3, RAW_SECONDS),
        ("request_rollups_1h", WIDE, 16, WIDE_SECONDS),
        ("request_rollups_1h", "/api/metrics/request-rate?from=1e9", 16, WIDE_SECONDS),
    ],
)
async def test_one_address_gets_its_share_and_429_beyond(
    serving, dsn, locked, path, share, seconds
):
    async with serving(dsn=dsn) as web, crowd(web, dsn, locked, path, ["127.0.0.1"] * share):
        refused = await web.get(path)
        async with await web.connect("127.0.0.2") as other:
            await other.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await wait_until(lambda: web.daemon.connections.placed == share + 1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
    assert refused.headers["retry-after"] == str(seconds)


async def test_same_question_of_many_costs_one_place_of_the_budget(serving, dsn):
    async with serving(dsn=dsn) as web, session(dsn) as execute, AsyncExitStack() as stack:
        await execute("BEGIN; LOCK TABLE request_metrics")
        streams = [await stack.enter_async_context(await web.connect()) for _ in range(20)]
        for stream in streams:
            line = f"GET {RAW} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            await stream.send_all(line.encode())
        await wait_until(lambda: web.daemon.connections.placed == 20)
        assert not web.daemon.connections.refused
        await execute("COMMIT")
        for stream in streams:
            assert (await stream.receive_some(2000)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("number", [0, -1])
async def test_client_that_leaves_frees_its_place(serving, dsn, monkeypatch, number):
    """The running question and the last waiting one; the client has sent another request."""
    monkeypatch.setattr(leaving, "LOOK_SECONDS", 0.01)
    async with (
        serving(dsn=dsn) as web,
        crowd(web, dsn, "request_metrics", RAW, ADDRESSES[:6]) as streams,
    ):
        await streams[number].send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await streams[number].aclose()
        await wait_until(lambda: web.daemon.connections.placed == 5)
        await wait_for_answer(dsn, STUCK, 1)
        assert (await web.get("/readyz")).status_code == 200

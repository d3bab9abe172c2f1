"""Questions of raw rows: a bounded queue, and an end when the client has left."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from store.databases import ask, session
from store.databases import until as wait_for_answer
from web.streams import wait_until

from aegisd.store.database.pool import READ_SECONDS
from aegisd.store.database.postgres import MAX_SLOW_WAITING, Postgres
from aegisd.web.http import leaving

EXACT = "/api/metrics/overview?exact=true&range=30d"
QUICK = (
    *("/api/metrics/overview?range=30d", "/api/metrics/request-rate", "/api/metrics/top-endpoints"),
    *("/api/alerts", "/readyz"),
)
STUCK = "SELECT count(*)::int FROM pg_locks WHERE NOT granted"


def postgres_of(web) -> Postgres:
    return web.daemon.postgres


@asynccontextmanager
async def slow_questions(web, dsn) -> AsyncIterator[list[trio.SocketStream]]:
    """The connections of as many slow questions as may run or wait; the first is stuck."""
    async with session(dsn) as execute, AsyncExitStack() as stack:
        await execute("BEGIN; LOCK TABLE request_metrics")
        streams = []
        for number in range(1 + MAX_SLOW_WAITING):
            stream = await stack.enter_async_context(await web.connect())
            await stream.send_all(f"GET {EXACT} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            streams.append(stream)
            if not number:
                await wait_for_answer(dsn, STUCK, 1)
        await wait_until(lambda: postgres_of(web)._slow.waiting == MAX_SLOW_WAITING)
        yield streams


async def test_full_queue_refuses_slow_questions_and_answers_quick_ones(serving, dsn):
    async with serving(dsn=dsn) as web, slow_questions(web, dsn):
        refused = await web.get(EXACT)
        quick = {path: (await web.get(path)).status_code for path in QUICK}
        assert await ask(dsn, STUCK) == [(1,)]
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == str(READ_SECONDS)
    assert refused.json()["error"] == {
        "code": "busy",
        "message": "queries of raw rows: 1 running and 5 waiting; ask again later",
    }
    assert quick == dict.fromkeys(QUICK, 200)


@pytest.mark.parametrize("number", [0, -1])
async def test_client_that_leaves_frees_its_place(serving, dsn, monkeypatch, number):
    """The running question and the last waiting one; the client has sent another request."""
    monkeypatch.setattr(leaving, "LOOK_SECONDS", 0.01)
    async with serving(dsn=dsn) as web, slow_questions(web, dsn) as streams:
        await streams[number].send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await streams[number].aclose()
        await wait_until(lambda: postgres_of(web)._slow.waiting == MAX_SLOW_WAITING - 1)
        await wait_for_answer(dsn, STUCK, 1)
        assert (await web.get("/readyz")).status_code == 200

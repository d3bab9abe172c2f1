"""Reads: a few at a time, each bounded, none leaks a connection."""

import pytest
import trio
import trio.testing
from store.cluster import bounded
from store.databases import ask, database, until

from aegisd.errors import DatabaseUnavailable, DataRefused
from aegisd.store.database import pool
from aegisd.store.database.postgres import MAX_OWN

OURS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'aegisd'"
)


@bounded
async def test_reads_share_a_few_connections(dsn: str) -> None:
    most = 0

    async def read() -> None:
        nonlocal most
        ((seen,),) = await postgres.fetch(f"{OURS} AND pg_sleep(0.01) IS NOT NULL")
        most = max(most, seen)

    async with database(dsn) as postgres:
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(read)
        assert most == MAX_OWN
        assert await ask(dsn, OURS) == [(MAX_OWN,)]
    await until(dsn, OURS, 0)


@bounded
async def test_queries_that_fail_leak_no_connection(dsn: str) -> None:
    async with database(dsn) as postgres:
        for _ in range(10):
            with pytest.raises(DatabaseUnavailable, match="does not exist"):
                await postgres.fetch("SELECT * FROM nowhere")
        await until(dsn, OURS, 0)
        assert await postgres.fetch("SELECT 1") == [(1,)]
        assert await ask(dsn, OURS) == [(1,)]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", 5])
@bounded
async def test_an_argument_that_is_no_value_for_postgres_is_refused(dsn: str, text: object) -> None:
    async with database(dsn) as postgres:
        with pytest.raises(DataRefused):
            await postgres.fetch("SELECT $1::text", text)
        assert await postgres.fetch("SELECT $1::text", "fine") == [("fine",)]


@bounded
async def test_a_statement_that_takes_too_long_ends_on_both_sides(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "READ_SECONDS", 0.3)
    async with database(dsn) as postgres:
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0.3 s|timeout"):
            await postgres.fetch("SELECT pg_sleep(600)")
        await until(dsn, OURS, 0)


@bounded
async def test_a_read_that_is_cancelled_ends_at_once_and_leaks_nothing(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "READ_SECONDS", 2)
    async with database(dsn) as postgres:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(postgres.fetch, "SELECT pg_sleep(600)")
            await until(dsn, f"{OURS} AND state = 'active'", 1)
            nursery.cancel_scope.cancel()
        await until(dsn, OURS, 0)
        assert await postgres.fetch("SELECT 1") == [(1,)]


@bounded
async def test_connections_that_the_server_ended_at_rest_fail_no_read(dsn: str) -> None:
    async with database(dsn) as postgres:
        for _ in range(3):
            assert await postgres.fetch("SELECT 1") == [(1,)]
            await ask(
                dsn,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            await until(dsn, OURS, 0)
            await trio.testing.wait_all_tasks_blocked(0.01)


@bounded
async def test_what_a_read_changes_is_committed(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.execute("CREATE TABLE made AS SELECT 42 AS answer")
    assert await ask(dsn, "SELECT answer FROM made") == [(42,)]


@bounded
async def test_without_an_address_reads_say_that_postgres_is_still_starting() -> None:
    async with database(None) as postgres:
        with pytest.raises(DatabaseUnavailable, match="still starting"):
            await postgres.fetch("SELECT 1")

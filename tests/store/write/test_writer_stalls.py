"""The writer against a server that stalls, and against locked tables."""

from pathlib import Path

import pytest
import trio
import trio.testing
from store.cluster import bounded
from store.databases import (
    DAY,
    NOON,
    ask,
    database,
    eventually,
    requests,
    running,
    storage_in,
    until,
)
from store.proxy import proxied

from aegisd.store.database import Postgres, connecting, pool, writing
from aegisd.store.schema import partitions
from aegisd.store.write import writer as writer_module

COUNT = "SELECT count(*) FROM request_metrics"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_SECONDS", 0.05)


@bounded
async def test_writer_gives_up_on_a_server_that_stalls_while_a_statement_waits(
    tmp_path: Path, dsn: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = f"SELECT pg_advisory_xact_lock({partitions.PARTITION_LOCK}), pg_sleep(60)"
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    async with (
        database(None) as postgres,
        proxied(dsn, directory) as proxy,
        database(dsn) as other,
        storage_in(tmp_path, postgres) as storage,
    ):
        postgres.dsn = proxy.dsn
        async with running(storage.writer):
            storage.append([requests(1)])
            await eventually(lambda: storage.writer.figures.rows == 1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.fetch, lock)
                await until(dsn, f"{locks} AND granted", 1)
                monkeypatch.setattr(pool, "READ_SECONDS", 1)
                storage.append([requests(1, timestamp=NOON + DAY)])  # needs a new partition
                await until(dsn, f"{locks} AND NOT granted", 1)
                proxy.stall()
                # a ROLLBACK would now wait for an answer that never comes
                await eventually(lambda: storage.writer.figures.failures >= 1)
                nursery.cancel_scope.cancel()
            monkeypatch.setattr(pool, "READ_SECONDS", 30)
            await ask(
                dsn,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'",
            )
            proxy.restore()
            await eventually(lambda: storage.writer.figures.rows == 2)


@bounded
async def test_writer_gives_up_on_a_stalled_server_and_writes_all_later(
    tmp_path: Path, dsn: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        database(None) as postgres,
        proxied(dsn, directory) as proxy,
        storage_in(tmp_path, postgres) as storage,
    ):
        postgres.dsn = proxy.dsn
        async with running(storage.writer):
            storage.append([requests(1)])
            await eventually(lambda: storage.writer.figures.rows == 1)
            monkeypatch.setattr(writing, "WRITE_SECONDS", 0.2)
            monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.2)
            proxy.stall()
            storage.append([requests(2000, path="/" * 2000)])  # more than sockets buffer
            await eventually(lambda: storage.writer.figures.failures >= 3)
            assert storage.writer.figures.last_error == "no answer within 0.2 s"
            assert not storage.writer.figures.connected
            monkeypatch.setattr(writing, "WRITE_SECONDS", 30)
            monkeypatch.setattr(connecting, "CONNECT_SECONDS", 10)
            proxy.restore()
            await eventually(lambda: not storage.backlog.events)
        assert storage.writer.figures.rows == 2001
    assert await ask(dsn, COUNT) == [(2001,)]


@bounded
async def test_write_to_a_stalled_server_can_be_cancelled(
    tmp_path: Path, dsn: str, directory: Path
) -> None:
    async with (
        database(None) as postgres,
        proxied(dsn, directory) as proxy,
        storage_in(tmp_path, postgres, batch_size=1) as storage,
    ):
        postgres.dsn = proxy.dsn
        async with running(storage.writer):
            storage.append([requests(1)])
            await eventually(lambda: storage.writer.figures.rows == 1)
            proxy.stall()
            storage.append([requests(2000, path="/" * 2000)])
            await trio.testing.wait_all_tasks_blocked(0.2)
            # the way out cancels it: a second SIGTERM does the same
    assert storage.backlog.events == 2000


@bounded
async def test_write_to_a_locked_table_is_given_up_by_client_and_server(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        database(dsn) as postgres,
        database(dsn) as other,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer),
    ):
        storage.append([requests(1)])
        await eventually(lambda: storage.writer.figures.rows == 1)
        release = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(hold_lock, other, "request_metrics", release)
            monkeypatch.setattr(writing, "WRITE_SECONDS", 0.3)
            storage.append([requests(1)])
            await eventually(lambda: storage.writer.figures.failures >= 4)
            monkeypatch.setattr(writing, "WRITE_SECONDS", 30)
            waiting = "SELECT count(*) <= 1 FROM pg_locks WHERE NOT granted"
            await until(dsn, waiting, True)  # those given up do not pile up in the server
            release.set()
        await eventually(lambda: storage.writer.figures.rows == 2)
    assert await ask(dsn, COUNT) == [(2,)]


async def hold_lock(
    postgres: Postgres,
    table: str,
    release: trio.Event,
    task_status: trio.TaskStatus[None],
) -> None:
    """Lock a table against all others until ``release`` is set."""
    sql = (
        f"DO $$ BEGIN LOCK {table}; PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN END $$"
    )
    held = (
        "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock'"
        f" AND relation = '{table}'::regclass"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(postgres.fetch, sql)
        await until(postgres.dsn, held, 1)
        task_status.started()
        await release.wait()
        await ask(
            postgres.dsn,
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO %LOCK%'",
        )

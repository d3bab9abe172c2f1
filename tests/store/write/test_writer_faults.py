"""The writer while Postgres is away, ends its connections, or takes no rows."""

from errno import EMFILE
from pathlib import Path

import pytest
import trio
import trio.testing
from store.cluster import bounded
from store.databases import (
    ask,
    database,
    eventually,
    requests,
    running,
    storage_in,
    until,
)
from store.proxy import proxied
from structlog.testing import capture_logs

from aegisd.store.backlog import Batch
from aegisd.store.write import writer as writer_module

COUNT = "SELECT count(*) FROM request_metrics"
BACKENDS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'aegisd'"
)
AWAY, THERE = "the database can't be used, events wait in the journal", "connected to the database"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_SECONDS", 0.05)


@bounded
async def test_events_wait_for_a_database_that_comes_later(tmp_path: Path, dsn: str) -> None:
    async with database(None) as postgres, storage_in(tmp_path, postgres) as storage:
        with capture_logs() as logs:
            async with running(storage.writer):
                storage.append([requests(3)])
                await eventually(lambda: storage.writer.figures.failures >= 3)
                assert not storage.writer.ready.is_set()
                assert storage.writer.figures.last_error == "Postgres is still starting"
                assert storage.backlog.events == 3
                postgres.dsn = dsn
                await eventually(lambda: not storage.backlog.events)
                assert storage.writer.ready.is_set()
    assert await ask(dsn, COUNT) == [(3,)]
    assert [line["event"] for line in logs] == [AWAY, THERE]


@bounded
async def test_journal_that_cannot_be_read_after_a_batch_counts_the_batch_once(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        next_batch, failures = storage.backlog.next_batch, []

        def fail_once(max_events: int) -> Batch | None:
            if storage.writer.figures.batches == 1 and not failures:
                failures.append(max_events)
                raise OSError(EMFILE, "too many open files")
            return next_batch(max_events)

        monkeypatch.setattr(storage.backlog, "next_batch", fail_once)
        async with running(storage.writer):
            storage.append([requests(3)])
            await eventually(lambda: bool(failures))
            storage.append([requests(2)])
            await eventually(lambda: storage.writer.figures.batches >= 2)
            assert (storage.writer.figures.batches, storage.writer.figures.rows) == (2, 5)
    assert await ask(dsn, COUNT) == [(5,)]


@bounded
async def test_connection_ended_by_the_server_is_opened_again(tmp_path: Path, dsn: str) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer),
    ):
        for written in (1, 2, 3):
            storage.append([requests(1)])
            await eventually(lambda: not storage.backlog.events)
            assert await ask(dsn, COUNT) == [(written,)]
            await ask(
                dsn,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            await until(dsn, BACKENDS, 0)


@bounded
async def test_lost_and_regained_database_are_logged_once_each(
    tmp_path: Path, dsn: str, directory: Path
) -> None:
    async with (
        database(None) as postgres,
        proxied(dsn, directory) as proxy,
        storage_in(tmp_path, postgres) as storage,
    ):
        postgres.dsn = proxy.dsn
        with capture_logs() as logs:
            async with running(storage.writer):
                storage.append([requests(1)])
                await eventually(lambda: storage.writer.figures.rows == 1)
                for rounds in (1, 2):
                    proxy.cut()
                    storage.append([requests(1)])
                    failures = storage.writer.figures.failures
                    await eventually(lambda: storage.writer.figures.failures > failures + 5)  # noqa: B023
                    assert not storage.writer.figures.connected
                    assert storage.backlog.events == 1
                    proxy.restore()
                    await eventually(lambda: not storage.backlog.events)
                    assert await ask(dsn, COUNT) == [(1 + rounds,)]
    events = [line["event"] for line in logs]
    assert events.count(THERE) == 3
    # one for the lost connection, one for the reason that new ones are refused
    assert 2 <= events.count(AWAY) <= 4


@bounded
async def test_stop_ends_the_pause(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "FIRST_PAUSE_SECONDS", 3600)
    async with (
        database(None) as postgres,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer) as returned,
    ):
        storage.append([requests(2)])
        await eventually(lambda: storage.writer.figures.failures == 1)
        postgres.dsn = dsn
        storage.writer.stop()
        await returned.wait()
    assert await ask(dsn, COUNT) == [(2,)]


@bounded
async def test_stop_keeps_trying_while_the_database_is_away(tmp_path: Path, dsn: str) -> None:
    async with (
        database(None) as postgres,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer) as returned,
    ):
        storage.append([requests(2)])
        storage.writer.stop()
        await eventually(lambda: storage.writer.figures.failures > 3)
        assert not returned.is_set()
        postgres.dsn = dsn
        await returned.wait()
    assert await ask(dsn, COUNT) == [(2,)]


@bounded
async def test_database_that_takes_no_rows_is_logged_once(tmp_path: Path, dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    await ask(dsn, "ALTER TABLE request_metrics RENAME TO elsewhere")
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        with capture_logs() as logs:
            async with running(storage.writer):
                storage.append([requests(2)])
                await eventually(lambda: storage.writer.figures.failures > 3)
                await ask(dsn, "ALTER TABLE elsewhere RENAME TO request_metrics")
                await eventually(lambda: not storage.backlog.events)
    assert await ask(dsn, COUNT) == [(2,)]
    assert [line["event"] for line in logs] == [AWAY, THERE]
    assert '"request_metrics" does not exist' in logs[0]["why"]


@bounded
async def test_pauses_double_up_to_the_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_SECONDS", 5.0)
    asked: list[float] = []

    async def note(self: object, seconds: float) -> None:
        asked.append(seconds)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(writer_module.Writer, "_pause", note)
    async with (
        database(None) as postgres,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer),
    ):
        await eventually(lambda: len(asked) >= 5)
    assert asked[:5] == [1.0, 2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:secret@127.0.0.1:1/db",
        "postgresql://user:secret@/db?host=/nowhere",
        "postgresql://user:secret@host.invalid/db",
    ],
)
@bounded
async def test_unreachable_address_is_logged_without_the_password(
    tmp_path: Path, address: str
) -> None:
    async with database(address) as postgres, storage_in(tmp_path, postgres) as storage:
        with capture_logs() as logs:
            async with running(storage.writer):
                await eventually(lambda: storage.writer.figures.failures >= 1)
    assert logs[0]["event"] == AWAY
    assert "secret" not in logs[0]["why"]

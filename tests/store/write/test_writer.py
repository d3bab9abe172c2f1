"""The writer while Postgres works: when it writes, what it counts, how it ends."""

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from store.cluster import bounded
from store.databases import (
    ask,
    block,
    database,
    eventually,
    requests,
    running,
    storage_in,
)

from aegisd.store.backlog import backlog as backlog_module
from aegisd.store.database import Refused, writing
from aegisd.store.write import writer as writer_module

NEVER_MS = 3_600_000
COUNT = "SELECT count(*) FROM request_metrics"


@bounded
async def test_full_batch_is_written_before_the_interval_ends(tmp_path: Path, dsn: str) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres, flush_interval_ms=NEVER_MS, batch_size=100) as storage,
        running(storage.writer),
    ):
        await storage.writer.ready.wait()
        await eventually(lambda: storage.writer.figures.connected)
        storage.append([requests(99)])
        assert storage.backlog.events == 99
        storage.append([requests(1)])
        await eventually(lambda: not storage.backlog.events)
    assert await ask(dsn, COUNT) == [(100,)]
    assert (storage.writer.figures.rows, storage.writer.figures.batches) == (100, 1)


@bounded
async def test_part_of_a_batch_is_written_when_the_interval_ends(tmp_path: Path, dsn: str) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres, flush_interval_ms=50, batch_size=10_000) as storage,
        running(storage.writer),
    ):
        await eventually(lambda: storage.writer.figures.connected)
        for written in (1, 2, 3):
            storage.append([requests(1)])
            await eventually(lambda: not storage.backlog.events)
            assert await ask(dsn, COUNT) == [(written,)]
    assert storage.writer.figures.last_flush is not None


@bounded
async def test_events_appended_during_a_flush_wait_for_the_next_flush(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres, flush_interval_ms=NEVER_MS, batch_size=100) as storage,
        running(storage.writer),
    ):
        await eventually(lambda: storage.writer.figures.connected)
        write = postgres.write

        async def writing(*args: Any) -> list[Refused]:
            storage.append([requests(30)])
            return await write(*args)

        monkeypatch.setattr(postgres, "write", writing)
        storage.append([requests(100)])
        await eventually(lambda: storage.writer.figures.batches)
        for waiting in (60, 90):  # each flush is of what waited when it began
            storage.append([requests(waiting - storage.backlog.events)])
        storage.append([requests(10)])
        await eventually(lambda: storage.writer.figures.batches == 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (storage.writer.figures.batches, storage.writer.figures.rows) == (2, 200)
        assert storage.backlog.events == 30


@bounded
async def test_stop_writes_the_rest_and_returns(tmp_path: Path, dsn: str) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres, flush_interval_ms=NEVER_MS) as storage,
        running(storage.writer) as returned,
    ):
        await eventually(lambda: storage.writer.figures.connected)
        storage.append([requests(5)])
        storage.append([block("system", [{}] * 2)])
        assert not returned.is_set()
        storage.writer.stop()
        await returned.wait()
        assert await ask(dsn, COUNT) == [(5,)]
        assert await ask(dsn, "SELECT count(*) FROM system_metrics") == [(2,)]


@bounded
async def test_stop_with_an_empty_backlog_returns(tmp_path: Path, dsn: str) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres, flush_interval_ms=NEVER_MS) as storage,
        running(storage.writer) as returned,
    ):
        storage.writer.stop()
        await returned.wait()


@bounded
async def test_backlog_above_max_batch_events_is_written_in_several_batches(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH_EVENTS", 10)
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        for size in (4, 4, 4, 25, 1):
            storage.append([requests(size)])
        storage.writer.stop()
        await storage.writer.run()
    assert (storage.writer.figures.batches, storage.writer.figures.rows) == (4, 38)
    assert await ask(dsn, COUNT) == [(38,)]


@bounded
async def test_batch_above_max_batch_bytes_is_written_in_several(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path of many rows is in memory once, and on the line once for each row."""
    monkeypatch.setattr(writer_module, "MAX_BATCH_BYTES", 30_000)
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        storage.append([requests(100, path="/" + "a" * 2000)])
        storage.writer.stop()
        await storage.writer.run()
    assert storage.writer.figures.rows == 100
    assert storage.writer.figures.batches >= 8
    assert await ask(dsn, COUNT) == [(100,)]


@bounded
async def test_batch_that_timed_out_is_tried_again_in_smaller_ones(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    await ask(
        dsn,
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$",
    )
    await ask(
        dsn,
        "CREATE TRIGGER dawdle BEFORE INSERT ON request_metrics FOR EACH ROW"
        " EXECUTE FUNCTION dawdle()",
    )
    monkeypatch.setattr(writing, "WRITE_SECONDS", 0.4)
    monkeypatch.setattr(writer_module, "QUICK_SECONDS", 0.05)
    monkeypatch.setattr(writer_module, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(writer_module, "MIN_BATCH_EVENTS", 10)
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        storage.append([requests(400)])
        async with running(storage.writer):
            await eventually(lambda: storage.writer.figures.rows == 400)
    assert storage.writer.figures.failures >= 1
    assert await ask(dsn, COUNT) == [(400,)]


@bounded
async def test_events_without_room_are_counted_as_dropped_and_the_others_written(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = requests(10)
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 3 * whole.nbytes)
    async with database(dsn) as postgres, storage_in(tmp_path, postgres, max_bytes=1) as storage:
        for _ in range(5):
            storage.append([whole])
        assert storage.figures().dropped == 20
        assert storage.backlog.events == 30
        storage.writer.stop()
        await storage.writer.run()
        assert storage.backlog.events == 0
    assert await ask(dsn, COUNT) == [(30,)]


@bounded
async def test_disabled_storage_keeps_and_writes_nothing(tmp_path: Path, dsn: str) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres, enabled=False) as storage:
        storage.append([requests(3)])
        assert storage.backlog.events == 0
        storage.writer.stop()
        await storage.writer.run()
    assert await ask(dsn, COUNT) == [(0,)]


@bounded
async def test_oldest_is_the_time_of_the_first_event_not_written(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH_EVENTS", 1)
    wall = 100.0
    oldest: list[int | None] = []

    def clock() -> tuple[float, float]:
        if written:
            oldest.append(storage.backlog.load_oldest())  # asked when a batch has been written
        return wall, 0.0

    written = False
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres, clocks=clock) as storage,
    ):
        assert storage.backlog.load_oldest() is None
        for moment in (100.0, 104.0, 107.0):
            wall = moment
            storage.append([requests(1)])
        assert storage.backlog.load_oldest() == 100
        written = True
        storage.writer.stop()
        await storage.writer.run()
        assert oldest == [100, 104, 107]
        assert storage.backlog.load_oldest() is None


@bounded
async def test_events_appended_during_writing_are_all_written_before_return(
    tmp_path: Path, dsn: str
) -> None:
    async with (
        database(dsn) as postgres,
        trio.open_nursery() as nursery,
        storage_in(tmp_path, postgres, batch_size=7) as storage,
    ):
        total = 0

        async def feed() -> None:
            nonlocal total
            for size in range(1, 60):
                storage.append([requests(size % 5 + 1)])
                total += size % 5 + 1
                await trio.lowlevel.checkpoint()
            storage.writer.stop()

        nursery.start_soon(feed)
        await storage.writer.run()
    assert await ask(dsn, COUNT) == [(total,)]

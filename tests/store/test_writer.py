"""The writer on a Postgres that is there: when it writes, what it counts, how it ends."""

import pytest
import trio
import trio.lowlevel
from store.cluster import bounded
from store.database import (
    ask,
    block,
    database,
    eventually,
    requests,
    running,
    writer_for,
)
from structlog.testing import capture_logs

from aegisd.store import writer as writer_module

NEVER_MS = 3_600_000
COUNT = "SELECT count(*) FROM request_metrics"


@bounded
async def test_a_full_batch_is_written_before_it_is_time(dsn: str) -> None:
    async with database(dsn) as postgres:
        writer = writer_for(postgres, flush_interval_ms=NEVER_MS, batch_size=100)
        async with running(writer):
            await writer.ready.wait()
            await eventually(lambda: writer.figures.connected)
            writer.put(requests(99))
            assert writer.pending_events == 99
            writer.put(requests(1))
            await eventually(lambda: not writer.pending_events)
    assert await ask(dsn, COUNT) == [(100,)]
    assert (writer.figures.rows, writer.figures.batches) == (100, 1)


@bounded
async def test_less_than_a_batch_is_written_when_it_is_time(dsn: str) -> None:
    async with database(dsn) as postgres:
        writer = writer_for(postgres, flush_interval_ms=50, batch_size=10_000)
        async with running(writer):
            await eventually(lambda: writer.figures.connected)
            for written in (1, 2, 3):
                writer.put(requests(1))
                await eventually(lambda: not writer.pending_events)
                assert await ask(dsn, COUNT) == [(written,)]
    assert writer.figures.last_flush is not None
    assert writer.pending_bytes == 0


@bounded
async def test_stop_writes_the_rest_and_returns(dsn: str) -> None:
    async with database(dsn) as postgres:
        writer = writer_for(postgres, flush_interval_ms=NEVER_MS)
        async with running(writer) as returned:
            await eventually(lambda: writer.figures.connected)
            writer.put(requests(5))
            writer.put(block("system", [{}] * 2))
            assert not returned.is_set()
            writer.stop()
            await returned.wait()
            assert await ask(dsn, COUNT) == [(5,)]
            assert await ask(dsn, "SELECT count(*) FROM system_metrics") == [(2,)]


@bounded
async def test_stop_with_nothing_waiting_returns(dsn: str) -> None:
    async with database(dsn) as postgres:
        writer = writer_for(postgres, flush_interval_ms=NEVER_MS)
        async with running(writer) as returned:
            writer.stop()
            await returned.wait()


@bounded
async def test_more_than_one_transaction_takes_is_written_in_several(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH_EVENTS", 10)
    async with database(dsn) as postgres:
        writer = writer_for(postgres)
        for size in (4, 4, 4, 25, 1):
            writer.put(requests(size))
        writer.stop()
        await writer.run()
    assert (writer.figures.batches, writer.figures.rows) == (4, 38)
    assert await ask(dsn, COUNT) == [(38,)]


@bounded
async def test_a_batch_that_is_refused_is_dropped_and_counted_and_the_next_is_written(
    dsn: str,
) -> None:
    async with database(dsn) as postgres:
        writer = writer_for(postgres, batch_size=1)
        with capture_logs() as logs:
            async with running(writer):
                writer.put(requests(3, path="a\0b"))
                await eventually(lambda: not writer.pending_events)
                writer.put(requests(2))
                await eventually(lambda: not writer.pending_events)
    figures = writer.figures
    assert (figures.refused, figures.dropped_database, figures.dropped_queue) == (3, 3, 0)
    assert (figures.rows, figures.failures, figures.connected) == (2, 0, True)
    assert await ask(dsn, COUNT) == [(2,)]
    (refusal,) = [line for line in logs if line["log_level"] == "error"]
    assert refusal["rows"] == 3
    assert "0x00" in refusal["why"]


@bounded
async def test_a_full_queue_drops_and_counts_as_queue_while_postgres_is_there(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database(dsn) as postgres:
        writer = writer_for(postgres, flush_interval_ms=NEVER_MS)
        async with running(writer) as returned:
            await eventually(lambda: writer.figures.connected)
            whole = requests(10)
            monkeypatch.setattr(writer_module, "MAX_PENDING_BYTES", 3 * whole.nbytes)
            for _ in range(5):
                writer.put(whole)
            assert writer.pending_bytes == 3 * whole.nbytes
            assert (writer.figures.dropped_queue, writer.figures.dropped_database) == (20, 0)
            writer.stop()
            await returned.wait()
    assert await ask(dsn, COUNT) == [(30,)]


@bounded
async def test_a_full_queue_counts_as_database_while_postgres_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = requests(10)
    monkeypatch.setattr(writer_module, "MAX_PENDING_BYTES", 2 * whole.nbytes)
    async with database(None) as postgres:
        writer = writer_for(postgres)
        for _ in range(4):
            writer.put(whole)
    assert (writer.figures.dropped_queue, writer.figures.dropped_database) == (0, 20)
    assert writer.pending_events == 20


@bounded
async def test_with_storing_turned_off_nothing_waits(dsn: str) -> None:
    async with database(dsn) as postgres:
        writer = writer_for(postgres, enabled=False)
        writer.put(requests(3))
        assert writer.pending_events == 0
        writer.stop()
        await writer.run()
    assert await ask(dsn, COUNT) == [(0,)]


@bounded
async def test_lag_is_the_age_of_the_oldest_event_that_waits(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH_EVENTS", 1)
    steady = 100.0
    lags = []

    def clock() -> tuple[float, float]:
        lags.append(writer.lag(110.0))  # asked after each batch, too
        return 0.0, steady

    async with database(dsn) as postgres:
        writer = writer_for(postgres, clock)
        assert writer.lag(500.0) == 0.0
        for moment in (100.0, 104.0, 107.0):
            steady = moment
            writer.put(requests(1))
        assert writer.lag(110.0) == 10.0
        lags.clear()
        writer.stop()
        await writer.run()
        assert lags == [6.0, 3.0, 0.0]


@bounded
async def test_events_that_come_while_a_batch_is_written_wait_for_the_next(dsn: str) -> None:
    async with database(dsn) as postgres, trio.open_nursery() as nursery:
        writer = writer_for(postgres, batch_size=7)
        total = 0

        async def feed() -> None:
            nonlocal total
            for size in range(1, 60):
                writer.put(requests(size % 5 + 1))
                total += size % 5 + 1
                await trio.lowlevel.checkpoint()
            writer.stop()

        nursery.start_soon(feed)
        await writer.run()
    assert await ask(dsn, COUNT) == [(total,)]

"""Places for questions and for the daemon's own work; time limits; lost connections."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trio
import trio.testing
import trio_asyncio
from store.cluster import bounded
from store.databases import (
    DAY,
    NODE,
    NOON,
    ask,
    begin,
    block,
    database,
    eventually,
    history_of,
    requests,
    running,
    session,
    storage_in,
    until,
    write,
)
from store.folds import Time

from aegisd.alerts.alert_table import AlertTable, Wanted
from aegisd.errors import DatabaseUnavailable
from aegisd.events.units import SECOND_US
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database import pool
from aegisd.store.database.pool import Busy
from aegisd.store.database.postgres import (
    MAX_QUESTIONS,
    MAX_SLOW_WAITING,
    Postgres,
    open_postgres,
)
from aegisd.store.history.exact import ExactHistory
from aegisd.store.history.history import History
from aegisd.store.history.ranges import Range

RANGE = Range(NOON - 60 * SECOND_US, NOON + 60 * SECOND_US, 60)
WAITING_FOR_LOCKS = "SELECT count(*)::int FROM pg_locks WHERE NOT granted"


@pytest.fixture
async def exact(dsn: str, empty_backlog: Backlog) -> AsyncIterator[ExactHistory]:
    async with database(dsn) as postgres:
        yield ExactHistory(postgres, empty_backlog, NODE)


@asynccontextmanager
async def raw_rows_locked(dsn: str) -> AsyncIterator[None]:
    """Within the block, each reader of raw requests waits."""
    async with session(dsn) as execute:
        await execute("BEGIN; LOCK TABLE request_metrics")
        yield


@asynccontextmanager
async def slow_questions(exact: ExactHistory, dsn: str, count: int) -> AsyncIterator[trio.Nursery]:
    """Ask so many slow questions; the first one waits for a lock. They end with the block."""
    async with raw_rows_locked(dsn), trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(exact.totals, RANGE, None)
        await until(dsn, WAITING_FOR_LOCKS, 1)
        await eventually(lambda: exact._postgres._slow.waiting == count - 1)
        yield nursery
        nursery.cancel_scope.cancel()


@bounded
async def test_slow_question_is_refused_at_once_when_the_queue_is_full(
    dsn: str, exact: ExactHistory
) -> None:
    postgres = exact._postgres
    await write(postgres, requests())
    async with slow_questions(exact, dsn, 1 + MAX_SLOW_WAITING):
        for question in (exact.totals, exact.latency):
            with pytest.raises(Busy, match="1 running and 5 waiting") as caught:
                await question(RANGE, None)
            assert caught.value.seconds == pool.READ_SECONDS
    assert (await exact.totals(RANGE, None)).figures.requests == 1


@bounded
async def test_slow_questions_hold_up_no_quick_question_fold_or_alert(
    dsn: str, tmp_path: Path, exact: ExactHistory
) -> None:
    postgres = exact._postgres
    await begin(postgres, NOON - DAY)
    await write(postgres, requests(3))
    alert_table = AlertTable(postgres, NODE)
    with history_of(postgres, tmp_path) as history:
        async with slow_questions(exact, dsn, 1 + MAX_SLOW_WAITING):
            assert (await history.totals(RANGE, None)).figures.requests == 3
            assert await Time(NOON).keeper(postgres).fold()
            assert await alert_table.earlier() == await alert_table.list(Wanted(10)) == []
            assert await ask(dsn, WAITING_FOR_LOCKS) == [(1,)]


@bounded
async def test_full_places_of_questions_hold_up_no_work_of_the_daemon(
    dsn: str, tmp_path: Path
) -> None:
    async with database(dsn) as postgres:
        await begin(postgres, NOON - DAY)
        await write(postgres, requests(3))
        with history_of(postgres, tmp_path) as history:
            async with questions_held(postgres, dsn, history):
                maintainer = Time(NOON).keeper(postgres)
                assert await maintainer.fold()
                await postgres.vacuum(["request_pieces"])
                assert await postgres.partitions()
                assert await AlertTable(postgres, NODE).earlier() == []


@asynccontextmanager
async def questions_held(
    postgres: Postgres, dsn: str, history: History
) -> AsyncIterator[trio.Nursery]:
    """Ask one question more than there are places; none is answered within the block."""
    async with session(dsn) as execute, trio.open_nursery() as nursery:
        await execute("BEGIN; LOCK TABLE system_metrics")
        for _ in range(MAX_QUESTIONS + 1):
            nursery.start_soon(history.present, NOON, None)
        await until(dsn, WAITING_FOR_LOCKS, MAX_QUESTIONS)
        await eventually(lambda: postgres._questions.waiting == 1)
        yield nursery
        nursery.cancel_scope.cancel()


@bounded
async def test_cancelled_question_leaves_the_queue(dsn: str, exact: ExactHistory) -> None:
    postgres = exact._postgres
    await write(postgres, requests())
    async with slow_questions(exact, dsn, MAX_SLOW_WAITING) as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as leaving:
                leaving.start_soon(exact.totals, RANGE, None)
                await eventually(lambda: postgres._slow.waiting == MAX_SLOW_WAITING)
                scope.cancel()
        assert postgres._slow.waiting == MAX_SLOW_WAITING - 1
        nursery.start_soon(exact.totals, RANGE, None)
        await eventually(lambda: postgres._slow.waiting == MAX_SLOW_WAITING)


@bounded
async def test_cancelled_question_ends_its_statement_in_the_server(
    dsn: str, monkeypatch: pytest.MonkeyPatch, exact: ExactHistory
) -> None:
    """Otherwise clients that ask and leave could have any number of statements running."""
    monkeypatch.setattr(pool, "READ_SECONDS", 10_000)
    postgres = exact._postgres
    await write(postgres, requests())
    async with raw_rows_locked(dsn):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exact.totals, RANGE, None)
            await until(dsn, WAITING_FOR_LOCKS, 1)
            nursery.cancel_scope.cancel()
        await until(dsn, WAITING_FOR_LOCKS, 0)


@bounded
async def test_question_waits_for_a_place_no_longer_than_its_time_limit(
    dsn: str, monkeypatch: pytest.MonkeyPatch, exact: ExactHistory
) -> None:
    postgres = exact._postgres
    await write(postgres, requests())
    async with slow_questions(exact, dsn, 1):
        monkeypatch.setattr(pool, "READ_SECONDS", 0.1)
        with pytest.raises(Busy, match=r"1 running, none ended within 0.1 s") as caught:
            await exact.totals(RANGE, None)
        assert caught.value.seconds == 1
        assert isinstance(caught.value, DatabaseUnavailable)


@bounded
async def test_both_parts_of_an_exact_answer_see_one_state(dsn: str, exact: ExactHistory) -> None:
    """A denial committed after the requests were counted is not counted."""
    found: list[Any] = []
    decision = "INSERT INTO rate_limit_metrics (timestamp, key, allowed, node)"
    postgres = exact._postgres
    await write(postgres, requests())
    await write(postgres, block("rate_limit", [{"timestamp": NOON - DAY // 4}]))

    async def ask_exactly() -> None:
        found.append(await exact.totals(RANGE, None))

    async with session(dsn) as execute, trio.open_nursery() as nursery:
        await execute("BEGIN; LOCK TABLE rate_limit_metrics")
        nursery.start_soon(ask_exactly)
        await until(dsn, WAITING_FOR_LOCKS, 1)
        await execute(f"{decision} VALUES ('2024-10-04 12:00:00Z', 'k', false, 'here')")
        await execute("COMMIT")
    assert [(found_.figures.requests, found_.figures.denied) for found_ in found] == [(1, 0)]


@bounded
async def test_question_waiting_for_a_place_keeps_no_written_events_in_memory(
    dsn: str, tmp_path: Path
) -> None:
    """However many questions wait, they keep no written events in memory."""
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await begin(postgres, NOON - DAY)
        history = History(postgres, storage.backlog, NODE)
        async with (
            questions_held(postgres, dsn, history) as nursery,
            running(storage.writer),
        ):
            storage.append([requests()])
            (entry,) = map(weakref.ref, storage.backlog.buffered())
            nursery.start_soon(history.present, NOON, None)
            await eventually(lambda: postgres._questions.waiting == 2)
            await eventually(lambda: not storage.backlog.events)
            gc.collect()
            assert entry() is None


async def leave_unawaited(error: Exception) -> None:
    """Leave a future with an error that nobody awaits, as asyncpg does when COPY is cut off."""
    asyncio.get_running_loop().create_future().set_exception(error)
    gc.collect()


@bounded
async def test_unawaited_error_of_a_lost_connection_ends_nothing() -> None:
    async with open_postgres(migrate=False, layout="auto", schema="aegisd"):
        await trio_asyncio.aio_as_trio(leave_unawaited)(asyncpg.ConnectionDoesNotExistError("lost"))
        await trio_asyncio.aio_as_trio(leave_unawaited)(ConnectionResetError("lost"))
        await trio.testing.wait_all_tasks_blocked()


async def fail_unawaited() -> None:
    async with open_postgres(migrate=False, layout="auto", schema="aegisd"):
        await trio_asyncio.aio_as_trio(leave_unawaited)(ZeroDivisionError("ours"))
        await trio.sleep_forever()


@bounded
async def test_any_other_unawaited_error_ends_the_daemon() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await fail_unawaited()
    assert caught.group_contains(ZeroDivisionError)

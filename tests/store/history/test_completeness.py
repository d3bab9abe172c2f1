"""Answers tell until when they are complete where not all of the backlog is buffered."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from store.cluster import bounded
from store.databases import (
    DAY,
    NODE,
    NOON,
    begin,
    block,
    database,
    eventually,
    requests,
    running,
    storage_in,
)

from aegisd.events.block import Block
from aegisd.events.units import SECOND_US
from aegisd.store.backlog import backlog as backlog_module
from aegisd.store.database.postgres import Session
from aegisd.store.history.exact import ExactHistory
from aegisd.store.history.history import History
from aegisd.store.history.ranges import Range
from aegisd.store.history.results import Answer, earliest
from aegisd.store.storage import Storage

RANGE = Range(NOON - 60 * SECOND_US, NOON + 60 * SECOND_US, 60)
ALL = 10**9
METHODS = (
    *("totals", "requests", "latency", "statuses", "durations", "nodes"),
    *("top_endpoints", "rate_limits", "present"),
)


def entry() -> list[Block]:
    """One record: ten requests, a decision and a report."""
    return [requests(10), block("rate_limit", [{}]), block("system", [{"source": "s"}])]


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[float, float]]:
    """Each time it is looked at, it is a second later. Memory has room for two entries."""
    monkeypatch.setattr(
        backlog_module, "MAX_BUFFERED_BYTES", 2 * sum(each.nbytes for each in entry())
    )
    ticks = count(1)

    def clocks() -> tuple[float, float]:
        now = float(next(ticks))
        return now, now

    return clocks


async def answers(history: History, node: str | None) -> dict[str, Answer[Any]]:
    found = {}
    for method in METHODS:
        if method == "present":
            found[method] = await history.present(NOON + 1, node)
        elif method in ("top_endpoints", "rate_limits"):
            found[method] = await getattr(history, method)(RANGE, node, 10)
        elif method == "nodes":
            if node is None:
                found[method] = await history.nodes(RANGE)
        else:
            found[method] = await getattr(history, method)(RANGE, node)
    return found


async def written(storage: Storage) -> None:
    async with running(storage.writer):
        await eventually(lambda: not storage.backlog.events)


@bounded
async def test_answer_is_complete_until_the_first_event_that_memory_had_no_room_for(
    dsn: str, tmp_path: Path, clocks: Callable[[], tuple[float, float]]
) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres, clocks=clocks) as storage,
    ):
        await begin(postgres, NOON - DAY)
        history = History(postgres, storage.backlog, NODE)
        for _ in range(2):
            storage.append(entry())
        whole = await answers(history, None)
        assert {answer.complete_until for answer in whole.values()} == {None}
        assert whole["totals"].figures.requests == 20
        for _ in range(3):  # the first of them comes at second 3
            storage.append(entry())
        for node in (None, NODE):
            short = await answers(history, node)
            assert {answer.complete_until for answer in short.values()} == {3 * SECOND_US}
            assert short["totals"].figures.requests == 20
        elsewhere = await answers(history, "elsewhere")
        assert {answer.complete_until for answer in elsewhere.values()} == {None}
        await written(storage)
        stored = await answers(history, None)
    assert {answer.complete_until for answer in stored.values()} == {None}
    assert stored["totals"].figures.requests == 50


@bounded
async def test_exact_answer_is_complete_until_the_oldest_waiting_event(
    dsn: str, tmp_path: Path, clocks: Callable[[], tuple[float, float]]
) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres, clocks=clocks) as storage:
        await postgres.prepare()
        exact = ExactHistory(postgres, storage.backlog, NODE)
        for _ in range(2):
            storage.append(entry())
        for ask in (exact.totals, exact.latency):
            assert (await ask(RANGE, None)).complete_until == 1 * SECOND_US
            assert (await ask(RANGE, "elsewhere")).complete_until is None
        await written(storage)
        assert (await exact.totals(RANGE, None)).complete_until is None


@bounded
async def test_events_read_into_memory_during_a_question_do_not_count_as_answered(
    dsn: str,
    tmp_path: Path,
    clocks: Callable[[], tuple[float, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres, clocks=clocks) as storage:
        await begin(postgres, NOON - DAY)
        ask_now = postgres.ask

        async def ask_late(work: Callable[[Session], Any]) -> Any:
            """With queries before which the writer reads all that waits."""

            async def work_late(session: Session) -> Any:
                class Late(Session):
                    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
                        storage.backlog.next_batch(ALL)
                        await asyncio.sleep(0)
                        return await session.fetch(sql, *args)

                return await work(Late(None))

            return await ask_now(work_late)

        monkeypatch.setattr(postgres, "ask", ask_late)
        history = History(postgres, storage.backlog, NODE)
        for _ in range(5):
            storage.append(entry())
        totals = await history.totals(RANGE, None)
        assert (totals.figures.requests, totals.complete_until) == (20, 3 * SECOND_US)
        totals = await history.totals(RANGE, None)
    assert (totals.figures.requests, totals.complete_until) == (50, None)


def test_earliest_moment_ignores_none() -> None:
    assert earliest(None, 3, 2, None) == 2
    assert earliest(None, None) is None

"""With a wrong clock, here or in the database, the upkeep removes and folds nothing."""

import random
import time as here
from collections.abc import Iterator
from typing import Any

import pytest
from store.cluster import bounded
from store.databases import DAY, NODE, NOON, ask, begin, block, database, write
from store.folds import Time, assert_same, events, store
from structlog.testing import capture_logs

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Metrics, Rollups
from aegisd.events.units import SECOND_US
from aegisd.store.database.postgres import Postgres
from aegisd.store.schema import Partition
from aegisd.store.upkeep.failures import CLOCK
from aegisd.store.upkeep.maintainer import Maintainer
from aegisd.store.upkeep.policy import kept_from
from aegisd.store.upkeep.timekeeping import APART_SECONDS, LASTING_SECONDS

PIECES = "SELECT count(*)::int FROM request_pieces"


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


async def days_there(postgres: Postgres) -> set[int]:
    return {p.day for p in await postgres.partitions() if p.table == "backend_metrics"}


async def rows_of(postgres: Postgres, now: int, *days: int) -> None:
    for day in days:
        await write(postgres, block("backend", [{"timestamp": now + day * DAY}]))


@pytest.mark.parametrize("apart", [40 * 86_400, -40 * 86_400, APART_SECONDS + 2])
@bounded
async def test_daemon_with_a_wrong_clock_does_nothing_and_logs_it_once(
    dsn: str, logs: list[Any], apart: float
) -> None:
    """By the real clock of a real Postgres."""
    steady, wrong = 0.0, apart

    def clocks() -> tuple[float, float]:
        return here.time() + wrong, steady

    now = int(here.time() * SECOND_US)
    async with database(dsn) as postgres:
        await begin(postgres, now - DAY)
        await rows_of(postgres, now, -10, 0)
        await write(postgres, block("request", [{"timestamp": now - 600 * SECOND_US}]))
        keeper = Maintainer(postgres, Metrics(), clocks, AlertTable(postgres, NODE))
        for _ in range(3):
            assert not await keeper.maintain()
            steady += LASTING_SECONDS
        assert {now // DAY - 10, now // DAY} <= await days_there(postgres)
        assert await postgres.fetch(PIECES) == [(1,)]
        assert len(logs) == 1
        assert "neither folds nor removes anything" in logs[0]["why"]
        assert logs[0]["why"].count("Z") == 2  # both times
        assert keeper.figures().failures[CLOCK] == 1
        assert keeper.figures().clock_ahead_seconds == pytest.approx(apart, abs=30)

        wrong = APART_SECONDS - 30 if apart > 0 else 30 - APART_SECONDS
        assert await keeper.maintain()
        assert await postgres.fetch(PIECES) == [(0,)]
        mended = [log for log in logs if log.get("duty") == CLOCK][1:]
        assert len(mended) == 1
        assert mended[0].keys() >= {"here", "database"}
        assert keeper.figures().failures[CLOCK] == 0


@bounded
async def test_daemon_whose_clock_is_ahead_drops_no_partition(dsn: str) -> None:
    """It is another daemon that goes on, by the database's time."""
    time, ahead = Time(NOON), Time(NOON, here=NOON + 400 * DAY)
    async with database(dsn) as postgres, database(dsn) as other:
        await begin(postgres, NOON)
        await rows_of(postgres, NOON, -40, -10, 0)
        keeper, wrong = time.keeper(postgres), ahead.keeper(other)
        for _ in range(3):
            assert not await wrong.maintain()
            assert await keeper.maintain()
            time.pass_(LASTING_SECONDS)
            ahead.pass_(LASTING_SECONDS)
        assert await days_there(postgres) >= {NOON // DAY - 10, NOON // DAY}
        assert NOON // DAY - 40 not in await days_there(postgres)


@bounded
async def test_short_step_of_the_database_s_clock_removes_nothing(
    dsn: str,
) -> None:
    """Neither rows, nor what of late events the finer levels keep."""
    time = Time(NOON)
    async with database(dsn) as postgres:
        await begin(postgres, NOON - DAY)
        await rows_of(postgres, NOON, -10, 0)
        keeper = time.keeper(postgres)
        assert await keeper.maintain()
        made = events(random.Random(3), 40, ["a"], lambda: NOON - 7200 * SECOND_US)
        time.pass_(20)
        await store(postgres, made)
        time.now += 40 * DAY
        for _ in range(28):
            assert await keeper.maintain()
            time.pass_(20)
        await assert_same(postgres, made, ["a"], kept_from(Rollups(), NOON))
        time.now -= 40 * DAY
        for _ in range(3):
            await keeper.maintain()
            time.pass_(LASTING_SECONDS)
        assert await days_there(postgres) >= {NOON // DAY - 10, NOON // DAY}


@bounded
async def test_lasting_step_of_the_clock_removes_what_is_due_after_an_announcement(
    dsn: str, logs: list[Any]
) -> None:
    time = Time(NOON)
    old = Partition.of("backend_metrics", NOON // DAY - 10)
    async with database(dsn) as postgres:
        await begin(postgres, NOON - DAY)
        await rows_of(postgres, NOON, -10)
        keeper = time.keeper(postgres)
        assert await keeper.maintain()
        time.pass_(20)
        time.now += 40 * DAY
        gone = None
        for seconds in range(0, 90_000, 300):
            assert await keeper.maintain()
            if old.day not in await days_there(postgres):
                gone = seconds
                break
            time.pass_(300)
        announced = [log for log in logs if log["event"].startswith("old rows will be removed")]
        assert any(old.name in log["what"] for log in announced)
        assert gone is not None
        assert gone >= 2 * LASTING_SECONDS


@bounded
async def test_a_pass_drops_no_more_than_was_announced_before(dsn: str) -> None:
    time = Time(NOON)
    async with database(dsn) as postgres:
        await begin(postgres, NOON - DAY)
        await rows_of(postgres, NOON, -45, -44)
        keeper = time.keeper(postgres)
        assert await keeper.maintain()
        await rows_of(postgres, NOON, -43)  # came late
        time.pass_(LASTING_SECONDS)
        assert await keeper.maintain()
        assert min(await days_there(postgres)) == NOON // DAY - 43
        time.pass_(LASTING_SECONDS)
        assert await keeper.maintain()
        assert min(await days_there(postgres)) == NOON // DAY


@bounded
async def test_a_daemon_just_started_drops_nothing_for_ten_minutes(dsn: str) -> None:
    time = Time(NOON)
    async with database(dsn) as postgres:
        await begin(postgres, NOON - DAY)
        await rows_of(postgres, NOON, -45)
        for _ in range(3):  # each a new one
            assert await time.keeper(postgres).maintain()
            time.pass_(LASTING_SECONDS)
        assert min(await days_there(postgres)) == NOON // DAY - 45
    assert await ask(dsn, "SELECT count(*) FROM backend_metrics") == [(1,)]

"""Folding the pieces of weeks: in portions, with partitions made, between the other duties."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from store import folds
from store.cluster import bounded
from store.databases import NODE, ask, begin, database
from store.folds import Time, assert_same, store

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Rollups
from aegisd.events.units import SECOND_US
from aegisd.store.database.postgres import Postgres, Session
from aegisd.store.rollups import folding
from aegisd.store.rollups.folding import Folded, Portion
from aegisd.store.schema import PARTITIONED, Layout, Partition
from aegisd.store.schema.levels import DAY, FINE, MINUTE, ROLLUP_KINDS, SUFFIXES
from aegisd.store.upkeep import maintainer as maintainer_module
from aegisd.store.upkeep.policy import kept_from

NOW = 20_605 * DAY * SECOND_US + 10 * 3600 * SECOND_US
NODES = ("a", "b", "c")
LEFT = "SELECT count(*)::int FROM request_pieces"


async def late(postgres: Postgres, count: int, days: int = 28) -> list[folds.Event]:
    """Events of the last ``days``, stored and not folded."""
    chance = random.Random(count)
    made = folds.events(
        chance, count, NODES, lambda: NOW - chance.randrange(61, days * DAY) * SECOND_US
    )
    await store(postgres, made)
    return made


@pytest.mark.parametrize("layout", [Layout.PARTITIONS, Layout.TIMESCALEDB])
@bounded
async def test_no_plan_goes_through_all_pieces_for_each_row_of_a_level(
    dsn: str, layout: str
) -> None:
    """Also where no table has statistics, as fresh partitions have none."""
    kept = kept_from(Rollups(), NOW)
    day = NOW // (DAY * SECOND_US) - 1
    chance = random.Random(1)
    plans: list[Any] = []
    async with database(dsn) as postgres:
        await begin(postgres, NOW)
        await postgres.make_partitions(
            {Partition.of(table, day - ago) for table in PARTITIONED for ago in range(40)}
        )
        for _ in range(2):  # the second time there are rows to add to
            made = folds.events(
                chance, 4000, NODES, lambda: (day * DAY + chance.randrange(DAY // 2)) * SECOND_US
            )
            await store(postgres, made)

            async def work(session: Session) -> Folded | None:
                class Explained(Session):
                    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
                        return await session.fetch(sql, *args)

                    async def execute(self, sql: str, *args: Any) -> None:
                        if sql.startswith("WITH"):
                            ((plan,),) = await session.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *args)
                            plans.append((sql, json.loads(plan)[0]["Plan"]))
                        await session.execute(sql, *args)

                return await folding.fold(
                    Explained(None), Portion(NOW, kept, frozenset({day}), 10**6, layout)
                )

            await ask(dsn, "UPDATE rollup_progress SET folded_at = 'epoch'")
            assert await postgres.fold(work) is not None
            assert await postgres.fetch(LEFT) == [(0,)]
    levels = {
        f"{kind.name}_rollups_{SUFFIXES[level]} "
        for kind in ROLLUP_KINDS
        for level in (FINE, MINUTE)
    }
    large = [(sql, plan) for sql, plan in plans if any(f"INTO {t}" in sql for t in levels)]
    assert len(large) == 2 * 8  # those of hours are few rows, which it may go through
    for sql, plan in large[8:]:
        for node in nodes(plan):
            if node["Node Type"] == "Nested Loop":
                inner = next(n for n in node["Plans"] if n["Parent Relationship"] == "Inner")
                again = {n["Node Type"] for n in nodes(inner)} & {"CTE Scan", "Materialize"}
                assert not again, (sql, json.dumps(plan))
            assert node.get("Relation Name", "") in ("", *tables_of(day)), sql


def tables_of(day: int) -> set[str]:
    """The tables that a day's rows lie in."""
    levels = {kind.table(level) for kind in folding.ROLLUP_KINDS for level in kind.levels}
    there = {Partition.of(table, day).name for table in levels if table in PARTITIONED}
    return there | levels | set(folding.PIECE_TABLES)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@bounded
async def test_a_portion_that_fails_is_halved_until_it_is_folded(dsn: str) -> None:
    """Here Postgres refuses what is more than a few rows, as a time limit would."""
    async with database(dsn) as postgres:
        await begin(postgres, NOW - 40 * DAY * SECOND_US)
        made = await late(postgres, 300, days=2)
        await ask(
            dsn,
            "CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF (SELECT count(*) FROM new) > 60 THEN RAISE 'this takes too long'; END IF;"
            " RETURN NULL; END $$",
        )
        await ask(
            dsn,
            "CREATE TRIGGER few AFTER INSERT ON request_rollups_1m REFERENCING NEW TABLE AS new"
            " FOR EACH STATEMENT EXECUTE FUNCTION few()",
        )
        time = Time(NOW)
        keeper = time.keeper(postgres)
        passes = 0
        while await postgres.fetch(LEFT) != [(0,)]:
            assert await keeper.maintain()
            time.pass_(20)
            passes += 1
            assert passes < 30
        assert passes > 5
        assert keeper.duties.lines(admin=True) == []
        await assert_same(postgres, made, NODES, kept_from(Rollups(), NOW))


@bounded
async def test_pieces_of_weeks_are_folded_pass_by_pass_and_the_other_duties_have_their_turn(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintainer_module, "PASS_SECONDS", 60)
    async with database(dsn) as postgres:
        await begin(postgres, NOW - 40 * DAY * SECOND_US)
        made = await late(postgres, 200)
        time = Time(NOW)

        def clocks() -> tuple[float, float]:
            time.steady += 10  # each look takes long: a portion has two
            return time.clocks()

        keeper = maintainer_module.Maintainer(
            postgres, maintainer_module.Metrics(), clocks, AlertTable(postgres, NODE), time.database
        )
        assert await keeper.maintain()
        ((left,),) = await postgres.fetch(LEFT)
        assert 0 < left < 200
        ahead = Partition.of("request_metrics", NOW // (DAY * SECOND_US) + 2)
        assert ahead in await postgres.partitions()
        while await postgres.fetch(LEFT) != [(0,)]:
            assert await keeper.maintain()
        await assert_same(postgres, made, NODES, kept_from(Rollups(), NOW))


@bounded
async def test_pieces_of_a_day_that_came_after_the_partitions_were_made_wait_for_theirs(
    dsn: str,
) -> None:
    kept = kept_from(Rollups(), NOW)
    async with database(dsn) as postgres:
        await begin(postgres, NOW - 40 * DAY * SECOND_US)
        made = await late(postgres, 20, days=2)

        async def work(session: Session) -> Folded | None:
            days = frozenset({NOW // (DAY * SECOND_US)})
            return await folding.fold(session, Portion(NOW, kept, days, 1000, Layout.PARTITIONS))

        assert await postgres.fold(work) == Folded(more=True, full=False)
        assert await Time(NOW).keeper(postgres).fold()
        assert await postgres.fetch(LEFT) == [(0,)]
        await assert_same(postgres, made, NODES, kept)

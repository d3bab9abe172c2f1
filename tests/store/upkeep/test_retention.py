"""Old partitions and ended alerts are removed; new partitions are made ahead."""

from typing import Any

import pytest
import trio
from store.cluster import bounded
from store.databases import DAY, NODE, NOON, ask, block, database, session, until, write
from store.folds import Time

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Days, Metrics, Rollups
from aegisd.store.database import partitioning
from aegisd.store.database.postgres import Postgres
from aegisd.store.schema import PARTITIONED, RAW, Partition
from aegisd.store.schema.tables import HOURLY_DAYS
from aegisd.store.upkeep.failures import DutyFailures
from aegisd.store.upkeep.partitions_ahead import DAYS_AHEAD
from aegisd.store.upkeep.policy import Policy
from aegisd.store.upkeep.retention import Retention
from aegisd.store.upkeep.timekeeping import LASTING_SECONDS

TABLES = (
    "SELECT c.relname::text FROM pg_class c WHERE relkind = 'r' AND relname LIKE '%metrics_2%'"
    " ORDER BY 1"
)


async def remove_old(postgres: Postgres, now: int = NOON, **settings: Any) -> bool:
    """What is due is announced at first; ten minutes later it goes."""
    policy = Policy.of(Metrics(**settings))
    retention = Retention(postgres, DutyFailures(postgres), AlertTable(postgres, NODE))
    await retention.remove_old(policy, now, 0)
    return await retention.remove_old(policy, now, LASTING_SECONDS)


async def write_days(postgres: Postgres, *days: int, kind: str = "request") -> None:
    events = [{"timestamp": NOON + day * DAY} for day in days]
    await write(postgres, block(kind, events))


@pytest.mark.parametrize(
    ("now", "kept"),
    [
        (NOON, [-2, -1, 0, 1]),  # the day in which the retention ends is kept whole
        (NOON - DAY // 2, [-2, -1, 0, 1]),  # midnight
        (NOON + DAY // 2 - 1, [-2, -1, 0, 1]),  # the last microsecond of that day
        (NOON + DAY // 2, [-1, 0, 1]),
    ],
)
@bounded
async def test_only_partitions_wholly_older_than_the_retention_are_dropped(
    dsn: str, now: int, kept: list[int]
) -> None:
    async with database(dsn) as postgres:
        await write_days(postgres, -4, -3, -2, -1, 0, 1)
        assert await remove_old(postgres, now, retention_days=2)
        left = [partition.day - NOON // DAY for partition in await postgres.partitions()]
        assert left == kept


@bounded
async def test_every_metric_table_is_cleaned(dsn: str) -> None:
    async with database(dsn) as postgres:
        for kind in ("request", "rate_limit", "backend", "system"):
            await write_days(postgres, -9, 0, kind=kind)
        assert await remove_old(postgres, retention_days=2)
        assert len(await postgres.partitions()) == 4


@bounded
async def test_tables_of_others_are_not_dropped(dsn: str) -> None:
    async with database(dsn) as postgres:
        await write_days(postgres, -9)
        await ask(dsn, "CREATE TABLE request_metrics_20000101 (looks text)")  # no partition
        await ask(
            dsn,
            "CREATE TABLE archive_of_1999 PARTITION OF request_metrics"
            " FOR VALUES FROM ('1999-01-01') TO ('2000-01-01')",
        )
        assert await remove_old(postgres, retention_days=2)
    assert await ask(dsn, TABLES) == [("request_metrics_20000101",)]
    assert await ask(dsn, "SELECT to_regclass('archive_of_1999') IS NOT NULL") == [(True,)]


@bounded
async def test_a_partition_in_use_stays_until_the_next_time(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioning, "LOCK_SECONDS", 0.2)
    busy = (
        "DO $$ BEGIN INSERT INTO request_metrics SELECT * FROM request_metrics;"
        " PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN END $$"
    )
    writes = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO $$%' AND wait_event = 'PgSleep'"
    )
    async with database(dsn) as postgres, database(dsn) as other:
        await write_days(postgres, -9, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.fetch, busy)
            await until(dsn, writes, 1)
            assert not await remove_old(postgres, retention_days=2)
            assert len(await postgres.partitions()) == 2
            await write_days(postgres, 0)  # others write all the while
            await ask(
                dsn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO $$%'"
            )
        assert await remove_old(postgres, retention_days=2)
        assert len(await postgres.partitions()) == 1


@bounded
async def test_alerts_that_ended_long_ago_are_removed_and_open_ones_stay(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
        for name, status, days in (
            ("old", "resolved", 11),
            ("new", "resolved", 9),
            ("open", "active", 99),
            ("seen", "acknowledged", 99),
        ):
            await postgres.execute(
                "INSERT INTO alerts (id, rule_id, rule_name, severity, status, message,"
                " current_value, threshold, triggered_at, node)"
                " VALUES (gen_random_uuid(), $1, 'r', 'info', $2, 'm', 1, 1, $3, 'n')",
                name,
                status,
                NOON - days * DAY,
            )
        assert await remove_old(postgres, alert_retention_days=10)
        left = await postgres.fetch("SELECT rule_id FROM alerts ORDER BY 1")
    assert left == [("new",), ("open",), ("seen",)]


@bounded
async def test_each_level_of_rollups_goes_after_its_own_days(dsn: str) -> None:
    today = NOON // DAY
    rollups = Rollups(Days(2), Days(5), Days(40))
    days = {"10s": 2, "1m": 5, "1h": 40}
    async with database(dsn) as postgres:
        await postgres.prepare()
        tables = {t: days[t.rpartition("_")[2]] for t in PARTITIONED if t not in RAW}
        made = {
            Partition.of(table, today - ago)
            for table, kept in tables.items()
            for ago in range(kept + 2 * PARTITIONED[table] + 1)
        }
        await postgres.make_partitions(made)
        assert await remove_old(postgres, rollups=rollups)
        left = await postgres.partitions()
    for table, kept in tables.items():
        first = min(partition for partition in left if partition.table == table)
        assert first.day <= today - kept < first.end, table
        gone = [p for p in made if p.table == table and p.end <= first.day]
        assert len(gone) == 2, table
    assert {HOURLY_DAYS} == {PARTITIONED[table] for table in tables if table.endswith("1h")}


@bounded
async def test_nothing_is_removed_row_by_row(dsn: str) -> None:
    """DELETE leaves dead rows behind, and takes as long as there are rows."""
    async with database(dsn) as postgres:
        await write_days(postgres, -9, 0)
        assert await Time(NOON + DAY // 2).keeper(postgres).maintain()
        await ask(
            dsn,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE 'a row is deleted'; END $$",
        )
        for table in PARTITIONED:
            await ask(
                dsn,
                f"CREATE TRIGGER refuse BEFORE DELETE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION refuse()",
            )
        for table in ("request_metrics", "request_rollups_10s", "endpoint_rollups_1m"):
            assert await ask(dsn, f"SELECT count(*) FROM {table}") != [(0,)]
        later = Time(NOON + 99 * DAY)
        keeper = later.keeper(postgres)
        assert await keeper.maintain()
        later.pass_(LASTING_SECONDS)
        assert await keeper.maintain()
        for table in ("request_metrics", "request_rollups_10s", "endpoint_rollups_1m"):
            assert await ask(dsn, f"SELECT count(*) FROM {table}") == [(0,)]


@bounded
async def test_partitions_are_made_ahead(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
        assert await Time(NOON).keeper(postgres).maintain()
        there = await postgres.partitions()
    today = NOON // DAY
    assert DAYS_AHEAD == 2
    assert set(there) == {
        Partition.of(table, today + ahead) for table in PARTITIONED for ahead in (0, 1, 2)
    }


@bounded
async def test_locked_partition_is_tried_again_after_ten_minutes(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioning, "LOCK_SECONDS", 0.1)
    time = Time(NOON)
    async with database(dsn) as postgres, session(dsn) as execute:
        await write_days(postgres, -9, 0)
        await execute("BEGIN; SELECT * FROM request_metrics")
        keeper = time.keeper(postgres, retention_days=2)
        for seconds, left in ((0, 1), (30, 1), (570, 1), (30, 1), (550, 1), (30, 0)):
            if seconds == 550:
                await execute("COMMIT")
            time.pass_(seconds)
            assert await keeper.maintain()
            raw = [p for p in await postgres.partitions() if p.table == "request_metrics"]
            assert len([p for p in raw if p.day < NOON // DAY]) == left, time.steady

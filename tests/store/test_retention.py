"""What is too old goes: whole days, and alerts that have ended."""

import pytest
import trio
import trio.testing
from store.cluster import bounded
from store.database import DAY, NOON, ask, block, database, eventually, until, write
from structlog.testing import capture_logs

from aegisd.config.settings import Metrics
from aegisd.store import postgres as postgres_module
from aegisd.store.postgres import Postgres
from aegisd.store.retention import Retention

TABLES = (
    "SELECT c.relname::text FROM pg_class c WHERE relkind = 'r' AND relname LIKE '%metrics_2%'"
    " ORDER BY 1"
)


def retention(postgres: Postgres, now: int = NOON, **settings: int) -> Retention:
    return Retention(postgres, Metrics(**settings), lambda: now / 1_000_000)


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
async def test_only_days_wholly_older_go(dsn: str, now: int, kept: list[int]) -> None:
    async with database(dsn) as postgres:
        await write_days(postgres, -4, -3, -2, -1, 0, 1)
        assert await retention(postgres, now, retention_days=2).clean_up()
        left = [partition.day - NOON // DAY for partition in await postgres.partitions()]
        assert left == kept


@bounded
async def test_every_metric_table_is_cleaned(dsn: str) -> None:
    async with database(dsn) as postgres:
        for kind in ("request", "rate_limit", "backend", "system"):
            await write_days(postgres, -9, 0, kind=kind)
        assert await retention(postgres, retention_days=2).clean_up()
        assert len(await postgres.partitions()) == 4


@bounded
async def test_tables_of_others_stay(dsn: str) -> None:
    async with database(dsn) as postgres:
        await write_days(postgres, -9)
        await ask(dsn, "CREATE TABLE request_metrics_20000101 (looks text)")  # no partition
        await ask(
            dsn,
            "CREATE TABLE archive_of_1999 PARTITION OF request_metrics"
            " FOR VALUES FROM ('1999-01-01') TO ('2000-01-01')",
        )
        assert await retention(postgres, retention_days=2).clean_up()
    assert await ask(dsn, TABLES) == [("request_metrics_20000101",)]
    assert await ask(dsn, "SELECT to_regclass('archive_of_1999') IS NOT NULL") == [(True,)]


@bounded
async def test_a_partition_in_use_stays_until_the_next_time(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "LOCK_SECONDS", 0.2)
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
            assert not await retention(postgres, retention_days=2).clean_up()
            assert len(await postgres.partitions()) == 2
            await write_days(postgres, 0)  # others write all the while
            await ask(
                dsn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO $$%'"
            )
        assert await retention(postgres, retention_days=2).clean_up()
        assert len(await postgres.partitions()) == 1


@bounded
async def test_alerts_that_ended_long_ago_go_and_open_ones_stay(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
        for name, status, days in (
            ("old", "resolved", 11),
            ("new", "resolved", 9),
            ("open", "active", 99),
            ("seen", "acknowledged", 99),
        ):
            await postgres.fetch(
                "INSERT INTO alerts (id, rule_id, rule_name, severity, status, message,"
                " current_value, threshold, triggered_at, node)"
                " VALUES (gen_random_uuid(), $1, 'r', 'info', $2, 'm', 1, 1, $3, 'n')",
                name,
                status,
                NOON - days * DAY,
            )
        assert await retention(postgres, alert_retention_days=10).clean_up()
        left = await postgres.fetch("SELECT rule_id FROM alerts ORDER BY 1")
    assert left == [("new",), ("open",), ("seen",)]


@bounded
async def test_it_waits_for_the_database_and_tries_again_when_it_is_away(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.store.retention.RETRY_SECONDS", 0.01)
    ready = trio.Event()
    async with database(dsn) as postgres, database(None) as later:
        await write_days(postgres, -9, 0)
        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(retention(later, retention_days=2).run, ready)
                await trio.testing.wait_all_tasks_blocked()
                assert not logs
                ready.set()
                await eventually(lambda: len(logs) > 2)
                later.dsn = dsn
                await until(dsn, f"SELECT count(*) FROM ({TABLES}) t", 1)
                nursery.cancel_scope.cancel()
    assert "could not be removed" in logs[0]["event"]
    assert logs[-1]["event"] == "removed a day of old rows"

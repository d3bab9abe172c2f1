"""Each duty of the upkeep fails by itself, is logged once, and counts as failing meanwhile."""

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from attrs import evolve
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
    requests,
    write,
)
from store.folds import Time
from store.schema.test_layouts import laid_out, make_by_hand
from structlog.testing import capture_logs

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Metrics
from aegisd.errors import DatabaseUnavailable
from aegisd.store.database import partitioning
from aegisd.store.database.postgres import Postgres
from aegisd.store.schema import Layout, Partition
from aegisd.store.upkeep.failures import (
    ALERTS,
    DATABASE,
    DROP,
    DUTIES,
    FOLD,
    PARTITIONS,
    RETENTION,
    VACUUM,
)
from aegisd.store.upkeep.maintainer import Maintainer
from aegisd.store.upkeep.timekeeping import LASTING_SECONDS

FAILED = "the database's upkeep failed, it will be tried again"
MENDED = "the database's upkeep works again"
TODAY = NOON // DAY
ALERT = (
    "INSERT INTO alerts (id, rule_id, rule_name, severity, status, message, current_value,"
    " threshold, triggered_at, node) VALUES (gen_random_uuid(), 'old', 'r', 'info', 'resolved',"
    " 'm', 1, 1, '2001-01-01', 'n')"
)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


def told(logs: list[Any], event: str, duty: str) -> list[Any]:
    return [log for log in logs if log["event"] == event and log["duty"] == duty]


async def old_rows(postgres: Postgres, *days: int) -> list[str]:
    """Rows of some days, and an alert that ended long ago; return the partitions' names."""
    await begin(postgres, NOON)
    await write(postgres, requests(timestamp=NOON - 300_000_000))
    for day in days:
        await write(postgres, block("backend", [{"timestamp": NOON + day * DAY}]))
    await ask(postgres.dsn or "", ALERT)
    return [Partition.of("backend_metrics", TODAY + day).name for day in days]


async def there(postgres: Postgres) -> set[str]:
    return {p.name for p in await postgres.partitions() if p.table == "backend_metrics"}


async def passes(keeper: Maintainer, time: Time, count: int) -> None:
    for _ in range(count):
        assert await keeper.maintain()
        time.pass_(LASTING_SECONDS)


@bounded
async def test_view_on_an_old_partition_keeps_only_that_partition(
    dsn: str, logs: list[Any]
) -> None:
    time = Time(NOON)
    async with database(dsn) as postgres:
        first, second, third = await old_rows(postgres, -43, -42, -41)
        await ask(dsn, f"CREATE VIEW incident AS SELECT * FROM {first}")
        keeper = time.keeper(postgres)
        await passes(keeper, time, 5)
        assert {first, second, third} & await there(postgres) == {first}
        assert await ask(dsn, "SELECT count(*) FROM alerts") == [(0,)]
        (line,) = told(logs, FAILED, DROP)
        assert line["what"] == first
        assert "drop or change view incident, which depends on it" in line["why"]
        assert keeper.figures().failures == dict.fromkeys(DUTIES, 0) | {DROP: 1}

        await ask(dsn, f"CREATE VIEW another AS SELECT * FROM {first}")
        await passes(keeper, time, 2)
        assert (
            "drop or change view another, view incident, which depend on it"
            in (told(logs, FAILED, DROP)[1]["why"])
        )
        await ask(dsn, "DROP VIEW incident, another")
        await passes(keeper, time, 2)
        assert len(told(logs, FAILED, DROP)) == 2
        assert [log["what"] for log in told(logs, MENDED, DROP)] == [first]
        assert not {first, second, third} & await there(postgres)
        assert keeper.figures().failures == dict.fromkeys(DUTIES, 0)


@bounded
async def test_ten_partitions_that_cannot_be_dropped_are_logged_once_each(
    dsn: str, logs: list[Any]
) -> None:
    time = Time(NOON)
    async with database(dsn) as postgres:
        names = await old_rows(postgres, *range(-51, -40))
        for name in names[:10]:
            await ask(dsn, f"CREATE VIEW of_{name} AS SELECT * FROM {name}")
        keeper = time.keeper(postgres)
        await passes(keeper, time, 4)
        assert [log["what"] for log in told(logs, FAILED, DROP)] == names[:10]
        assert keeper.figures().failures[DROP] == 10
        assert {*names} & await there(postgres) == {*names[:10]}
        # what goes by another hand no longer fails
        await ask(dsn, f"DROP VIEW of_{names[0]}")
        await ask(dsn, f"DROP TABLE {names[0]}")
        await passes(keeper, time, 1)
        assert [log["what"] for log in told(logs, MENDED, DROP)] == names[:1]
        assert keeper.figures().failures[DROP] == 9


@bounded
async def test_failing_duties_do_not_stop_the_others(dsn: str, logs: list[Any]) -> None:
    """A fold, a table's vacuum, a partition ahead and the alerts at once."""
    time = Time(NOON)
    async with database(dsn) as postgres:
        (old,) = await old_rows(postgres, -40)
        await ask(dsn, "ALTER TABLE endpoint_pieces RENAME TO elsewhere")
        await ask(dsn, "ALTER TABLE system_metrics RENAME TO moved")
        await ask(
            dsn,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE 'never'; END $$",
        )
        await ask(
            dsn,
            "CREATE TRIGGER refuse BEFORE DELETE ON alerts EXECUTE FUNCTION refuse()",
        )
        keeper = time.keeper(postgres)
        await passes(keeper, time, 3)
        assert old not in await there(postgres)
        counts = keeper.figures().failures
        failing = {FOLD: 1, VACUUM: 1, PARTITIONS: 3, ALERTS: 1}
        assert counts == dict.fromkeys(DUTIES, 0) | failing
        for duty, count in failing.items():
            assert len(told(logs, FAILED, duty)) == count, duty
        assert len(keeper.duties.lines(admin=True)) == 6
        ahead = {Partition.of("backend_metrics", TODAY + days).name for days in (0, 1, 2)}
        assert ahead <= await there(postgres)


@bounded
async def test_database_that_is_away_counts_as_one_failure(dsn: str, logs: list[Any]) -> None:
    time = Time(NOON)
    ready = trio.Event()
    ready.set()
    async with database(dsn) as postgres:
        await old_rows(postgres, -43, -42, -41)
        keeper = time.keeper(postgres)
        await passes(keeper, time, 1)
        postgres.close()
        postgres.dsn = dsn.replace("host=", "host=/nowhere")
        with pytest.raises(DatabaseUnavailable):
            await keeper.maintain()
        assert keeper.figures().failures == dict.fromkeys(DUTIES, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run, ready)
            await eventually(lambda: told(logs, FAILED, DATABASE))
            nursery.cancel_scope.cancel()
        assert keeper.figures().failures == dict.fromkeys(DUTIES, 0) | {DATABASE: 1}


@bounded
async def test_database_lost_within_a_pass_is_no_failure_of_its_duties(
    dsn: str, logs: list[Any]
) -> None:
    time, looks = Time(NOON), 0

    async with database(dsn) as postgres:
        await old_rows(postgres, -43, -42, -41)
        assert await time.keeper(postgres).maintain()
        time.pass_(20)

        def clocks() -> tuple[float, float]:
            nonlocal looks
            looks += 1
            if looks == 2:  # it has just told its time
                postgres.close()
                postgres.dsn = dsn.replace("host=", "host=/nowhere")
            return time.clocks()

        keeper = Maintainer(postgres, Metrics(), clocks, AlertTable(postgres, NODE), time.database)
        with pytest.raises(DatabaseUnavailable):
            await keeper.maintain()
        assert looks > 2
        assert keeper.figures().failures == dict.fromkeys(DUTIES, 0)
        assert not [log for log in logs if log["event"] == FAILED]


@bounded
async def test_timescaledb_policies_are_set_though_a_fold_and_one_of_them_fail(
    dsn: str, logs: list[Any]
) -> None:
    await make_by_hand(dsn, Layout.TIMESCALEDB)
    time = Time(NOON)
    async with laid_out(dsn, Layout.TIMESCALEDB) as postgres:
        postgres._pool.installation = evolve(
            postgres.installation, layout=Layout.TIMESCALEDB, licence="timescale"
        )
        await write(postgres, requests(timestamp=NOON - 300_000_000))
        await ask(dsn, "UPDATE rollup_progress SET folded_at = 'epoch'")
        await ask(dsn, "ALTER TABLE endpoint_pieces RENAME TO elsewhere")
        await ask(
            dsn,
            "ALTER TABLE noted ADD CHECK (of <> 'backend_metrics' OR function NOT LIKE 'add_ret%')",
        )
        keeper = time.keeper(postgres, retention_days=7)
        await passes(keeper, time, 2)
        days = dict(
            await ask(dsn, "SELECT of, argument FROM noted WHERE function = 'add_retention_policy'")
        )
        assert days["request_metrics"] == days["system_metrics"] == "7 days"
        assert "backend_metrics" not in days
        (line,) = told(logs, FAILED, RETENTION)
        assert line["what"] == "backend_metrics"
        assert len(told(logs, FAILED, FOLD)) == 1


@bounded
async def test_apache_edition_drops_chunks_up_to_the_announced_day(
    dsn: str, logs: list[Any]
) -> None:
    await make_by_hand(dsn, Layout.TIMESCALEDB)
    time = Time(NOON)
    async with laid_out(dsn, Layout.TIMESCALEDB) as postgres:
        await ask(dsn, "UPDATE rollup_progress SET folded_at = 'epoch'")
        keeper = time.keeper(postgres, retention_days=7)
        await passes(keeper, time, 1)
        dropped = "SELECT of, argument FROM noted WHERE function = 'drop_chunks'"
        assert await ask(dsn, dropped) == []
        assert [log["what"] for log in logs] == ["backend_metrics before 2024-09-27"]
        await passes(keeper, time, 1)
        assert await ask(dsn, dropped) == [("backend_metrics", "2024-09-27 00:00:00")]


@bounded
async def test_partition_that_a_default_one_blocks_fails_until_that_is_empty(
    dsn: str, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time(NOON)
    monkeypatch.setattr(partitioning, "UNMADE_SECONDS", 0.0)
    tomorrow = Partition.of("backend_metrics", TODAY + 1).name
    async with database(dsn) as postgres:
        await begin(postgres, NOON)
        await ask(dsn, "CREATE TABLE rest PARTITION OF backend_metrics DEFAULT")
        await ask(
            dsn,
            'INSERT INTO backend_metrics ("timestamp", backend_name, status, node) VALUES'
            " (to_timestamp($1), 'b', 'healthy', 'n')",
            (NOON + DAY) // 1_000_000,
        )
        keeper = time.keeper(postgres)
        await passes(keeper, time, 3)
        assert keeper.figures().failures == dict.fromkeys(DUTIES, 0) | {PARTITIONS: 1}
        (line,) = told(logs, FAILED, PARTITIONS)
        assert line["what"] == tomorrow
        assert "default partition" in line["why"]
        await ask(dsn, "DELETE FROM rest")
        await passes(keeper, time, 2)
        assert keeper.figures().failures == dict.fromkeys(DUTIES, 0)
        assert tomorrow in await there(postgres)

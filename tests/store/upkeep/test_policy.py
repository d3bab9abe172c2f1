"""One policy for all daemons that share a database."""

from collections.abc import Iterator
from typing import Any

import pytest
from store.cluster import bounded
from store.databases import DAY, NODE, NOON, ask, begin, block, database, write
from store.folds import Time
from structlog.testing import capture_logs

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Days, Metrics, Rollups
from aegisd.store.upkeep.maintainer import Maintainer
from aegisd.store.upkeep.policy import Policy, differences, put_policy
from aegisd.store.upkeep.timekeeping import LASTING_SECONDS

STORED = "SELECT key, days FROM aegisd_policy ORDER BY 1"
LONG = Policy(30, 365, Rollups())
SHORT = Policy(7, 9, Rollups(Days(1), Days(2), Days(3)))


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


def test_policy_of_a_configuration_has_its_days() -> None:
    assert Policy.of(Metrics()) == LONG


def test_differences_are_named_by_key() -> None:
    assert differences(LONG, LONG) == []
    assert differences(SHORT, LONG)[:2] == [
        "metrics.retention_days is 7 here and 30 there",
        "metrics.alert_retention_days is 9 here and 365 there",
    ]
    assert len(differences(SHORT, LONG)) == 5


def test_database_s_days_replace_the_configuration_s_and_unknown_keys_are_ignored() -> None:
    assert LONG.with_days(SHORT.by_key()) == SHORT
    assert LONG.with_days({"metrics.retention_days": 5, "of the future": 1}).rows == 5


@bounded
async def test_first_daemon_s_policy_holds_for_one_that_keeps_less(
    dsn: str, logs: list[Any]
) -> None:
    time = Time(NOON)
    async with database(dsn) as postgres, database(dsn) as other:
        await begin(postgres, NOON)
        for day in (-40, -20, 0):
            await write(postgres, block("backend", [{"timestamp": NOON + day * DAY}]))
        assert await time.keeper(postgres).maintain()
        assert dict(await ask(dsn, STORED)) == LONG.by_key()

        await other.prepare()
        time.pass_(20)
        second = Maintainer(
            other,
            Metrics(retention_days=Days(7), rollups=Rollups(minute_days=Days(3))),
            time.clocks,
            AlertTable(other, NODE),
            time.database,
        )
        for _ in range(3):
            assert await second.maintain()
            time.pass_(LASTING_SECONDS)
        assert second.policy == LONG
        there = {p.day for p in await other.partitions() if p.table == "backend_metrics"}
        assert NOON // DAY - 40 not in there
        assert NOON // DAY - 20 in there
        (line,) = [log for log in logs if "differs from the policy" in log["event"]]
        assert "aegisd policy --set" in line["event"]
        assert line["differences"] == (
            "metrics.retention_days is 7 here and 30 there;"
            " metrics.rollups.minute_days is 3 here and 30 there"
        )


@bounded
async def test_a_changed_policy_holds_from_the_next_pass_on(dsn: str) -> None:
    time = Time(NOON)
    async with database(dsn) as postgres:
        await begin(postgres, NOON)
        for day in (-20, 0):
            await write(postgres, block("backend", [{"timestamp": NOON + day * DAY}]))
        keeper = time.keeper(postgres)
        for _ in range(3):
            assert await keeper.maintain()
            time.pass_(LASTING_SECONDS)
        await put_policy(postgres, SHORT, anew=True)
        for _ in range(2):
            assert await keeper.maintain()
            time.pass_(LASTING_SECONDS)
        assert keeper.policy == SHORT
        there = {p.day for p in await postgres.partitions() if p.table == "backend_metrics"}
        assert min(there) == NOON // DAY


@bounded
async def test_a_daemon_follows_the_policy_also_while_another_has_the_turn(dsn: str) -> None:
    time = Time(NOON)
    async with database(dsn) as postgres, database(dsn) as other:
        await begin(postgres, NOON)
        await put_policy(postgres, SHORT, anew=True)
        assert await time.keeper(postgres).maintain()
        second = time.keeper(other)
        assert not await second.maintain()
        assert second.policy == SHORT

"""The manager, with the live state and a real database: alerts kept, restored, told."""

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from alerts.rule import WALL, rule
from alerts.run import BAD, GOOD, QUIET, Run, at_work
from store.cluster import bounded
from store.databases import ask, database, eventually
from structlog.testing import capture_logs

from aegisd.alerts import manager as manager_module
from aegisd.config.settings import Rule
from aegisd.store.database.postgres import Postgres

STORED = (
    "SELECT id::text, rule_id, status, current_value, resolved_at IS NOT NULL, node FROM alerts"
    " ORDER BY triggered_at, rule_id"
)


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[Postgres]:
    async with database(dsn) as made:
        await made.prepare()
        yield made


@bounded
async def test_an_alert_is_stored_and_kept_up_to_date(store: Postgres, dsn: str) -> None:
    run = Run(store)
    run.see(BAD)
    assert run.check() == ["active"]
    await run.manager.synchronize()
    (id_,) = {alert.id for alert in run.announced}
    assert await ask(dsn, STORED) == [(id_, "r", "active", 100, False, "here")]
    assert [alert.id for alert in run.manager.active] == [id_]
    run.see(GOOD)
    assert run.check(1) == ["resolved"]
    await run.manager.synchronize()
    ((stored_id, _, status, value, has_ended, _),) = await ask(dsn, STORED)
    assert (stored_id, status, has_ended) == (id_, "resolved", True)
    assert value < 1
    assert run.manager.active == []


@bounded
async def test_an_open_alert_outlives_a_restart_under_its_id(store: Postgres, dsn: str) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.synchronize()
    second = Run(store, started=WALL + 60)
    await second.manager.synchronize()
    assert [alert.id for alert in second.manager.active] == [first.announced[0].id]
    assert second.check(200) == []  # its window is not full yet
    assert second.check(100) == ["resolved"]
    await second.manager.synchronize()
    ((id_, _, status, *_),) = await ask(dsn, STORED)
    assert (id_, status) == (first.announced[0].id, "resolved")


@bounded
async def test_a_cooldown_outlives_a_restart(store: Postgres, dsn: str) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    first.see(GOOD)
    first.check(10)
    await first.manager.synchronize()
    second = Run(store, started=WALL + 60)
    await second.manager.synchronize()
    second.see(BAD)
    assert second.check() == ["active"]
    assert second.announced[0].id == first.announced[0].id
    await second.manager.synchronize()
    assert len(await ask(dsn, STORED)) == 1


@pytest.mark.parametrize("rules", [(), (rule(enabled=False),), (rule(id="other"),)])
@bounded
async def test_the_alert_of_a_rule_that_is_gone_is_resolved(
    store: Postgres, dsn: str, rules: tuple[Rule, ...]
) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.synchronize()
    second = Run(store, rules=rules, started=WALL + 60)
    await second.manager.synchronize()
    assert second.manager.active == []
    ((_, _, status, _, has_ended, _),) = await ask(dsn, STORED)
    assert (status, has_ended) == ("resolved", True)


@bounded
async def test_alerts_of_other_nodes_are_left_alone(store: Postgres, dsn: str) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.synchronize()
    await ask(dsn, "UPDATE alerts SET node = 'elsewhere'")
    second = Run(store, rules=(), started=WALL + 60)
    await second.manager.synchronize()
    assert [row[2] for row in await ask(dsn, STORED)] == ["active"]


@bounded
async def test_what_an_earlier_run_left_is_taken_over_once_though_asked_for_twice_at_once(
    store: Postgres, dsn: str
) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.synchronize()
    second = Run(store, started=WALL + 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.manager.synchronize)
        nursery.start_soon(second.manager.synchronize)
    assert [row[2] for row in await ask(dsn, STORED)] == ["active"]
    assert len(second.manager.active) == 1


@bounded
async def test_alerts_wait_for_a_database_that_is_away(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "SAVE_SECONDS", 0.01)
    monkeypatch.setattr(manager_module, "RESTORE_SECONDS", 0.01)
    async with database(None) as postgres:
        run = Run(postgres, rules=(QUIET, rule(id="never", threshold=1000)))
        run.see(BAD)
        ready = trio.Event()
        with capture_logs() as logs:
            async with at_work(run, ready):
                await eventually(lambda: run.manager.active)
                ready.set()
                await eventually(lambda: logs)
                await trio.testing.wait_all_tasks_blocked()
                async with database(dsn) as migrated:
                    await migrated.prepare()
                postgres.dsn = dsn
                while not await ask(dsn, STORED):
                    pass
    assert [row[1] for row in await ask(dsn, STORED)] == ["r"]
    assert [line["event"] for line in logs] == ["alerts can't be saved now, it will be tried again"]


@bounded
async def test_an_open_alert_found_late_gives_way_to_the_one_made_meanwhile(
    store: Postgres, dsn: str
) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.synchronize()
    second = Run(store, started=WALL + 60)
    second.see(BAD)
    second.check()  # the database was away
    await second.manager.synchronize()
    assert [row[2] for row in await ask(dsn, STORED)] == ["resolved", "active"]


@bounded
async def test_an_alert_that_the_database_refuses_holds_up_no_other(
    store: Postgres, dsn: str
) -> None:
    run = Run(store, rules=(rule(id="a\0b", actions=()), QUIET))
    run.see(BAD)
    assert run.check() == ["active", "active"]
    with capture_logs() as logs:
        await run.manager.synchronize()
        await run.manager.synchronize()
    assert [row[1] for row in await ask(dsn, STORED)] == ["r"]
    assert [line["event"] for line in logs] == ["an alert can't be saved"]


@bounded
async def test_what_waits_for_the_database_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "MAX_UNSAVED", 3)
    async with database(None) as postgres:
        run = Run(postgres, rules=tuple(rule(id=f"r{i}", actions=()) for i in range(5)))
        run.see(BAD)
        with capture_logs() as logs:
            run.check()
    assert len(run.manager._unsaved) == 3
    assert len(logs) == 2

"""The manager with the live state and a real database: alerts are saved and restored."""

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
async def test_alert_is_saved_and_its_resolve_updates_the_row(store: Postgres, dsn: str) -> None:
    run = Run(store)
    run.see(BAD)
    assert run.check() == ["active"]
    await run.manager.restore_and_save()
    (id_,) = {alert.id for alert in run.announced}
    assert await ask(dsn, STORED) == [(id_, "r", "active", 100, False, "here")]
    assert [alert.id for alert in run.manager.open_alerts] == [id_]
    run.see(GOOD)
    assert run.check(1) == ["resolved"]
    await run.manager.restore_and_save()
    ((stored_id, _, status, value, has_ended, _),) = await ask(dsn, STORED)
    assert (stored_id, status, has_ended) == (id_, "resolved", True)
    assert value < 1
    assert run.manager.open_alerts == []


@bounded
async def test_open_alert_keeps_its_id_after_restart(store: Postgres, dsn: str) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.restore_and_save()
    second = Run(store, started=WALL + 60)
    await second.manager.restore_and_save()
    assert [alert.id for alert in second.manager.open_alerts] == [first.announced[0].id]
    assert second.check(200) == []  # its window is not full yet
    assert second.check(100) == ["resolved"]
    await second.manager.restore_and_save()
    ((id_, _, status, *_),) = await ask(dsn, STORED)
    assert (id_, status) == (first.announced[0].id, "resolved")


@bounded
async def test_rule_in_cooldown_reopens_its_alert_after_restart(store: Postgres, dsn: str) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    first.see(GOOD)
    first.check(10)
    await first.manager.restore_and_save()
    second = Run(store, started=WALL + 60)
    await second.manager.restore_and_save()
    second.see(BAD)
    assert second.check() == ["active"]
    assert second.announced[0].id == first.announced[0].id
    await second.manager.restore_and_save()
    assert len(await ask(dsn, STORED)) == 1


@pytest.mark.parametrize("rules", [(), (rule(enabled=False),), (rule(id="other"),)])
@bounded
async def test_open_alert_of_removed_or_disabled_rule_is_resolved_at_start(
    store: Postgres, dsn: str, rules: tuple[Rule, ...]
) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.restore_and_save()
    second = Run(store, rules=rules, started=WALL + 60)
    await second.manager.restore_and_save()
    assert second.manager.open_alerts == []
    ((_, _, status, _, has_ended, _),) = await ask(dsn, STORED)
    assert (status, has_ended) == ("resolved", True)


@bounded
async def test_open_alert_of_other_node_stays_open_at_start(store: Postgres, dsn: str) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.restore_and_save()
    await ask(dsn, "UPDATE alerts SET node = 'elsewhere'")
    second = Run(store, rules=(), started=WALL + 60)
    await second.manager.restore_and_save()
    assert [row[2] for row in await ask(dsn, STORED)] == ["active"]


@bounded
async def test_two_restores_at_once_take_over_earlier_alerts_once(
    store: Postgres, dsn: str
) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.restore_and_save()
    second = Run(store, started=WALL + 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.manager.restore_and_save)
        nursery.start_soon(second.manager.restore_and_save)
    assert [row[2] for row in await ask(dsn, STORED)] == ["active"]
    assert len(second.manager.open_alerts) == 1


@bounded
async def test_alert_is_saved_when_unreachable_database_comes_back(
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
                await eventually(lambda: run.manager.open_alerts)
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
async def test_earlier_alert_found_late_is_resolved_where_rule_has_a_new_one(
    store: Postgres, dsn: str
) -> None:
    first = Run(store)
    first.see(BAD)
    first.check()
    await first.manager.restore_and_save()
    second = Run(store, started=WALL + 60)
    second.see(BAD)
    second.check()  # the database was away
    await second.manager.restore_and_save()
    assert [row[2] for row in await ask(dsn, STORED)] == ["resolved", "active"]


@bounded
async def test_alert_refused_by_database_does_not_block_others(store: Postgres, dsn: str) -> None:
    run = Run(store, rules=(rule(id="a\0b", actions=()), QUIET))
    run.see(BAD)
    assert run.check() == ["active", "active"]
    with capture_logs() as logs:
        await run.manager.restore_and_save()
        await run.manager.restore_and_save()
    assert [row[1] for row in await ask(dsn, STORED)] == ["r"]
    assert [line["event"] for line in logs] == ["an alert can't be saved"]


@bounded
async def test_oldest_unsaved_alert_is_dropped_over_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager_module, "MAX_UNSAVED", 3)
    async with database(None) as postgres:
        run = Run(postgres, rules=tuple(rule(id=f"r{i}", actions=()) for i in range(5)))
        run.see(BAD)
        with capture_logs() as logs:
            run.check()
    assert len(run.manager._unsaved) == 3
    assert len(logs) == 2

"""Silences in a real database, and what they do to the notices of a run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from alerts.rule import WALL, rule
from alerts.run import BAD, GOOD, Run
from alerts.test_actions import ALERT
from attrs import evolve
from store.cluster import bounded
from store.databases import ask, database

from aegisd.alerts.alert_table import AlertTable
from aegisd.alerts.manager import LOOK_SECONDS
from aegisd.alerts.silences import Silence, Silences, TooManySilences
from aegisd.alerts.silences import silences as silences_module
from aegisd.errors import DatabaseUnavailable
from aegisd.store.database.postgres import Postgres

SECOND = 1_000_000
NOW = WALL * SECOND
ALL = Silence(str(uuid4()), None, None, NOW, NOW + 60 * SECOND, "at work on it", "ann")
LOUD = rule()  # its action is a line in the log


@asynccontextmanager
async def prepared(dsn: str) -> AsyncIterator[Postgres]:
    async with database(dsn) as made:
        await made.prepare()
        yield made


def told(run: Run) -> list[str]:
    """What waits for the receivers."""
    queues = run.manager._delivery._queues
    return [queued.alert.status for queue in queues.values() for queued in queue]


@pytest.mark.parametrize(
    ("rule_id", "severity", "covered"),
    [
        (None, None, True),
        ("r", None, True),
        ("other", None, False),
        (None, "critical", True),
        (None, "info", False),
        ("r", "critical", True),
        ("r", "info", False),
        ("other", "critical", False),
    ],
)
def test_silence_covers_alerts_that_match_all_it_names(
    rule_id: str | None, severity: str | None, covered: bool
) -> None:
    assert evolve(ALL, rule_id=rule_id, severity=severity).covers(ALERT, NOW) is covered


@pytest.mark.parametrize(("seconds", "covered"), [(-1, False), (0, True), (59, True), (60, False)])
def test_silence_covers_from_its_start_up_to_its_end(seconds: int, covered: bool) -> None:
    assert ALL.covers(ALERT, NOW + seconds * SECOND) is covered


@bounded
async def test_silences_are_listed_until_they_end(dsn: str) -> None:
    async with prepared(dsn) as store:
        silences = Silences(store)
        later = evolve(ALL, id=str(uuid4()), rule_id="r", ends_at=NOW + 90 * SECOND)
        await silences.add(later, NOW)
        await silences.add(ALL, NOW)
        assert await silences.list(NOW) == [ALL, later]
        assert await silences.list(NOW + 60 * SECOND) == [later]
        assert await silences.list(NOW + 90 * SECOND) == []


@bounded
async def test_removed_silence_covers_nothing(dsn: str) -> None:
    async with prepared(dsn) as store:
        silences = Silences(store)
        await silences.add(ALL, NOW)
        assert silences.cover(ALERT, NOW)
        assert await silences.remove(UUID(ALL.id))
        assert not silences.cover(ALERT, NOW)
        assert await silences.list(NOW) == []
        assert not await silences.remove(UUID(ALL.id))


@bounded
async def test_silence_beyond_the_limit_is_refused_until_others_end(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silences_module, "MAX_SILENCES", 1)
    async with prepared(dsn) as store:
        silences = Silences(store)
        await silences.add(ALL, NOW)
        another = evolve(ALL, id=str(uuid4()))
        with pytest.raises(TooManySilences):
            await silences.add(another, NOW)
        await silences.add(another, NOW + 60 * SECOND)
        assert await ask(dsn, "SELECT count(*) FROM alert_silences") == [(2,)]


@bounded
async def test_silence_made_over_another_daemon_holds_back_and_releases(dsn: str) -> None:
    async with prepared(dsn) as store:
        run = Run(store, rules=(LOUD,))
        await run.manager.restore_and_save()
        await Silences(store).add(ALL, NOW)
        run.now += LOOK_SECONDS
        await run.manager.restore_and_save()
        run.see(BAD)
        assert run.check() == ["active"]  # shown
        await run.manager.restore_and_save()
        assert await ask(dsn, "SELECT status FROM alerts") == [("active",)]  # stored
        assert told(run) == []
        assert run.check(60) == []
        assert told(run) == ["active"]


@bounded
async def test_loaded_silence_holds_on_while_the_database_is_away(dsn: str) -> None:
    async with prepared(dsn) as store:
        run = Run(store, rules=(LOUD,))
        await Silences(store).add(ALL, NOW)
        await run.manager.restore_and_save()
        store.close()
        store.dsn = None
        run.now += LOOK_SECONDS
        await run.manager.restore_and_save()
        run.see(BAD)
        run.check()
        assert told(run) == []
        with pytest.raises(DatabaseUnavailable):
            await run.silences.list(NOW)
        with pytest.raises(DatabaseUnavailable):
            await run.silences.add(evolve(ALL, id=str(uuid4())), NOW)


@bounded
async def test_alert_silenced_before_a_restart_is_told_after_it(dsn: str) -> None:
    async with prepared(dsn) as store:
        first = Run(store, rules=(LOUD,))
        await first.silences.add(ALL, NOW)
        first.see(BAD)
        first.check()
        await first.manager.restore_and_save()
        assert told(first) == []
        second = Run(store, rules=(LOUD,), started=WALL + 30)
        await second.manager.restore_and_save()
        second.see(BAD)
        second.check()
        assert told(second) == []
        second.check(30)
        assert told(second) == ["active"]


@bounded
async def test_alert_of_before_a_restart_without_silence_is_not_told_again(dsn: str) -> None:
    async with prepared(dsn) as store:
        first = Run(store, rules=(LOUD,))
        first.see(BAD)
        first.check()
        await first.manager.restore_and_save()
        second = Run(store, rules=(LOUD,), started=WALL + 30)
        await second.manager.restore_and_save()
        second.see(BAD)
        second.check()
        assert told(second) == []
        second.see(GOOD)
        second.check(300)
        assert told(second) == ["resolved"]


@bounded
async def test_silences_that_ended_long_ago_are_removed_with_old_alerts(dsn: str) -> None:
    async with prepared(dsn) as store:
        await Silences(store).add(ALL, NOW)
        table = AlertTable(store, "here")
        assert not await table.any_before(ALL.ends_at)
        assert await table.any_before(ALL.ends_at + 1)
        await table.remove_before(ALL.ends_at + 1)
        assert not await table.any_before(ALL.ends_at + 1)
        assert await ask(dsn, "SELECT count(*) FROM alert_silences") == [(0,)]

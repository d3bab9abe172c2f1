"""Alerts acknowledged and resolved by hand, in memory and in a real database that daemons share."""

import uuid
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from alerts.rule import WALL, rule
from alerts.run import BAD, GOOD, Run
from store.cluster import bounded
from store.databases import ask, database

from aegisd.alerts.alert import AlreadyResolved
from aegisd.alerts.alert_table import AlertTable, Wanted
from aegisd.alerts.manager import LOOK_SECONDS
from aegisd.errors import DatabaseUnavailable
from aegisd.store.database.postgres import Postgres

STORED = (
    "SELECT status, acknowledged_by, acknowledged_at IS NOT NULL, resolved_by,"
    " resolved_at IS NOT NULL FROM alerts ORDER BY triggered_at"
)
ACTIVE = ("active", None, False, None, False)
ACKNOWLEDGED = ("acknowledged", "ann", True, None, False)
RESOLVED = ("resolved", None, False, "ann", True)


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[Postgres]:
    async with database(dsn) as made:
        await made.prepare()
        yield made


def elsewhere(postgres: Postgres) -> Run:
    """Another daemon's alerts in the same database; it has no rule of its own."""
    return Run(postgres, rules=())


async def fired(postgres: Postgres) -> tuple[Run, UUID]:
    """A run whose rule has fired, and the alert's id."""
    run = Run(postgres)
    run.see(BAD)
    run.check()
    await run.manager.restore_and_save()
    return run, UUID(run.announced[0].id)


@bounded
async def test_acknowledged_alert_is_announced_and_saved_at_once(store: Postgres, dsn: str) -> None:
    run, id_ = await fired(store)
    alert = await run.manager.acknowledge(id_, "ann")
    assert alert is not None
    assert (alert.status, alert.acknowledged_by) == ("acknowledged", "ann")
    assert run.announced[1:] == [alert]
    assert await ask(dsn, STORED) == [ACKNOWLEDGED]
    assert await run.manager.acknowledge(id_, "bob") == alert
    assert run.announced[1:] == [alert]


@bounded
async def test_alert_can_be_acknowledged_and_resolved_while_the_database_is_away(
    dsn: str,
) -> None:
    async with database(None) as postgres:
        run = Run(postgres)
        run.see(BAD)
        run.check()
        id_ = UUID(run.announced[0].id)
        assert (await run.manager.acknowledge(id_, "ann")) is not None
        assert (await run.manager.resolve(id_, "ann")) is not None
        assert [alert.status for alert in run.announced] == ["active", "acknowledged", "resolved"]
        with pytest.raises(AlreadyResolved):
            await run.manager.acknowledge(id_, "ann")
        with pytest.raises(DatabaseUnavailable):
            await run.manager.acknowledge(uuid4(), "ann")
        postgres.dsn = dsn
        await postgres.prepare()
        await run.manager.restore_and_save()
    assert await ask(dsn, STORED) == [("resolved", "ann", True, "ann", True)]


@bounded
async def test_unknown_alert_is_none(store: Postgres) -> None:
    run, _ = await fired(store)
    assert await run.manager.acknowledge(uuid4(), "ann") is None
    assert await run.manager.resolve(uuid4(), "ann") is None


@bounded
async def test_acknowledgement_and_its_name_outlive_a_restart(store: Postgres) -> None:
    run, id_ = await fired(store)
    await run.manager.acknowledge(id_, "ann")
    again = Run(store, started=WALL + 60)
    await again.manager.restore_and_save()
    assert [(a.status, a.acknowledged_by) for a in again.manager.open_alerts] == [
        ("acknowledged", "ann")
    ]


@bounded
async def test_alert_resolved_by_hand_stays_resolved_over_a_restart(
    store: Postgres, dsn: str
) -> None:
    run, id_ = await fired(store)
    await run.manager.resolve(id_, "ann")
    assert run.check(5) == []
    again = Run(store, started=WALL + 60)
    await again.manager.restore_and_save()
    again.see(BAD)
    assert again.check(5) == []
    assert await ask(dsn, STORED) == [RESOLVED]


@bounded
async def test_alert_acknowledged_over_another_daemon_is_acknowledged_at_its_own(
    store: Postgres, dsn: str
) -> None:
    run, id_ = await fired(store)
    other = elsewhere(store)
    await other.manager.acknowledge(id_, "ann")
    assert [alert.status for alert in other.announced] == ["acknowledged"]
    assert await ask(dsn, STORED) == [ACKNOWLEDGED]
    run.now += LOOK_SECONDS
    await run.manager.restore_and_save()
    assert [(a.status, a.acknowledged_by) for a in run.announced[1:]] == [("acknowledged", "ann")]
    run.see(GOOD)
    assert run.check() == ["resolved"]
    await run.manager.restore_and_save()
    assert await ask(dsn, STORED) == [("resolved", "ann", True, None, True)]


@bounded
async def test_save_does_not_undo_what_another_daemon_acknowledged(
    store: Postgres, dsn: str
) -> None:
    run, id_ = await fired(store)
    run.now += 299
    run.see(BAD)
    assert run.check(1) == ["active"]  # a repeat, not saved yet
    await elsewhere(store).manager.acknowledge(id_, "ann")
    await run.manager.restore_and_save()
    assert await ask(dsn, STORED) == [ACKNOWLEDGED]


@bounded
async def test_resolve_of_an_alert_keeps_what_another_daemon_acknowledged(
    store: Postgres, dsn: str
) -> None:
    run, id_ = await fired(store)
    run.see(GOOD)
    assert run.check(1) == ["resolved"]  # not saved yet
    await elsewhere(store).manager.acknowledge(id_, "ann")
    await run.manager.restore_and_save()
    assert await ask(dsn, STORED) == [("resolved", "ann", True, None, True)]


@pytest.mark.parametrize(("seconds", "repeats"), [(LOOK_SECONDS, []), (300, ["active"])])
@bounded
async def test_alert_resolved_over_another_daemon_stays_resolved(
    store: Postgres, dsn: str, seconds: float, repeats: list[str]
) -> None:
    run, id_ = await fired(store)
    await elsewhere(store).manager.resolve(id_, "ann")
    run.now += seconds
    run.see(BAD)
    assert run.check() == repeats  # not saved yet
    await run.manager.restore_and_save()
    run.now += LOOK_SECONDS
    await run.manager.restore_and_save()
    assert run.manager.open_alerts == []
    assert run.announced[-1].resolved_by == "ann"
    assert run.check(5) == []
    assert await ask(dsn, STORED) == [RESOLVED]


@bounded
async def test_alert_that_reopens_after_a_resolve_by_hand_is_saved_as_open(
    store: Postgres, dsn: str
) -> None:
    run, id_ = await fired(store)
    await run.manager.acknowledge(id_, "ann")
    await run.manager.resolve(id_, "ann")
    run.see(GOOD)
    run.check(5)
    run.see((500, 1, 10_000))
    assert run.check(5) == ["active"]
    await run.manager.restore_and_save()
    assert await ask(dsn, STORED) == [("active", None, False, "ann", False)]
    run.now += LOOK_SECONDS
    await run.manager.restore_and_save()
    assert [alert.status for alert in run.manager.open_alerts] == ["active"]


@bounded
async def test_alert_of_a_node_that_is_gone_can_be_resolved(store: Postgres, dsn: str) -> None:
    _, id_ = await fired(store)
    await ask(dsn, "UPDATE alerts SET node = 'gone'")
    other = elsewhere(store)
    assert await other.manager.resolve(id_, "ann") is not None
    assert await ask(dsn, STORED) == [RESOLVED]
    with pytest.raises(AlreadyResolved):
        await other.manager.resolve(id_, "bob")
    with pytest.raises(AlreadyResolved):
        await other.manager.acknowledge(id_, "bob")


@bounded
async def test_list_has_the_alerts_that_were_open_in_a_range_and_goes_on_in_pages(
    store: Postgres, dsn: str
) -> None:
    def number(n: int) -> UUID:
        return uuid.UUID(int=n)

    for n, (since, until) in enumerate([(0, 10), (20, 30), (20, None), (40, 50), (60, None)]):
        await ask(
            dsn,
            "INSERT INTO alerts VALUES ($1, 'r', 'R', 'info', $2, 'm', 1, 1,"
            " to_timestamp($3::float8), to_timestamp($4::float8), NULL, NULL, 'here')",
            number(n),
            "active" if until is None else "resolved",
            since,
            until,
        )
    table = AlertTable(store, "here")

    async def listed(**wanted: object) -> list[int]:
        found = await table.list(Wanted(**{"limit": 10, **wanted}))
        return [UUID(alert.id).int for alert in found]

    second = 1_000_000
    assert await listed() == [4, 3, 2, 1, 0]
    assert await listed(start=30 * second, end=40 * second) == [2, 1]
    assert await listed(start=31 * second, end=41 * second, status="active") == [2]
    assert await listed(start=70 * second, end=80 * second) == [4, 2]
    assert await listed(limit=2) == [4, 3]
    assert await listed(limit=2, before=number(3)) == [2, 1]
    assert await listed(limit=2, before=number(2)) == [1, 0]
    assert await listed(before=number(0)) == []
    assert await listed(before=number(99)) == []


@bounded
async def test_alert_of_a_disabled_rule_is_changed_in_the_database(
    store: Postgres, dsn: str
) -> None:
    _, id_ = await fired(store)
    off = Run(store, rules=(rule(enabled=False),))
    assert await off.manager.acknowledge(id_, "ann") is not None
    assert await ask(dsn, STORED) == [ACKNOWLEDGED]

"""Folding, against rollups computed from the events: at any moment each event is there once."""

import random
from datetime import UTC, datetime

import pytest
from store import folds
from store.cluster import bounded
from store.database import ask, begin, database, database_name
from store.folds import Event, assert_same, store

from aegisd.config.settings import Metrics, Rollups
from aegisd.store.layouts import CITUS
from aegisd.store.levels import DAY, HOUR, SECOND, kept_from
from aegisd.store.maintenance import Maintainer
from aegisd.store.migrate import Layout
from aegisd.store.postgres import Postgres

NODES = ("a", "b", 'it\'s "c"')
LATE = (0, 0, 0, 0, 300, 2 * HOUR, 40 * HOUR)
STEPS = (1, 19, 20, 45, 61, 700, HOUR, 2 * HOUR, 7 * HOUR)


def at(*date: int) -> int:
    """Microseconds since 1970 of a time in UTC."""
    return int(datetime(*date, tzinfo=UTC).timestamp()) * SECOND


def maintainer(postgres: Postgres, now: int) -> Maintainer:
    return Maintainer(postgres, Metrics(), lambda: now / SECOND)


@pytest.mark.parametrize(
    ("start", "nodes", "layout"),
    [
        (at(2026, 3, 28, 20), 3, None),  # the clocks go forward in Berlin
        (at(2026, 10, 24, 19), 3, None),  # and back
        (at(2026, 12, 31, 18), 2, None),
        (at(2026, 2, 28, 21), 1, None),
        (at(2026, 10, 24, 21), 3, CITUS),  # pieces are marked first
        (at(2026, 7, 14, 10), 1, CITUS),
    ],
)
@bounded
async def test_every_level_holds_each_event_once_whenever_it_is_folded(
    dsn: str, start: int, nodes: int, layout: str | None
) -> None:
    chance = random.Random(start + nodes)
    made: list[Event] = []
    now = start
    await ask(dsn, f"ALTER DATABASE {database_name(dsn)} SET timezone = 'Europe/Berlin'")
    async with database(dsn) as postgres:
        await begin(postgres, start - 3 * DAY * SECOND)
        if layout is not None:
            postgres.layout = Layout(layout)
        folded = 0
        for _ in range(12):
            came = folds.events(
                chance,
                25,
                NODES[: chance.randint(1, nodes)],
                lambda now=now: now - SECOND * chance.choice(LATE) - chance.randrange(60 * SECOND),
            )
            await store(postgres, came)
            made += came
            now += chance.choice(STEPS) * SECOND
            folded += await maintainer(postgres, now).fold()
            await assert_same(postgres, made, NODES[:nodes], kept_from(Rollups(), now))
        assert folded > 6
        pieces = "SELECT count(*)::int FROM request_pieces"
        now += 10 * HOUR * SECOND
        assert await maintainer(postgres, now).fold()
        assert await postgres.fetch(pieces) == [(0,)]
        assert await postgres.fetch(f"{pieces.replace('pieces', 'rollups_1h')}") != [(0,)]
        await assert_same(postgres, made, NODES[:nodes], kept_from(Rollups(), now))

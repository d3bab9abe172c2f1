"""Folding against rollups computed from the events: each event counts once at any moment."""

import contextlib
import random
from datetime import UTC, datetime

import pytest
import trio
import trio.testing
from attrs import evolve
from store import folds
from store.cluster import bounded
from store.databases import NODE, ask, begin, database, database_name, eventually, session, until
from store.folds import Event, Time, assert_same, store
from structlog.testing import capture_logs

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Metrics, Rollups
from aegisd.events.counters import OTHER
from aegisd.events.units import SECOND_US
from aegisd.store.database.postgres import Postgres, Session
from aegisd.store.rollups import folding
from aegisd.store.rollups.folding import Folded, Portion
from aegisd.store.rollups.rollup import MAX_NAMES
from aegisd.store.schema import PARTITIONED, Layout, Partition
from aegisd.store.schema.levels import (
    DAY,
    ENDPOINTS,
    HOUR,
    KEYS,
    REQUESTS,
    ROLLUP_KINDS,
    RollupKind,
)
from aegisd.store.upkeep import maintainer as maintainer_module
from aegisd.store.upkeep.maintainer import Maintainer
from aegisd.store.upkeep.policy import kept_from

NODES = ("a", "b", 'it\'s "c"')
LATE = (0, 0, 0, 0, 300, 2 * HOUR, 40 * HOUR)
STEPS = (1, 19, 20, 45, 61, 700, HOUR, 2 * HOUR, 7 * HOUR)


def at(*date: int) -> int:
    """Microseconds since 1970 of a time in UTC."""
    return int(datetime(*date, tzinfo=UTC).timestamp()) * SECOND_US


def maintainer(postgres: Postgres, now: int) -> folds.Keeper:
    return Time(now).keeper(postgres)


@pytest.mark.parametrize(
    ("start", "nodes", "layout"),
    [
        (at(2026, 3, 28, 20), 3, None),  # the clocks go forward in Berlin
        (at(2026, 10, 24, 19), 3, None),  # and back
        (at(2026, 12, 31, 18), 2, None),
        (at(2026, 2, 28, 21), 1, None),
        (at(2026, 10, 24, 21), 3, Layout.CITUS),  # pieces are marked first
        (at(2026, 7, 14, 10), 1, Layout.CITUS),
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
        await begin(postgres, start - 3 * DAY * SECOND_US)
        if layout is not None:
            postgres._pool.installation = evolve(postgres.installation, layout=layout)
        folded = 0
        for _ in range(12):
            came = folds.events(
                chance,
                25,
                NODES[: chance.randint(1, nodes)],
                lambda now=now: (
                    now - SECOND_US * chance.choice(LATE) - chance.randrange(60 * SECOND_US)
                ),
            )
            await store(postgres, came)
            made += came
            now += chance.choice(STEPS) * SECOND_US
            folded += await maintainer(postgres, now).fold()
            await assert_same(postgres, made, NODES[:nodes], kept_from(Rollups(), now))
            if layout is None:
                await assert_no_row_twice(postgres)
        assert folded > 6
        pieces = "SELECT count(*)::int FROM request_pieces"
        now += 10 * HOUR * SECOND_US
        assert await maintainer(postgres, now).fold()
        assert await postgres.fetch(pieces) == [(0,)]
        assert await postgres.fetch(f"{pieces.replace('pieces', 'rollups_1h')}") != [(0,)]
        await assert_same(postgres, made, NODES[:nodes], kept_from(Rollups(), now))


async def assert_no_row_twice(postgres: Postgres) -> None:
    """A late piece is added to the row that is there."""
    for kind in ROLLUP_KINDS:
        names = "".join(f", {name}" for name in kind.names)
        for level in kind.levels:
            twice = (
                f"SELECT bucket, node, summed{names} FROM {kind.table(level)}"
                f" GROUP BY bucket, node, summed{names} HAVING count(*) > 1"
            )
            assert await postgres.fetch(twice) == [], (kind.name, level)


@bounded
async def test_events_of_weeks_without_a_fold_are_in_every_level_that_is_kept(dsn: str) -> None:
    """No daemon folded for two months, and late events come for a time that is closed only now."""
    start, now = at(2026, 1, 10, 5), at(2026, 3, 15, 12)
    chance = random.Random(1)
    async with database(dsn) as postgres:
        await begin(postgres, start)
        first = folds.events(chance, 60, NODES, lambda: start + chance.randrange(DAY * SECOND_US))
        await store(postgres, first)
        assert await maintainer(postgres, start + 20 * HOUR * SECOND_US).fold()
        second = folds.events(chance, 60, NODES, lambda: chance.randrange(start, now))
        await store(postgres, second)
        await maintainer(postgres, now).maintain()
        await assert_same(postgres, first + second, NODES, kept_from(Rollups(), now))


@bounded
async def test_the_busiest_names_of_each_bucket_are_kept_and_the_rest_is_other(dsn: str) -> None:
    """Two nodes' 150 endpoints each, of which 50 are both's, are 250 of all nodes."""
    now = at(2026, 5, 5, 12, 30)

    def own(node: str, first: int) -> list[Event]:
        return [
            Event(now - 60 * SECOND_US * (5 + minute), node, kind, names(kind, i), 200, 1000 + i)
            for minute in (0, 1, 70)
            for kind in ("request", "rate_limit")
            for i in range(first, first + 150)
            for _ in range(3 if i % 10 == 0 else 1)
        ]

    def names(kind: str, i: int) -> tuple[str, ...]:
        return ("GET", f"/{i}") if kind == "request" else (f"k{i}",)

    made = own("a", 0) + own("b", 100)
    async with database(dsn) as postgres:
        await begin(postgres, now - DAY * SECOND_US)
        for hours in (0, 1, 30):
            if hours == 0:
                await store(postgres, made)
            assert await maintainer(postgres, now + hours * HOUR * SECOND_US).fold()
            for kind in (ENDPOINTS, KEYS):
                for level in kind.levels:
                    await assert_bounded(postgres, kind, level, made)


@bounded
async def test_method_called_other_gets_no_more_places(dsn: str) -> None:
    now = at(2026, 5, 5, 12, 30)
    late = now - 40 * 60 * SECOND_US
    async with database(dsn) as postgres:
        await begin(postgres, now - DAY * SECOND_US)
        for fold in range(3):
            names = [(OTHER, f"/{fold}/{i}") for i in range(150)]
            await store(postgres, [Event(late, "a", "request", n, 200, 1000) for n in names])
            assert await maintainer(postgres, now + fold * HOUR * SECOND_US).fold()
        for level in ENDPOINTS.levels[:2]:
            counted = f"SELECT count(*), sum(requests)::int FROM {ENDPOINTS.table(level)}"
            rows, requests = (await ask(dsn, f"{counted} WHERE NOT summed"))[0]
            assert (rows, requests) == (MAX_NAMES + 1, 450), level


async def assert_bounded(
    postgres: Postgres, kind: RollupKind, level: int, made: list[Event]
) -> None:
    """The kept names are those that rank first, with all of theirs; and nothing is missing."""

    async def work(session: Session) -> folds.Figures:
        return await folds.found(session, kind, level, None, 0)

    there = await postgres.read(work)
    exact = folds.expected(kind, level, made, None, 0)
    other = {key for key in there if key[-1] == OTHER}
    for bucket in {key[0] for key in exact}:
        kept = {key for key in there if key[0] == bucket} - other
        # pieces and the finer levels that a bucket still consists of have names of their own
        assert MAX_NAMES <= len(kept) <= 250
        for name in range(0, 250, 10):
            key = next(k for k in exact if k[0] == bucket and k[-1].strip("/k") == str(name))
            assert there[key] == exact[key]
    for i in range(len(kind.counters)):
        assert sum(row[i] for row in there.values()) == sum(row[i] for row in exact.values())


@pytest.mark.parametrize("nodes", [1, 3])
@bounded
async def test_each_event_counts_once_while_writers_folds_and_reads_run_together(
    dsn: str, nodes: int
) -> None:
    """A reader sees what was committed: as many events as the journals' positions say."""
    start = at(2026, 6, 1, 10, 59)
    clock = iter(range(start, start + DAY * SECOND_US, 21 * SECOND_US))
    chance = random.Random(nodes)
    made: list[Event] = []
    folded, read, writing = 0, 0, nodes

    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(database(dsn))
        others = [await stack.enter_async_context(database(dsn)) for _ in range(2)]
        for other in others:
            await other.prepare()
        await begin(first, start)
        await maintainer(first, start - 60 * SECOND_US).maintain()

        async def write(node: str) -> None:
            nonlocal writing
            async with database(dsn) as postgres:
                for _ in range(15):
                    came = folds.events(
                        chance, 20, [node], lambda: start - chance.randrange(2 * HOUR * SECOND_US)
                    )
                    await store(postgres, came)
                    made.extend(came)
            writing -= 1

        async def fold(postgres: Postgres) -> None:
            nonlocal folded
            time = Time(start)
            keeper = time.keeper(postgres)
            while writing:
                time.now = next(clock)
                done = await keeper.fold()
                folded += done

        async def reader(session: Session) -> None:
            ((committed,),) = await session.fetch("SELECT sum(position)::int FROM journals")
            for level in REQUESTS.levels:
                there = await folds.found(session, REQUESTS, level, None, 0)
                counts = [
                    row[0] + row[REQUESTS.counters.index("checked")] for row in there.values()
                ]
                assert sum(counts) == (committed or 0), level

        async with trio.open_nursery() as nursery:
            for node in NODES[:nodes]:
                nursery.start_soon(write, node)
            for postgres in others:
                nursery.start_soon(fold, postgres)
            while writing:
                await first.read(reader)
                read += 1
        assert folded > 3
        assert read > 3
        while not await maintainer(first, next(clock) + DAY * SECOND_US).fold():
            pass
        await assert_same(
            first, made, NODES[:nodes], kept_from(Rollups(), start + 2 * DAY * SECOND_US)
        )


@bounded
async def test_one_of_many_maintainers_folds_at_a_time(dsn: str) -> None:
    """While one is at it, the others go on without waiting; and before it's time, all do."""
    now = at(2026, 6, 1, 10)
    async with database(dsn) as one, database(dsn) as other, session(dsn) as execute:
        await begin(one, now - DAY * SECOND_US)
        await other.prepare()
        await execute("BEGIN; SELECT * FROM rollup_progress FOR UPDATE")
        assert not await maintainer(one, now).fold()
        await execute("COMMIT")
        assert await maintainer(one, now).fold()
        assert not await maintainer(other, now + 19 * SECOND_US).fold()
        assert await maintainer(other, now + 20 * SECOND_US).fold()


@bounded
async def test_fold_by_a_clock_far_ahead_stops_no_later_fold(dsn: str) -> None:
    now = at(2026, 6, 1, 10)
    chance = random.Random(5)
    made: list[Event] = []
    async with database(dsn) as postgres:
        await begin(postgres, now - DAY * SECOND_US)
        for ahead in (0, 40 * DAY, 1, 60, 4000):  # seconds
            came = folds.events(chance, 20, NODES, lambda: now - chance.randrange(HOUR * SECOND_US))
            await store(postgres, came)
            made += came
            assert await maintainer(postgres, now + ahead * SECOND_US).fold()
        kept = kept_from(Rollups(), now + 40 * DAY * SECOND_US)
        await assert_same(postgres, made, NODES, kept)


@bounded
async def test_a_writer_does_not_wait_for_a_fold(dsn: str) -> None:
    now = at(2026, 6, 1, 10)
    chance = random.Random(6)
    made = folds.events(chance, 50, NODES, lambda: now - chance.randrange(HOUR * SECOND_US))
    late = folds.events(chance, 50, NODES, lambda: now - chance.randrange(HOUR * SECOND_US))
    waits = "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with database(dsn) as postgres, database(dsn) as writer, session(dsn) as execute:
        await begin(postgres, now - DAY * SECOND_US)
        await store(postgres, made)
        await maintainer(postgres, now - 60 * SECOND_US).maintain()
        kept = kept_from(Rollups(), now)
        days = frozenset({now // (DAY * SECOND_US)})

        async def work(session: Session) -> Folded | None:
            done = await folding.fold(session, Portion(now, kept, days, 1000, "partitions"))
            await session.fetch("SELECT pg_advisory_xact_lock(1)::text")
            return done

        await execute("SELECT pg_advisory_lock(1)")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(postgres.fold, work)
            await until(dsn, waits, 1)
            await store(writer, late)
            assert await ask(dsn, waits) == [(1,)]  # it still folds
            await assert_same(writer, made + late, NODES, kept)
            await execute("SELECT pg_advisory_unlock(1)")
        await assert_same(postgres, made + late, NODES, kept)


@pytest.mark.parametrize("layout", ["partitions", Layout.CITUS])
@bounded
async def test_many_pieces_are_folded_in_portions(dsn: str, layout: str) -> None:
    """The oldest pieces first: of a day at most, and whole minutes."""
    now = at(2026, 6, 1, 10)
    chance = random.Random(8)
    made = folds.events(chance, 150, NODES, lambda: now - chance.randrange(50 * HOUR * SECOND_US))
    busy = folds.events(
        chance, 60, NODES, lambda: now - 30 * HOUR * SECOND_US + chance.randrange(9)
    )
    async with database(dsn) as postgres:
        await begin(postgres, now - 3 * DAY * SECOND_US)
        postgres._pool.installation = evolve(postgres.installation, layout=layout)
        for event in made + busy:  # a piece each
            await store(postgres, [event])
        left, kept = [210], kept_from(Rollups(), now)
        await postgres.make_partitions(
            Partition.of(table, now // (DAY * SECOND_US) - ago)
            for table in PARTITIONED
            for ago in range(4)
        )
        days = frozenset(range(now // (DAY * SECOND_US) - 3, now // (DAY * SECOND_US) + 1))

        async def work(session: Session) -> Folded | None:
            return await folding.fold(session, Portion(now, kept, days, 25, layout))

        more = True
        while more:
            folded = await postgres.fold(work)
            assert folded is not None
            more = folded.more
            await assert_same(postgres, made + busy, NODES, kept)
            left += [n for (n,) in await postgres.fetch("SELECT count(*)::int FROM request_pieces")]
        assert left == sorted(left, reverse=True)
        assert len(left) > 6
        assert left[-1] == sum(event.moment >= now - 60 * SECOND_US for event in made)


@bounded
async def test_one_turn_folds_all_portions(dsn: str) -> None:
    now = at(2026, 6, 1, 10)
    chance = random.Random(8)
    made = folds.events(chance, 60, NODES, lambda: now - chance.randrange(61, 200_000) * SECOND_US)
    async with database(dsn) as postgres:
        await begin(postgres, now - 3 * DAY * SECOND_US)
        await store(postgres, made)
        assert await maintainer(postgres, now).maintain()
        assert await postgres.fetch("SELECT count(*) FROM request_pieces") == [(0,)]
        await assert_same(postgres, made, NODES, kept_from(Rollups(), now))


async def some(postgres: Postgres, now: int) -> list[Event]:
    """Events of the last three hours, folded but for some."""
    chance = random.Random(now)
    await begin(postgres, now - DAY * SECOND_US)
    made = folds.events(chance, 80, NODES, lambda: now - chance.randrange(3 * HOUR * SECOND_US))
    await store(postgres, made[:60])
    assert await maintainer(postgres, now - 20 * SECOND_US).fold()
    await store(postgres, made[60:])
    return made


@bounded
async def test_a_lost_row_of_progress_comes_back_with_the_next_fold(dsn: str) -> None:
    now = at(2026, 6, 1, 10, 7)
    async with database(dsn) as postgres:
        made = await some(postgres, now)
        await ask(dsn, "DELETE FROM rollup_progress")
        keeper = maintainer(postgres, now)
        assert not await keeper.fold()
        assert await keeper.fold()
        await assert_same(postgres, made, NODES, kept_from(Rollups(), now))
        later = now + 30 * HOUR * SECOND_US
        assert await maintainer(postgres, later).fold()
        await ask(dsn, "DELETE FROM rollup_progress")
        late = folds.events(random.Random(9), 20, NODES, lambda: now + HOUR * SECOND_US)
        await store(postgres, late)
        for _ in range(2):
            await maintainer(postgres, later + 60 * SECOND_US).fold()
        await assert_same(postgres, made + late, NODES, kept_from(Rollups(), later))


@bounded
async def test_a_partition_that_was_dropped_by_hand_is_made_again(dsn: str) -> None:
    """Its rows are lost; later pieces are not, nor are hours that are still to be closed."""
    now = at(2026, 6, 2, 0, 3)
    async with database(dsn) as postgres:
        made = await some(postgres, now)
        for partition in await postgres.partitions():
            if partition.table in ("request_rollups_1h", "endpoint_rollups_1h"):
                await ask(dsn, f"DROP TABLE {partition.name}")
        await postgres.execute("DELETE FROM request_pieces")
        await postgres.execute("DELETE FROM endpoint_pieces")
        await postgres.execute("DELETE FROM rate_limit_pieces")
        assert await maintainer(postgres, now + 10 * 60 * SECOND_US).fold()
        hours = "SELECT sum(requests)::int FROM request_rollups_1h WHERE NOT summed"
        closed = range(at(2026, 6, 1, 23), at(2026, 6, 2))
        last = [e for e in made[:60] if e.moment in closed and e.kind == "request"]
        assert await postgres.fetch(hours) == [(len(last),)]


@bounded
async def test_failing_fold_is_logged_once_and_tried_again(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintainer_module, "FOLD_INTERVAL_SECONDS", 0.01)
    now = at(2026, 6, 1, 10)
    ready = trio.Event()
    async with database(dsn) as postgres:
        made = await some(postgres, now)
        await ask(dsn, "ALTER TABLE request_pieces RENAME TO elsewhere")
        time, tried = Time(now), 0

        async def clock(_: Session) -> int:
            nonlocal tried
            tried += 1
            time.pass_(30)
            return time.now

        keeper = Maintainer(postgres, Metrics(), time.clocks, AlertTable(postgres, NODE), clock)
        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keeper.run, ready)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert tried == 0
                ready.set()
                await eventually(lambda: tried > 5)
                assert [log["duty"] for log in logs] == ["fold", "vacuum"]
                assert 'relation "request_pieces" does not exist' in logs[0]["why"]
                await ask(dsn, "ALTER TABLE elsewhere RENAME TO request_pieces")
                await until(dsn, "SELECT count(*)::int FROM request_pieces", 0)
                nursery.cancel_scope.cancel()
        await assert_same(postgres, made, NODES, kept_from(Rollups(), now))

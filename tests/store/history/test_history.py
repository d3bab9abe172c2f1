"""Every answer about the past against one computed here from the same events."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing
from attrs import frozen
from sketches import sketch_of
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
    history_of,
    requests,
    running,
    session,
    storage_in,
    write,
)
from store.folds import Time

from aegisd.config.settings import Rollups, Sampling, Share
from aegisd.errors import DatabaseUnavailable
from aegisd.events.block import Block
from aegisd.events.counters import OTHER
from aegisd.events.protocol import RATE_LIMIT, REQUEST
from aegisd.events.units import MINUTE_SECONDS, SECOND_US
from aegisd.store.database.postgres import Postgres, Session
from aegisd.store.history.history import History
from aegisd.store.history.ranges import (
    NAMED_RANGES,
    KeptFrom,
    Range,
    kept_of_names,
    named_range,
    range_between,
)
from aegisd.store.history.results import (
    Answer,
    EndpointTotals,
    KeyTotals,
    Latency,
    Present,
    RequestCounts,
    StatusCounts,
    Totals,
)
from aegisd.store.rollups.rollup import MAX_NAMES
from aegisd.store.schema.levels import FINE, ceil, floor
from aegisd.store.storage import Storage
from aegisd.store.upkeep.policy import kept_from

MINUTE, HOUR = 60 * SECOND_US, 3600 * SECOND_US
NOW = NOON + 34 * MINUTE + 21 * SECOND_US + 123_456
KEPT = kept_from(Rollups(), NOW)
CLOCKS = {NODE: 0, "ahead": 3 * MINUTE, 'it\'s "behind"': -4 * MINUTE}
STATUSES = (0, 101, 200, 200, 200, 204, 304, 399, 400, 404, 429, 500, 599, 600, 999)
SPANS = (5 * MINUTE, HOUR, DAY, 7 * DAY, 32 * DAY)
FOLDED_AT = [NOW - ago for ago in (31 * DAY, 20 * DAY, 8 * DAY, DAY, 3 * HOUR, HOUR, 10 * MINUTE)]


def ranges(kept: KeptFrom) -> list[Range]:
    return [
        *(named_range(name, NOW, kept) for name in NAMED_RANGES),
        range_between(NOW - 20 * HOUR - 12_345, NOW - 3 * HOUR + 777, NOW, kept),
        range_between(NOW - 3 * MINUTE, NOW + 2 * MINUTE, NOW, kept),
        range_between(NOW - 9 * DAY, NOW - 8 * DAY, NOW, kept),
        range_between(NOW - 31 * DAY, NOW - 31 * DAY + 1, NOW, kept),
        range_between(NOW - 10 * 365 * DAY, NOW, NOW, kept),
    ]


RANGES = ranges(KEPT)
ENDPOINT_RANGES = ranges(kept_of_names(KEPT))
ENDPOINTS = [("GET", "/"), ("POST", "/users/{id}"), ("GET", "/é"), (OTHER, OTHER), ("POST", "/x")]


Series = Awaitable[Answer[dict[int, Any]]]


@frozen
class Event:
    """What came in; ``arrival`` is when, ``duration`` in microseconds."""

    arrival: int
    moment: int
    node: str
    kind: str
    names: tuple[str, ...]
    status: int = 0
    duration: int | None = None
    allowed: bool = True

    def row(self) -> dict[str, Any]:
        """As a block takes it."""
        if self.kind == RATE_LIMIT:
            return {"timestamp": self.moment, "key": self.names[0], "allowed": self.allowed}
        method, endpoint = self.names
        timed = {} if self.duration is None else {"duration_us": self.duration}
        return timed | {
            "timestamp": self.moment,
            "method": method,
            "endpoint": endpoint,
            "status_code": self.status,
        }


def generated(count: int, seed: int) -> list[Event]:
    """A month of three nodes' events in the order they came, some exactly at the edges."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        node = chance.choice([*CLOCKS])
        arrival = NOW - chance.randrange(chance.choice(SPANS))
        late = chance.choice([0, 0, 0, 0, chance.randrange(HOUR), chance.randrange(5 * DAY)])
        moment = arrival - late + CLOCKS[node]
        if chance.random() < 0.2:
            moment = floor(moment, chance.choice([10, 60, 3600, 86_400]))
        if chance.random() < 0.3:
            key, allowed = chance.choice(["k1", "k2", "é", OTHER]), chance.random() < 0.7
            made.append(Event(arrival, moment, node, RATE_LIMIT, (key,), allowed=allowed))
            continue
        names = (chance.choice(["GET", "POST"]), chance.choice(["/", "/users/{id}", "/é", OTHER]))
        duration = chance.choice([None, 0, 1, 5_000_000_000, int(chance.lognormvariate(10, 2))])
        status = chance.choice(STATUSES)
        made.append(Event(arrival, moment, node, REQUEST, names, status, duration))
    return sorted(made, key=lambda event: event.arrival)


def blocks(events: Iterable[Event]) -> list[Block]:
    events = list(events)
    made = [block(kind, [e.row() for e in events if e.kind == kind]) for kind in KINDS]
    return [each for each in made if each.size]


KINDS = (REQUEST, RATE_LIMIT)


# the answers, computed here


def chosen(events: list[Event], range_: Range, node: str | None, finest: int) -> list[Event]:
    start, end = floor(range_.start, finest), ceil(range_.end, finest)
    return [e for e in events if start <= e.moment < end and node in (None, e.node)]


def count(events: list[Event], holds: Callable[[int], bool] = lambda status: True) -> int:
    return sum(event.kind == REQUEST and holds(event.status) for event in events)


def fails(status: int) -> bool:
    return not 1 <= status <= 399


def latency(events: list[Event]) -> Latency:
    micros = [event.duration for event in events if event.duration is not None]
    if not micros:
        return Latency(None, None, None, None)
    exact = np.quantile(micros, (0.5, 0.95, 0.99), method="inverted_cdf") / 1000
    shares = [pytest.approx(value, rel=0.01 * (1 + 1e-9), abs=0) for value in exact.tolist()]
    return Latency(*shares, pytest.approx(sum(micros) / len(micros) / 1000, rel=1e-12))


def totals(events: list[Event]) -> Totals:
    return Totals(
        count(events),
        count(events) - count(events, fails),
        count(events, lambda status: status == 429),
        sum(not event.allowed for event in events),
        latency(events),
    )


def statuses(events: list[Event]) -> StatusCounts:
    hundreds = [count(events, lambda s, h=hundred: s // 100 == h) for hundred in (2, 3, 4, 5)]
    return StatusCounts(*hundreds, count(events) - sum(hundreds))


def requests_of(events: list[Event]) -> RequestCounts:
    return RequestCounts(count(events), count(events, fails))


def sketched(events: list[Event]) -> list[int]:
    durations = [event.duration for event in events if event.duration is not None]
    counts: list[int] = sketch_of(np.array(durations, np.int64)).tolist()
    return counts


def nodes(events: list[Event]) -> dict[str, int]:
    return {node: count([e for e in events if e.node == node]) for node in {e.node for e in events}}


def grouped(events: list[Event], kind: str) -> dict[tuple[str, ...], list[Event]]:
    groups = defaultdict(list)
    for event in events:
        if event.kind == kind:
            groups[event.names].append(event)
    return groups


def endpoints(events: list[Event]) -> list[EndpointTotals]:
    """All, the busiest first."""
    groups = grouped(events, REQUEST)
    ranked = sorted(groups, key=lambda name: (-len(groups[name]), name))
    return [
        EndpointTotals(
            *name,
            len(groups[name]),
            count(groups[name], fails),
            latency(groups[name]).average,
            latency(groups[name]).p95,
        )
        for name in ranked
    ]


def keys(events: list[Event]) -> list[KeyTotals]:
    """All, those with most denials first, what stands for others last."""
    found = [
        KeyTotals(name[0], len(group), sum(not event.allowed for event in group))
        for name, group in grouped(events, RATE_LIMIT).items()
    ]
    return sorted(found, key=lambda key: (key.key == OTHER, -key.denied, -key.checked, key.key))


async def assert_same_series(
    range_: Range, events: list[Event], expected: Callable[[list[Event]], Any], series: Series
) -> None:
    """Each bucket of the series has what is expected of its events."""
    by_bucket = defaultdict(list)
    for event in events:
        by_bucket[floor(event.moment, range_.bucket)].append(event)
    found = (await series).figures
    for bucket in found.keys() | by_bucket.keys():
        there = found.get(bucket, expected([]))
        assert there == expected(by_bucket[bucket]), (expected, range_, bucket)


async def as_lists(series: Series) -> Answer[dict[int, list[int]]]:
    answer = await series
    counts = {bucket: sketch.tolist() for bucket, sketch in answer.figures.items()}
    return Answer(counts, answer.complete_until)


async def assert_same(
    history: History, events: list[Event], range_: Range, node: str | None
) -> None:
    """Each answer is that of the events."""
    fine = chosen(events, range_, node, FINE)
    await assert_same_series(range_, fine, requests_of, history.requests(range_, node))
    await assert_same_series(range_, fine, statuses, history.statuses(range_, node))
    await assert_same_series(range_, fine, latency, history.latency(range_, node))
    assert (await history.totals(range_, node)).figures == totals(fine), (range_, node)
    whole = chosen(events, range_, node, MINUTE_SECONDS)
    top = endpoints(whole)
    assert (await history.top_endpoints(range_, node, 1000)).figures == top, (range_, node)
    assert (await history.top_endpoints(range_, node, 3)).figures == top[:3], (range_, node)
    checked, denied, found_keys = (await history.rate_limits(range_, node, 1000)).figures
    assert (checked, denied) == (
        sum(event.kind == RATE_LIMIT for event in fine),
        sum(not event.allowed for event in fine),
    )
    assert found_keys == keys(whole)
    assert (await history.rate_limits(range_, node, 2)).figures[2] == keys(whole)[:2]


# the way there


async def flush(storage: Storage) -> None:
    """Let the writer write what waits, and end."""
    async with running(storage.writer):
        await eventually(lambda: not storage.backlog.events)


def history_over(postgres: Postgres, storage: Storage) -> History:
    return History(postgres, storage.backlog, NODE)


async def fold(postgres: Postgres, moment: int) -> None:
    assert await Time(moment).keeper(postgres).fold()


async def arrive(postgres: Postgres, storage: Storage, events: list[Event]) -> None:
    """Other nodes' events are written, our own wait."""
    for node in CLOCKS:
        own = blocks(event for event in events if event.node == node)
        if node == NODE and own:
            storage.append(own)
        elif own:
            await write(postgres, *own, node=node)


@asynccontextmanager
async def history_of_all(
    dsn: str, directory: Path, events: list[Event], sampling: Sampling
) -> AsyncIterator[History]:
    """The history of events that are folded or not, committed or not."""
    async with (
        database(dsn) as postgres,
        storage_in(directory, postgres, sampling=sampling) as storage,
    ):
        await begin(postgres, NOW - 40 * DAY)
        rest = events
        for moment in FOLDED_AT:
            await arrive(postgres, storage, [e for e in rest if e.arrival < moment])
            rest = [e for e in rest if e.arrival >= moment]
            await flush(storage)
            await fold(postgres, moment)
        half = len(rest) // 2
        await arrive(postgres, storage, rest[:half])
        await flush(storage)
        await arrive(postgres, storage, rest[half:])
        assert 0 < storage.backlog.events < half
        yield history_over(postgres, storage)


@pytest.mark.parametrize("rate", [1.0, 0.2])
@bounded
async def test_answers_equal_those_computed_from_the_events(
    dsn: str, tmp_path: Path, rate: float
) -> None:
    """Folded and not, committed and not, from three nodes whose clocks are minutes apart."""
    events = generated(1500, seed=7460)
    sampling = Sampling(enabled=rate < 1, rate=Share(rate))
    async with history_of_all(dsn, tmp_path, events, sampling) as history:
        for range_ in RANGES:
            for node in (None, *CLOCKS, "nowhere") if rate == 1 else (None, NODE):
                await assert_same(history, events, range_, node)


@bounded
async def test_durations_hold_each_timed_request_once(dsn: str, tmp_path: Path) -> None:
    events = generated(600, seed=8)
    async with history_of_all(dsn, tmp_path, events, Sampling()) as history:
        for range_ in RANGES:
            for node in (None, NODE):
                fine = chosen(events, range_, node, FINE)
                await assert_same_series(
                    range_, fine, sketched, as_lists(history.durations(range_, node))
                )


@bounded
async def test_nodes_have_their_own_requests_though_rollups_of_all_have_them_too(
    dsn: str, tmp_path: Path
) -> None:
    events = generated(600, seed=9)
    async with history_of_all(dsn, tmp_path, events, Sampling()) as history:
        for range_ in RANGES:
            expected = nodes(chosen(events, range_, None, FINE))
            assert (await history.nodes(range_)).figures == expected, range_


@bounded
async def test_series_of_an_endpoint_have_its_requests_alone(dsn: str, tmp_path: Path) -> None:
    events = generated(600, seed=10)
    async with history_of_all(dsn, tmp_path, events, Sampling()) as history:
        for range_, name in zip(ENDPOINT_RANGES, cycle(ENDPOINTS), strict=False):
            for node in (None, NODE):
                whole = chosen(events, range_, node, MINUTE_SECONDS)
                own = [e for e in whole if e.kind == REQUEST and e.names == name]
                asked = (range_, node, name)
                for expected, series in {
                    requests_of: history.requests(*asked),
                    statuses: history.statuses(*asked),
                    latency: history.latency(*asked),
                    sketched: as_lists(history.durations(*asked)),
                }.items():
                    await assert_same_series(range_, own, expected, series)


@bounded
async def test_series_of_all_listed_endpoints_hold_every_request(dsn: str, tmp_path: Path) -> None:
    """Also where more endpoints came than have a name of their own: the rest is (other)."""
    names = 2 * MAX_NAMES
    made = [{"endpoint": f"/{i}", "timestamp": NOON - MINUTE} for i in range(names)]
    range_ = range_between(NOON - 10 * MINUTE, NOON, NOON, kept_of_names(KEPT))
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await begin(postgres, NOON - DAY)
        history = history_over(postgres, storage)
        storage.append([block("request", made)])
        for stored in (False, True):
            if stored:
                await flush(storage)
            top = (await history.top_endpoints(range_, None, 1000)).figures
            sums = {}
            for each in top[:2] + top[-2:]:
                name = (each.method, each.path)
                series = (await history.requests(range_, None, name)).figures
                sums[name] = sum(point.requests for point in series.values())
            assert sums == {(e.method, e.path): e.requests for e in top[:2] + top[-2:]}
            assert sums[OTHER, OTHER] == names - MAX_NAMES
            assert sum(each.requests for each in top) == names


@bounded
async def test_events_committed_before_they_are_read_count_once(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were taken from the backlog, and then the database has them, too."""
    events = generated(300, seed=1)
    answers: list[Totals] = []
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await begin(postgres, NOW - 40 * DAY)
        asked = trio.Event()
        ask_now = postgres.ask

        async def ask_late(work: Callable[[Session], Any], **how: bool) -> Any:
            """With queries that wait until all is committed."""

            async def work_late(session: Session) -> Any:
                class Late(Session):
                    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
                        asked.set()
                        while storage.backlog.events:  # noqa: ASYNC110 # it has no event
                            await asyncio.sleep(0.01)
                        return await session.fetch(sql, *args)

                return await work(Late(None))

            return await ask_now(work_late, **how)

        async def ask_history() -> None:
            answers.append((await history_over(postgres, storage).totals(RANGES[6], None)).figures)

        await arrive(postgres, storage, events)
        monkeypatch.setattr(postgres, "ask", ask_late)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_history)
            await asked.wait()
            await flush(storage)
    assert answers == [totals(chosen(events, RANGES[6], None, FINE))]


@pytest.mark.parametrize("method", ["totals", "top_endpoints", "rate_limits"])
@bounded
async def test_events_committed_while_they_are_read_count_once(
    dsn: str, tmp_path: Path, method: str
) -> None:
    """The read has told the position, and looks for the rows only after the commit and a fold."""
    events = generated(300, seed=2)
    range_, more = RANGES[6], () if method == "totals" else (1000,)
    answers: list[Any] = []
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await begin(postgres, NOW - 40 * DAY)
        history = history_over(postgres, storage)

        async def ask_history() -> None:
            answers.append(await getattr(history, method)(range_, None, *more))

        await arrive(postgres, storage, events)
        async with session(dsn) as execute, trio.open_nursery() as nursery:
            await execute("BEGIN; LOCK TABLE request_rollups_1m, endpoint_rollups_1m")
            await execute("LOCK TABLE rate_limit_rollups_1m")
            nursery.start_soon(ask_history)
            while await ask(dsn, waits) != [(1,)]:
                pass
            await flush(storage)
            await execute("COMMIT")
        again = await getattr(history, method)(range_, None, *more)
    assert answers == [again]
    if method == "totals":
        assert again.figures == totals(chosen(events, range_, None, FINE))


@bounded
async def test_an_empty_range_has_no_figures(dsn: str, tmp_path: Path) -> None:
    range_ = Range(NOON, NOON + MINUTE, 10)
    async with database(dsn) as postgres:
        await write(postgres, requests(timestamp=NOON - 1))
        with history_of(postgres, tmp_path) as history:
            assert (await history.totals(range_, None)).figures == totals([])
            for series in (
                *(history.requests, history.latency, history.statuses, history.durations),
            ):
                assert (await series(range_, None)).figures == {}
            assert (await history.nodes(range_)).figures == {}
            assert (await history.top_endpoints(range_, None, 10)).figures == []
            assert (await history.rate_limits(range_, None, 10)).figures == (0, 0, [])
            assert (await history.present(NOON - DAY, None)).figures == Present(0, 0, 0)


@bounded
async def test_names_that_tie_rank_alphabetically_whether_stored_or_waiting(
    dsn: str, tmp_path: Path
) -> None:
    names = ["a", "B", "é", "~", "Z", "_", "aa", "A"]
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        history = history_over(postgres, storage)
        await write(postgres, block("rate_limit", [{"key": name} for name in names[::2]]))
        storage.append([block("rate_limit", [{"key": name} for name in names[1::2]])])
        for limit in range(1, 9):
            _, _, found = (
                await history.rate_limits(Range(NOON, NOON + MINUTE, 10), None, limit)
            ).figures
            assert [key.key for key in found] == sorted(names)[:limit]


@bounded
async def test_sums_over_many_days_may_exceed_a_stored_bin(dsn: str, tmp_path: Path) -> None:
    """Ten million requests a second, all of one duration, are 864 thousand million a day."""
    range_ = Range((NOON // DAY - 2) * DAY, NOON // DAY * DAY, 20 * 86_400)
    async with database(dsn) as postgres:
        await postgres.prepare()
        for table in ("request_rollups_1d", "endpoint_rollups_1d"):
            names = "" if table.startswith("request") else "method, endpoint, "
            checked = "checked, denied, " if table.startswith("request") else ""
            await ask(
                dsn,
                f"INSERT INTO {table} (bucket, node, summed, {names} requests, status_2xx,"
                f" status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited,"
                f" {checked} timed, duration_sum_us, sketch, sketch_format)"
                f" SELECT to_timestamp(d * 86400), 'n', false, {names and repr('GET') + ', '}"
                f" {names and repr('/') + ', '} 864e9, 864e9, 0, 0, 0, 0, 0, 0,"
                f" {checked and '0, 0, '} 864e9, 864e12, 864e9 * 10::numeric ^ (12 * 347), 1"
                f" FROM generate_series({NOON // DAY - 2}, {NOON // DAY - 1}) d",
            )
        await ask(dsn, "UPDATE rollup_progress SET days_closed = hours_closed")
        with history_of(postgres, tmp_path) as history:
            whole = (await history.totals(range_, None)).figures.latency
            (latency_,) = (await history.latency(range_, None)).figures.values()
            (endpoint,) = (await history.top_endpoints(range_, None, 1)).figures
    assert whole == latency_ == latency([Event(0, 0, "", REQUEST, (), 200, 1000)])
    assert (endpoint.requests, endpoint.p95_ms) == (2 * 864 * 10**9, whole.p95)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            "DELETE FROM rollup_progress",
            "rollup_progress has lost its row; the next fold puts it back",
        ),
        ("DROP TABLE rollup_progress CASCADE", '"rollup_progress" does not exist'),
        ("DROP TABLE request_pieces CASCADE", '"request_pieces" does not exist'),
        ("DROP TABLE request_rollups_10s CASCADE", '"request_rollups_10s" does not exist'),
        ("ALTER TABLE request_pieces DROP COLUMN sketch CASCADE", '"sketch" does not exist'),
        ("UPDATE request_pieces SET sketch = -1", "a sketch of .* can't be read"),
    ],
)
@bounded
async def test_schema_changed_by_hand_is_reported_in_one_line(
    dsn: str, tmp_path: Path, spoil: str, why: str
) -> None:
    async with database(dsn) as postgres:
        await write(postgres, requests(duration_us=5))
        await ask(dsn, spoil)
        with history_of(postgres, tmp_path) as history:
            with pytest.raises(DatabaseUnavailable, match=why) as caught:
                await history.totals(Range(NOON, NOON + 70 * SECOND_US, 10), None)
            assert "\n" not in str(caught.value)
        assert await postgres.fetch("SELECT 1") == [(1,)]


@bounded
async def test_reports_of_the_last_five_minutes_count_as_present(dsn: str, tmp_path: Path) -> None:
    async with database(dsn) as postgres:
        backends = [
            {"backend_name": "up", "status": "unhealthy", "timestamp": NOON - 9},
            {"backend_name": "up", "status": "healthy", "timestamp": NOON - 1},
            {"backend_name": "down", "status": "unhealthy", "timestamp": NOON - 300 * SECOND_US},
            {"backend_name": "gone", "status": "healthy", "timestamp": NOON - 300 * SECOND_US - 1},
        ]
        systems = [
            {"source": "s", "active_connections": 100, "timestamp": NOON - 9},
            {"source": "s", "active_connections": 7, "timestamp": NOON - 1},
            {"source": None, "active_connections": 5, "timestamp": NOON - 300 * SECOND_US},
            {"source": "old", "active_connections": 50, "timestamp": NOON - 300 * SECOND_US - 1},
        ]
        await write(postgres, block("backend", backends), block("system", systems))
        with history_of(postgres, tmp_path) as history:
            assert (await history.present(NOON, None)).figures == Present(12, 2, 1)
            assert (await history.present(NOON, NODE)).figures == Present(12, 2, 1)
            assert (await history.present(NOON, "elsewhere")).figures == Present(0, 0, 0)


@bounded
async def test_waiting_reports_count_as_present(dsn: str, tmp_path: Path) -> None:
    """The latest report counts, be it committed or not, of this node or another."""
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        stored = [("s", 10, -30), ("t", 20, -30), (None, 3, -30)]
        waiting = [("s", 11, -20), ("t", 21, -40), ("new", 500, -1), ("old", 7, -301)]
        for reports, own in ((stored, False), (waiting, True)):
            systems = [
                {"source": s, "active_connections": n, "timestamp": NOON + at * SECOND_US}
                for s, n, at in reports
            ]
            states = [
                {"backend_name": s, "status": "healthy" if own else "unhealthy", **event}
                for (s, _, _), event in zip(reports, systems, strict=True)
                if s is not None
            ]
            made = [block("system", systems), block("backend", states)]
            if own:
                storage.append(made)
            else:
                await write(postgres, *made)
                await write(postgres, block("system", systems[:1]), node="other")
        history = history_over(postgres, storage)
        assert (await history.present(NOON, NODE)).figures == Present(11 + 20 + 3 + 500, 3, 2)
        assert (await history.present(NOON, None)).figures == Present(11 + 20 + 3 + 500 + 10, 3, 2)
        assert (await history.present(NOON, "other")).figures == Present(10, 0, 0)


@bounded
async def test_sums_of_connections_may_exceed_64_bits(dsn: str, tmp_path: Path) -> None:
    systems = [{"source": s, "active_connections": 2**63 - 1, "timestamp": NOON - 1} for s in "ab"]
    async with database(dsn) as postgres:
        await write(postgres, block("system", systems))
        with history_of(postgres, tmp_path) as history:
            assert (await history.present(NOON, None)).figures.connections == 2**64 - 2

"""Every answer about the past against one computed here from the same rows."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from store.cluster import bounded
from store.database import DAY, NODE, NOON, ask, block, database, requests, write

from aegisd.store.history import EndpointTotals, History, KeyTotals, Latency, Present, StatusCounts
from aegisd.store.postgres import Postgres
from aegisd.store.ranges import SECOND, Range, between, named

NODES = ("a", "b", 'it\'s "c"')
STATUSES = (0, 101, 200, 200, 200, 204, 304, 399, 400, 404, 429, 500, 599, 600, 999)
WEIGHTS = (1, 1, 1, 0.25, 2, 10.5)  # all exact in binary, and so are their sums
MINUTE = 60 * SECOND

Row = dict[str, Any]


def generated() -> list[Row]:
    """Three days of requests, some exactly at the edges of buckets."""
    chance = random.Random(7460)
    made = []
    for _ in range(1500):
        edge = chance.random() < 0.2
        moment = NOON + chance.randrange(-2 * DAY, DAY)
        made.append(
            {
                "timestamp": moment // (10 * MINUTE) * 10 * MINUTE if edge else moment,
                "method": chance.choice(["GET", "POST"]),
                "endpoint": chance.choice(["/", "/users/{id}", "/é", "(other)"]),
                "status_code": chance.choice(STATUSES),
                "duration_ms": None
                if chance.random() < 0.2
                else chance.choice([0, 0.001, 5, chance.uniform(0, 50), chance.uniform(0, 9000)]),
                "node": chance.choice(NODES),
                "weight": chance.choice(WEIGHTS),
            }
        )
    return made


ROWS = generated()
RANGES = [
    Range(NOON - 2 * DAY, NOON + DAY, 86_400),
    Range(NOON - 6 * 60 * MINUTE, NOON, 300),
    Range(NOON - DAY + 1, NOON - DAY + 7 * MINUTE, 60),
    between(NOON - 20 * 60 * MINUTE - 12_345, NOON + 777),
    named("24h", NOON),
]


@pytest.fixture
async def history(dsn: str) -> AsyncIterator[History]:
    async with database(dsn) as postgres:
        await store(postgres, dsn, ROWS)
        yield History(postgres)


async def store(postgres: Postgres, dsn: str, made: list[Row]) -> None:
    """Partitions as the writer makes them, then plain rows with weights of their own."""
    days = {row["timestamp"] // DAY for row in made}
    await write(postgres, block("request", [{"timestamp": day * DAY} for day in days]))
    await ask(dsn, "DELETE FROM request_metrics")
    columns = list(zip(*(row.values() for row in made), strict=True))
    await ask(
        dsn,
        "INSERT INTO request_metrics (timestamp, method, path, endpoint, status_code,"
        " duration_ms, node, weight)"
        " SELECT 'epoch'::timestamptz + t * interval '1 microsecond', m, e, e, s, d, n, w"
        " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[], $5::float8[],"
        " $6::text[], $7::float8[]) AS r (t, m, e, s, d, n, w)",
        *map(list, columns),
    )


def chosen(range_: Range, node: str | None) -> list[Row]:
    return [
        row
        for row in ROWS
        if range_.start <= row["timestamp"] < range_.end and node in (None, row["node"])
    ]


def weight(made: list[Row], holds: Callable[[int], bool] = lambda status: True) -> int:
    return round(sum(row["weight"] for row in made if holds(row["status_code"])))


def succeeds(status: int) -> bool:
    return 1 <= status <= 399


def quantile(made: list[Row], share: float) -> float | None:
    """A row of weight w as 4w equal values, then numpy's own quantile."""
    timed = [row for row in made if row["duration_ms"] is not None]
    if not timed:
        return None
    values = np.repeat(
        [row["duration_ms"] for row in timed], [int(row["weight"] * 4) for row in timed]
    )
    return float(np.quantile(values, share, method="inverted_cdf"))


def average(made: list[Row]) -> float | None:
    timed = [row for row in made if row["duration_ms"] is not None]
    if not timed:
        return None
    whole = sum(row["weight"] for row in timed)
    return pytest.approx(sum(row["duration_ms"] * row["weight"] for row in timed) / whole)


def latency(made: list[Row]) -> Latency:
    return Latency(quantile(made, 0.5), quantile(made, 0.95), quantile(made, 0.99), average(made))


def by_bucket(range_: Range, node: str | None) -> dict[int, list[Row]]:
    buckets = defaultdict(list)
    for row in chosen(range_, node):
        buckets[row["timestamp"] // (range_.bucket * SECOND) * range_.bucket * SECOND].append(row)
    return buckets


@bounded
async def test_answers_are_those_of_the_rows(history: History) -> None:
    for range_ in RANGES:
        for node in (None, *NODES, "nowhere"):
            await same_totals(history, range_, node)
            await same_series(history, range_, node)
            await same_endpoints(history, range_, node)


async def same_totals(history: History, range_: Range, node: str | None) -> None:
    made = chosen(range_, node)
    totals = await history.totals(range_, node)
    assert totals.requests == weight(made)
    assert totals.succeeded == weight(made, succeeds)
    assert totals.rate_limited == weight(made, lambda status: status == 429)
    assert totals.latency == latency(made)


async def same_series(history: History, range_: Range, node: str | None) -> None:
    buckets = by_bucket(range_, node)
    assert set(buckets) <= set(range_.bucket_starts())
    assert await history.requests(range_, node) == {b: weight(m) for b, m in buckets.items()}
    assert await history.latency(range_, node) == {b: latency(m) for b, m in buckets.items()}
    assert await history.statuses(range_, node) == {
        bucket: StatusCounts(
            *(weight(made, lambda s, h=hundred: s // 100 == h) for hundred in (2, 3, 4, 5)),
            weight(made, lambda s: s // 100 not in (2, 3, 4, 5)),
        )
        for bucket, made in buckets.items()
    }


async def same_endpoints(history: History, range_: Range, node: str | None) -> None:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in chosen(range_, node):
        groups[row["method"], row["endpoint"]].append(row)
    order = sorted(groups, key=lambda g: (-sum(r["weight"] for r in groups[g]), g))
    expected = [
        EndpointTotals(
            *group,
            weight(groups[group]),
            weight(groups[group], lambda status: not succeeds(status)),
            average(groups[group]),
            quantile(groups[group], 0.95),
        )
        for group in order
    ]
    assert await history.top_endpoints(range_, node, 1000) == expected
    assert await history.top_endpoints(range_, node, 3) == expected[:3]


@bounded
async def test_a_range_holds_its_start_and_not_its_end(dsn: str) -> None:
    async with database(dsn) as postgres:
        moments = [NOON - 1, NOON, NOON + 1, NOON + 10 * SECOND - 1, NOON + 10 * SECOND]
        await write(postgres, block("request", [{"timestamp": m} for m in moments]))
        history = History(postgres)
        assert await history.requests(Range(NOON, NOON + 10 * SECOND, 10), None) == {NOON: 3}
        assert await history.requests(Range(NOON, NOON + 10 * SECOND + 1, 10), None) == {
            NOON: 3,
            NOON + 10 * SECOND: 1,
        }


@bounded
async def test_an_empty_range_has_no_figures(dsn: str) -> None:
    range_ = Range(NOON, NOON + MINUTE, 10)
    async with database(dsn) as postgres:
        await write(postgres, requests(timestamp=NOON - 1))
        history = History(postgres)
        totals = await history.totals(range_, None)
        assert (totals.requests, totals.succeeded, totals.rate_limited) == (0, 0, 0)
        assert totals.latency == Latency(None, None, None, None)
        for series in (history.requests, history.latency, history.statuses):
            assert await series(range_, None) == {}
        assert await history.top_endpoints(range_, None, 10) == []
        assert await history.rate_limits(range_, None) == (0, 0)
        assert await history.top_keys(range_, None, 10) == []
        assert await history.present(NOON - DAY, None) == Present(0, 0, 0)


@bounded
async def test_rate_limits_are_counted_by_key(dsn: str) -> None:
    decisions = [("k1", 5, 2), ("k2", 9, 2), ("k0", 4, 4), ("quiet", 3, 0)]  # made, denied
    events = [
        {"key": key, "allowed": i >= denied, "timestamp": NOON + i}
        for key, made, denied in decisions
        for i in range(made)
    ]
    range_ = Range(NOON, NOON + MINUTE, 10)
    async with database(dsn) as postgres:
        await write(
            postgres, block("rate_limit", [*events, {"key": "late", "timestamp": NOON + MINUTE}])
        )
        history = History(postgres)
        assert await history.rate_limits(range_, None) == (21, 8)
        assert await history.rate_limits(range_, NODE) == (21, 8)
        assert await history.rate_limits(range_, "elsewhere") == (0, 0)
        keys = [KeyTotals("k0", 4, 4), KeyTotals("k2", 9, 2), KeyTotals("k1", 5, 2)]
        assert await history.top_keys(range_, None, 3) == keys
        assert await history.top_keys(range_, "elsewhere", 3) == []


@bounded
async def test_who_was_heard_of_in_the_last_five_minutes_is_present(dsn: str) -> None:
    async with database(dsn) as postgres:
        backends = [
            {"backend_name": "up", "status": "unhealthy", "timestamp": NOON - 9},
            {"backend_name": "up", "status": "healthy", "timestamp": NOON - 1},
            {"backend_name": "down", "status": "unhealthy", "timestamp": NOON - 300 * SECOND},
            {"backend_name": "gone", "status": "healthy", "timestamp": NOON - 300 * SECOND - 1},
        ]
        systems = [
            {"source": "s", "active_connections": 100, "timestamp": NOON - 9},
            {"source": "s", "active_connections": 7, "timestamp": NOON - 1},
            {"source": None, "active_connections": 5, "timestamp": NOON - 300 * SECOND},
            {"source": "old", "active_connections": 50, "timestamp": NOON - 300 * SECOND - 1},
        ]
        await write(postgres, block("backend", backends), block("system", systems))
        history = History(postgres)
        assert await history.present(NOON, None) == Present(12, 2, 1)
        assert await history.present(NOON, NODE) == Present(12, 2, 1)
        assert await history.present(NOON, "elsewhere") == Present(0, 0, 0)


@bounded
async def test_sums_of_connections_may_pass_64_bits(dsn: str) -> None:
    systems = [{"source": s, "active_connections": 2**63 - 1, "timestamp": NOON - 1} for s in "ab"]
    async with database(dsn) as postgres:
        await write(postgres, block("system", systems))
        assert (await History(postgres).present(NOON, None)).connections == 2**64 - 2

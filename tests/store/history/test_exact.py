"""Exact answers about the past against those computed here from the same rows."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from store.cluster import bounded
from store.databases import DAY, NODE, NOON, ask, block, database, requests, write

from aegisd.events.units import DAY_SECONDS, SECOND_US
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database.postgres import Postgres
from aegisd.store.history.exact import ExactHistory
from aegisd.store.history.ranges import Range, named_range, range_between
from aegisd.store.history.results import Latency, Totals
from aegisd.store.schema.levels import FINE

NODES = ("a", "b", 'it\'s "c"')
STATUSES = (0, 101, 200, 200, 200, 204, 304, 399, 400, 404, 429, 500, 599, 600, 999)
WEIGHTS = (1, 1, 1, 0.25, 2, 10.5)  # all exact in binary, and so are their sums
MINUTE = 60 * SECOND_US

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


KEPT = {FINE: 0, DAY_SECONDS: 0}
ROWS = generated()
RANGES = [
    Range(NOON - 2 * DAY, NOON + DAY, 86_400),
    Range(NOON - 6 * 60 * MINUTE, NOON, 300),
    Range(NOON - DAY + 1, NOON - DAY + 7 * MINUTE, 60),
    range_between(NOON - 20 * 60 * MINUTE - 12_345, NOON + 777, NOON + DAY, KEPT),
    named_range("24h", NOON, KEPT),
]


@pytest.fixture
async def exact(dsn: str, empty_backlog: Backlog) -> AsyncIterator[ExactHistory]:
    async with database(dsn) as postgres:
        await store(postgres, dsn, ROWS)
        yield ExactHistory(postgres, empty_backlog, NODE)


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
        buckets[row["timestamp"] // (range_.bucket * SECOND_US) * range_.bucket * SECOND_US].append(
            row
        )
    return buckets


@bounded
async def test_exact_answers_equal_those_computed_from_the_rows(exact: ExactHistory) -> None:
    for range_ in RANGES:
        for node in (None, *NODES, "nowhere"):
            await same_totals(exact, range_, node)
            await same_series(exact, range_, node)


async def same_totals(exact: ExactHistory, range_: Range, node: str | None) -> None:
    made = chosen(range_, node)
    totals = (await exact.totals(range_, node)).figures
    assert totals.requests == weight(made)
    assert totals.succeeded == weight(made, succeeds)
    assert totals.rate_limited == weight(made, lambda status: status == 429)
    assert totals.latency == latency(made)


async def same_series(exact: ExactHistory, range_: Range, node: str | None) -> None:
    buckets = by_bucket(range_, node)
    assert set(buckets) <= set(range_.bucket_starts())
    assert (await exact.latency(range_, node)).figures == {
        b: latency(m) for b, m in buckets.items()
    }


@bounded
async def test_a_range_holds_its_start_and_not_its_end(dsn: str, empty_backlog: Backlog) -> None:
    async with database(dsn) as postgres:
        moments = [NOON - 1, NOON, NOON + 1, NOON + 10 * SECOND_US - 1, NOON + 10 * SECOND_US]
        await write(postgres, block("request", [{"timestamp": m} for m in moments]))
        exact = ExactHistory(postgres, empty_backlog, NODE)
        for end, inside in ((0, 3), (1, 4)):
            range_ = Range(NOON, NOON + 10 * SECOND_US + end, 10)
            assert (await exact.totals(range_, None)).figures.requests == inside


@bounded
async def test_an_empty_range_has_no_figures(dsn: str, empty_backlog: Backlog) -> None:
    range_ = Range(NOON, NOON + MINUTE, 10)
    nothing = Latency(None, None, None, None)
    async with database(dsn) as postgres:
        await write(postgres, requests(timestamp=NOON - 1))
        exact = ExactHistory(postgres, empty_backlog, NODE)
        assert (await exact.totals(range_, None)).figures == Totals(0, 0, 0, 0, nothing)
        assert (await exact.latency(range_, None)).figures == {}


@bounded
async def test_denials_are_counted(dsn: str, empty_backlog: Backlog) -> None:
    decisions = [{"allowed": i % 3 > 0, "timestamp": NOON + i * SECOND_US} for i in range(30)]
    async with database(dsn) as postgres:
        await write(postgres, block("rate_limit", decisions))
        exact = ExactHistory(postgres, empty_backlog, NODE)
        assert (await exact.totals(Range(NOON, NOON + 9 * SECOND_US, 10), None)).figures.denied == 3
        assert (await exact.totals(Range(NOON, NOON + MINUTE, 10), "elsewhere")).figures.denied == 0

"""The views for plain SQL, each of their rows against one computed from the events."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
import pytest
from sketches import sketch_of
from store.cluster import bounded
from store.databases import DAY, NOON, ask, block, database, database_name, write
from store.weeks import EVENTS, NOW, Event, fill

from aegisd.events.counters import REQUEST_COUNTERS, STATUS_RANGES, counted, counted_sql
from aegisd.events.protocol import MAX_STATUS
from aegisd.events.units import SECOND_US
from aegisd.stats import sketch
from aegisd.store.schema import Partition
from aegisd.store.schema.levels import floor

LEVELS = {"minute": 60, "hour": 3600, "day": 86_400}
KINDS = {
    "requests": ([], lambda event: True),
    "endpoints": (["method", "endpoint"], lambda event: event.kind == "request"),
    "rate_limits": (["key"], lambda event: event.kind == "rate_limit"),
}
BY_NODE = {"": [], "_by_node": ["node"]}
VIEWS = [f"{k}_per_{level}{by}" for k, level, by in product(KINDS, LEVELS, BY_NODE)]

SHARES = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}  # percent
COUNTERS: dict[str, Callable[[Event], bool]] = {
    "requests": lambda event: event.kind == "request",
    "status_2xx": lambda event: event.status // 100 == 2,
    "status_3xx": lambda event: event.status // 100 == 3,
    "status_4xx": lambda event: event.status // 100 == 4,
    "status_5xx": lambda event: event.status // 100 == 5,
    "status_other": lambda event: (
        event.kind == "request" and event.status // 100 not in range(2, 6)
    ),
    "failed": lambda event: event.kind == "request" and not 1 <= event.status <= 399,
    "rate_limited": lambda event: event.status == 429,
    "checked": lambda event: event.kind == "rate_limit",
    "denied": lambda event: not event.allowed,
    "timed": lambda event: event.duration is not None,
}


def stored(counts: sketch.Counts) -> str:
    """A sketch as Postgres shows it: a number, with twelve digits for each bin."""
    used = np.trim_zeros(counts, "b").tolist()
    return "".join(f"{n:012}" for n in reversed(used)).lstrip("0") or "0"


def figures(events: Iterable[Event]) -> dict[str, Any]:
    """What a view shows of events."""
    events = list(events)
    found: dict[str, Any] = {
        name: sum(map(counts, events)) for name, counts in COUNTERS.items()
    } | dict.fromkeys(("avg_ms", "min_ms", "max_ms", *SHARES))
    micros = sorted(event.duration for event in events if event.duration is not None)
    found["sketch"] = stored(sketch_of(np.array(micros, np.int64)))
    if micros:
        found |= {"min_ms": micros[0] / 1000, "max_ms": micros[-1] / 1000}
        found["avg_ms"] = pytest.approx(sum(micros) / len(micros) / 1000)
        for name, percent in SHARES.items():
            exact = micros[-(-len(micros) * percent // 100) - 1] / 1000
            found[name] = pytest.approx(exact, rel=sketch.RELATIVE_ACCURACY + 1e-9)
    return found


def expected(view: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The figures by bucket (seconds since 1970) and names."""
    kind, _, rest = view.partition("_per_")
    level, _, by = rest.partition("_")
    names, holds = KINDS[kind]
    groups = defaultdict(list)
    for event in filter(holds, EVENTS):
        bucket = floor(event.moment, LEVELS[level]) / SECOND_US
        node = [event.node] if by else []
        groups[(bucket, *node, *(getattr(event, name) for name in names))].append(event)
    return {key: figures(events) for key, events in groups.items()}


async def columns(dsn: str, view: str) -> list[str]:
    found = await ask(
        dsn,
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0"
        " ORDER BY attnum",
        view,
    )
    return [name for (name,) in found]


@bounded
async def test_each_row_of_a_view_equals_the_sums_of_its_events(dsn: str) -> None:
    await ask(dsn, f"ALTER DATABASE {database_name(dsn)} SET timezone = 'America/St_Johns'")
    async with database(dsn) as postgres:
        await fill(postgres, dsn)
    assert await ask(dsn, "SELECT count(*) > 0 FROM request_rollups_1h WHERE summed") == [(True,)]
    assert await ask(dsn, "SELECT count(*) > 0 FROM request_pieces") == [(True,)]
    for view in VIEWS:
        names = await columns(dsn, view)
        keys = 1 + len(KINDS[view.partition("_per_")[0]][0]) + view.endswith("_by_node")
        chosen = ", ".join(f"{name}::text" if name == "sketch" else name for name in names)
        rows = await ask(dsn, f"SELECT {chosen} FROM {view}")
        found = {
            (row[0].timestamp(), *row[1:keys]): dict(zip(names[keys:], row[keys:], strict=True))
            for row in rows
        }
        wanted = expected(view)
        assert len(rows) == len(found) == len(wanted) > 0, view
        for key, row in found.items():
            assert row == {name: wanted[key][name] for name in row}, (view, key)


def scans(plan: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """All scans of tables in a plan that were run."""
    if "Relation Name" in plan and plan["Actual Loops"]:
        yield plan
    for part in plan.get("Plans", []):
        yield from scans(part)


@bounded
async def test_query_of_a_day_reads_only_its_partitions_by_an_index(dsn: str) -> None:
    async with database(dsn) as postgres:
        await fill(postgres, dsn)
    # the planner is to take an index wherever there is one, though the tables are small
    await ask(dsn, f"ALTER DATABASE {database_name(dsn)} SET enable_seqscan = off")
    ((days,),) = await ask(
        dsn, "SELECT extract(epoch FROM now() - to_timestamp($1))::float8 / 86400", NOW / SECOND_US
    )
    for view in VIEWS:
        ((answer,),) = await ask(
            dsn,
            f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM {view}"
            " WHERE bucket >= now() - interval '1 day' * $1"
            + (" AND node = 'a'" if view.endswith("_by_node") else ""),
            days + 1,
        )
        read = list(scans(json.loads(answer)[0]["Plan"]))
        tables = {scan["Relation Name"]: Partition.parse(scan["Relation Name"]) for scan in read}
        parts = [partition for partition in tables.values() if partition is not None]
        assert parts or "day" in view
        assert all(partition.end > NOW // DAY - 1 for partition in parts), view
        assert {name for name, partition in tables.items() if partition is None} <= {*SMALL, *DAYS}
        unindexed = {scan["Relation Name"] for scan in read if scan["Node Type"] == "Seq Scan"}
        assert unindexed <= set(SMALL), view


SMALL = ("request_pieces", "endpoint_pieces", "rate_limit_pieces", "rollup_progress")
DAYS = ("request_rollups_1d", "endpoint_rollups_1d", "rate_limit_rollups_1d")


@bounded
async def test_every_status_counts_alike_in_views_in_rows_and_in_python(dsn: str) -> None:
    """Status s in the minute s, so that each has a row of the view by itself."""
    minute = 60 * SECOND_US
    first = floor(NOON, 86_400)
    statuses = np.arange(MAX_STATUS + 1)
    events = [
        {"timestamp": first + minute * status, "status_code": status}
        for status in statuses.tolist()
    ]
    async with database(dsn) as postgres:
        await write(postgres, block("request", events))
    counters = ", ".join(f"{name}::int" for name in REQUEST_COUNTERS)
    rows = await ask(dsn, f"SELECT {counters} FROM requests_per_minute ORDER BY bucket")
    found = dict(zip(REQUEST_COUNTERS, np.array(rows).T, strict=True))
    assert (found.pop("requests") == 1).all()
    for name, column in found.items():
        assert (column == counted(name, statuses)).all(), name
    for name in STATUS_RANGES:
        condition = counted_sql(name, "status_code")
        holding = await ask(dsn, f"SELECT status_code FROM request_metrics WHERE {condition}")
        assert {status for (status,) in holding} == {*statuses[counted(name, statuses)]}, name


@bounded
async def test_every_view_and_column_has_a_comment(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    found = await ask(
        dsn,
        "SELECT c.relname, obj_description(c.oid, 'pg_class'),"
        " array_agg(a.attname::text) FILTER (WHERE col_description(c.oid, a.attnum) IS NULL)"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relkind = 'v' AND c.relnamespace = 'aegisd'::regnamespace GROUP BY c.oid, 1",
    )
    assert sorted(view for view, _, _ in found) == sorted(VIEWS)
    assert all(about and without is None for _, about, without in found)


@bounded
async def test_sketch_functions_of_sql_give_the_quantiles_of_python(dsn: str) -> None:
    chance = np.random.default_rng(7460)
    async with database(dsn) as postgres:
        await postgres.prepare()
    for values in (
        np.zeros(0, np.int64),
        np.zeros(7, np.int64),
        np.array([0, 1, sketch.MAX_VALUE]),
        chance.integers(1, 1000, 20),
        chance.lognormal(10, 3, 5000).astype(np.int64),
    ):
        counts = sketch_of(values)
        shares = [0.0, 0.5, 0.95, 0.99, 1.0]
        text = f"'{stored(counts)}'::numeric"
        ((quantiles, one),) = await ask(
            dsn, f"SELECT sketch_quantiles({text}, $1), sketch_quantile({text}, 0.95)", shares
        )
        wanted = [
            None if value is None else pytest.approx(value / 1000, rel=1e-12)
            for value in sketch.quantiles(counts, tuple(shares))
        ]
        assert quantiles == wanted
        assert one == wanted[2]
        bins = await ask(dsn, f"SELECT bin, count, up_to_ms FROM sketch_bins({text}) ORDER BY bin")
        used = np.flatnonzero(counts)
        assert [(i, n) for i, n, _ in bins] == [(i, counts[i]) for i in used.tolist()]
        assert [up_to for _, _, up_to in bins] == [
            pytest.approx(sketch.GAMMA ** (i - 1) / 1000 if i else 0) for i in used.tolist()
        ]

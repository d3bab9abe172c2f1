"""Each query of the dashboard of conf/grafana, on a real Postgres."""

import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from grafana import (
    PANELS,
    VARIABLES,
    Range,
    panel_sql,
    seconds,
    statements,
    with_macros,
    with_variables,
)
from sql_page import Reader, reader
from store.cluster import bounded
from store.databases import ask, block, database, write
from store.rollups.test_views import figures
from store.weeks import EVENTS, MINUTE, NODES, NOW, Event, fill

from aegisd.events.units import SECOND_US

END = datetime.fromtimestamp(NOW / SECOND_US, UTC)
RANGES = {
    "minute minute": Range.before(END, {100: "1m", 300: "1m"}, minutes=15),
    "minute hour": Range.before(END, {100: "15m", 300: "5m"}, hours=24),
    "hour day": Range.before(END, {100: "6h", 300: "2h"}, days=30),
}
"""Each under the levels that its series and its tables are to take."""

STEPS = {"minute": "1m", "hour": "1h"}
LENGTHS = {"minute": 60, "hour": 3600, "day": 86_400}
CHOICES = (None, NODES[0], NODES[2])
Row = dict[str, Any]

BACKENDS = [
    {"backend_name": "up", "status": "unhealthy", "timestamp": NOW - 9 * SECOND_US},
    {
        "backend_name": "up",
        "status": "healthy",
        "timestamp": NOW - SECOND_US,
        "response_time_us": 1500,
        "circuit_breaker": "closed",
    },
    {"backend_name": "down", "status": "unhealthy", "timestamp": NOW - 59 * MINUTE},
    {"backend_name": "gone", "status": "healthy", "timestamp": NOW - 61 * MINUTE},
]
ALERTS = """INSERT INTO alerts (id, rule_id, rule_name, severity, status, message, current_value,
        threshold, triggered_at, resolved_at, node)
    SELECT gen_random_uuid(), 'r', 'R', 'critical', status, message, 7, 5,
        to_timestamp($1) - triggered * interval '1 hour',
        to_timestamp($1) - resolved * interval '1 hour', node
    FROM (VALUES ('resolved', 'just now', 0.1, 0.05, 'a'), ('active', 'for days', 100, NULL, 'a'),
        ('resolved', 'long ago', 300, 200, 'b'), ('active', 'ahead', -1, NULL, 'a')
    ) v (status, message, triggered, resolved, node)"""


@pytest.fixture
async def grafana(dsn: str) -> AsyncIterator[Reader]:
    """A database with all of it, asked as the role that the manual makes."""
    async with database(dsn) as postgres:
        await fill(postgres, dsn)
        await write(postgres, block("backend", BACKENDS), node=NODES[0])
    await ask(dsn, ALERTS, NOW / SECOND_US)
    async with reader(dsn) as role:
        yield role


async def hidden(grafana: Reader, over: Range) -> dict[str, str]:
    """The values that the hidden variables' queries give them."""
    found = {}
    for name in set(VARIABLES) - {"node"}:
        ((found[name],),) = await grafana.ask(with_macros(VARIABLES[name]["query"], over))
    return found


def grouped(
    over: Range, length: int, node: str | None, key: Callable[[Event], Any]
) -> dict[Any, list[Event]]:
    """The events of the buckets that start within the range, by ``key``."""
    groups = defaultdict(list)
    for event in EVENTS:
        bucket = event.moment // SECOND_US // length * length
        inside = over.start.timestamp() <= bucket <= over.end.timestamp()
        if inside and node in (None, event.node):
            groups[key(event)].append(event)
    return groups


def per_second(name: str) -> Callable[[Row, int], float]:
    return lambda row, length: pytest.approx(row[name] / length)


def percent(name: str) -> Callable[[Row, int], float]:
    return lambda row, _: pytest.approx(100 * row[name] / max(row["requests"], 1))


SERIES: dict[str, dict[str, Callable[[Row, int], Any]]] = {
    "Requests": {"requests": per_second("requests")},
    "Errors": {"errors": percent("failed"), "status 5xx": percent("status_5xx")},
    "Status classes": {
        name: per_second(f"status_{name}") for name in ("2xx", "3xx", "4xx", "5xx", "other")
    },
    "Rate limits": {
        "checked": per_second("checked"),
        "denied": per_second("denied"),
        "status 429": per_second("rate_limited"),
    },
}


@bounded
async def test_each_panel_shows_the_sums_of_the_events(grafana: Reader) -> None:
    for (levels, over), node in product(RANGES.items(), CHOICES):
        level, names_level = levels.split()
        values = await hidden(grafana, over)
        assert values == {"level": level, "step": STEPS[level], "names_level": names_level}

        async def shown(title: str, *, over: Range = over, node: str | None = node) -> list[Row]:
            sql = with_variables(panel_sql(PANELS[title]), values, node)  # noqa: B023
            points = PANELS[title].get("maxDataPoints", 0)
            return [dict(row) for row in await grafana.ask(with_macros(sql, over, points))]

        length, names_length = LENGTHS[level], LENGTHS[names_level]
        series_are_right(over, length, node, {title: await shown(title) for title in SERIES})
        range_is_right(over, length, node, await shown("The range"))
        durations_are_right(over, length, node, await shown("Durations"))
        heat_is_right(over, length, node, await shown("Durations by number"))
        endpoints_are_right(over, names_length, node, await shown("Busiest endpoints"))
        keys_are_right(over, names_length, node, await shown("Rate-limit keys"))
        backends_are_right(node, await shown("Backends"))
        alerts_are_right(levels, node, await shown("Alerts"))


def series_are_right(
    over: Range, length: int, node: str | None, shown: dict[str, list[Row]]
) -> None:
    buckets = grouped(
        over, length, node, lambda event: event.moment // SECOND_US // length * length
    )
    assert buckets
    for title, columns in SERIES.items():
        rows = shown[title]
        assert [row["time"] for row in rows] == sorted(buckets)
        for row in rows:
            truth = figures(buckets[int(row["time"])])
            assert row == {"time": row["time"]} | {
                name: value(truth, length) for name, value in columns.items()
            }, title


def range_is_right(over: Range, length: int, node: str | None, shown: list[Row]) -> None:
    (events,) = grouped(over, length, node, lambda _: None).values()
    truth = figures(events)
    assert shown == [
        {
            "requests": truth["requests"],
            "errors": percent("failed")(truth, length),
            "status 429": truth["rate_limited"],
            "average": truth["avg_ms"],
            "p50": truth["p50_ms"],
            "p95": truth["p95_ms"],
            "p99": truth["p99_ms"],
        }
    ]


def by_interval(over: Range, length: int, node: str | None, title: str) -> dict[int, list[Event]]:
    """The same events by the panel's own interval."""
    interval = seconds(over.intervals[PANELS[title]["maxDataPoints"]])
    assert interval % length == 0
    return grouped(
        over, length, node, lambda event: event.moment // SECOND_US // interval * interval
    )


def durations_are_right(over: Range, length: int, node: str | None, shown: list[Row]) -> None:
    buckets = by_interval(over, length, node, "Durations")
    assert [row["time"] for row in shown] == sorted(buckets)
    for row in shown:
        truth = figures(buckets[int(row["time"])])
        assert row == {
            "time": row["time"],
            "p50": truth["p50_ms"],
            "p95": truth["p95_ms"],
            "p99": truth["p99_ms"],
            "average": truth["avg_ms"],
        }


def heat_is_right(over: Range, length: int, node: str | None, shown: list[Row]) -> None:
    """Each row's count lies between those of bounds that are a bin's width lower and higher."""
    cells = by_interval(over, length, node, "Durations by number")
    found: dict[int, dict[float, int]] = defaultdict(dict)
    for row in shown:
        assert set(row) == {"time", "metric", "requests"}
        assert re.fullmatch(r"0|0\.0*[125]|[125]0*", row["metric"]), row
        found[int(row["time"])][float(row["metric"])] = row["requests"]
    for start, events in cells.items():
        millis = [event.duration / 1000 for event in events if event.duration is not None]
        rows = found.pop(start, {})
        assert sum(rows.values()) == len(millis)
        for bound in rows:
            up_to = sum(count for each, count in rows.items() if each <= bound)
            low, high = (sum(m <= bound * edge for m in millis) for edge in (1 / 1.021, 1.021))
            assert low <= up_to <= high
    assert not found


def endpoints_are_right(over: Range, length: int, node: str | None, shown: list[Row]) -> None:
    groups = grouped(over, length, node, lambda event: (event.method, event.endpoint))
    truths = [(*name, figures(events)) for name, events in groups.items() if name != ("", "")]
    truths.sort(key=lambda row: (row[1] == "(other)", -row[2]["requests"], *row[:2]))
    assert shown == [
        {
            "method": method,
            "endpoint": endpoint,
            "requests": truth["requests"],
            "errors": percent("failed")(truth, length),
            "average": truth["avg_ms"],
            "p95": truth["p95_ms"],
        }
        for method, endpoint, truth in truths
    ]


def keys_are_right(over: Range, length: int, node: str | None, shown: list[Row]) -> None:
    groups = grouped(over, length, node, lambda event: event.key)
    truths = [(key, figures(events)) for key, events in groups.items() if key]
    truths.sort(key=lambda row: (-row[1]["denied"], -row[1]["checked"], row[0]))
    assert shown == [
        {"key": key, "checked": truth["checked"], "denied": truth["denied"]}
        for key, truth in truths
    ]


def backends_are_right(node: str | None, shown: list[Row]) -> None:
    found = [
        (
            row["backend"],
            row["status"],
            row["circuit_breaker"],
            row["response_time_ms"],
            row["node"],
        )
        for row in shown
    ]
    here = [("down", "unhealthy", None, None, "a"), ("up", "healthy", "closed", 1.5, "a")]
    assert found == (here if node in (None, "a") else [])


def alerts_are_right(levels: str, node: str | None, shown: list[Row]) -> None:
    wanted = ["just now", "for days"] if node in (None, "a") else []
    if levels == "hour day" and node is None:
        wanted.append("long ago")
    assert [row["message"] for row in shown] == wanted
    assert {row["rule"] for row in shown} <= {"R"}


def relations(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """Each table that a plan reads, and how."""
    own = [(plan["Relation Name"], plan["Node Type"])] if "Relation Name" in plan else []
    return own + [found for part in plan.get("Plans", []) for found in relations(part)]


@bounded
async def test_no_query_reads_rows_that_rollups_stand_for(grafana: Reader) -> None:
    for over, node in product(RANGES.values(), CHOICES):
        values = await hidden(grafana, over)
        for where, sql, points in statements():
            sent = with_macros(with_variables(sql, values, node), over, points)
            plan = await grafana.explain(sent)
            for table, way in relations(json.loads(plan)[0]["Plan"]):
                assert not re.match("request_metrics|rate_limit_metrics|system_metrics", table)
                if table.startswith("backend_metrics"):
                    assert way != "Seq Scan", where
                if over is RANGES["minute minute"] and "_rollups_" in table:
                    assert table.endswith(f"_1m_{END:%Y%m%d}"), where


@bounded
async def test_one_node_or_all_is_decided_before_the_query_runs(grafana: Reader) -> None:
    """The part that is not asked for is no part of the plan."""
    for node in CHOICES:
        over = RANGES["minute hour"]
        values = await hidden(grafana, over)
        for title in ("Requests", "Status classes", "Busiest endpoints"):
            sql = with_variables(panel_sql(PANELS[title]), values, node)
            plan = await grafana.explain(with_macros(sql, over))
            indexes = set(re.findall(r'"Index Name": "\w+_rollups_1[mh]_\d+_(\w+)"', plan))
            assert indexes == {"summed_bucket_idx" if node is None else "node_bucket_idx"}, title


@bounded
async def test_choice_of_nodes_lists_the_nodes_that_wrote(grafana: Reader) -> None:
    rows = await grafana.ask(VARIABLES["node"]["query"])
    assert [node for (node,) in rows] == sorted(NODES)

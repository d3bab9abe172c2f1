"""Every statement that docs/sql.md shows runs, and its role may do what it is for, and no more."""

import re
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from sql_page import PAGE, QUERIES, Reader, reader
from store.cluster import bounded
from store.databases import ask, block, database, write

from aegisd.alerts import ACTIVE, Alert, AlertTable
from aegisd.config.settings import Rollups


@pytest.fixture
async def recent(dsn: str) -> AsyncIterator[str]:
    """A database with forty requests and an alert of a moment ago."""
    now = int(time.time() * 1_000_000)
    event = {"timestamp": now, "duration_us": 300_000, "error_message": "none"}
    events = [{**event, "status_code": status} for status in (200, 200, 404, 503) * 10]
    async with database(dsn) as postgres:
        await write(postgres, block("request", events))
        alert = Alert(str(uuid4()), "r", "Rule", "info", ACTIVE, "m", 9, 5, now)
        await AlertTable(postgres, "here").save(alert)
        yield dsn


@bounded
async def test_each_query_of_the_page_has_an_answer(recent: str) -> None:
    assert len(QUERIES) >= 6
    for query in QUERIES:
        rows = await ask(recent, query)
        assert rows, query
        assert None not in rows[0], query


@bounded
async def test_examples_of_the_page_show_the_events_figures(recent: str) -> None:
    for query in QUERIES:
        answer = await ask(recent, query)
        if "AS slow" in query:
            assert sum(slow for _, slow, _ in answer) == sum(timed for *_, timed in answer) == 40
        if "AS step" in query:
            ((_, edge, timed),) = answer
            assert 300 < edge < 450
            assert timed == 40
        if "error_percent" in query:
            assert [percent for *_, percent in answer] == [50]
        if "LIMIT 20" in query:
            ((method, endpoint, count, average, p95),) = answer
            assert (method, endpoint, count) == ("GET", "/", 40)
            assert average == pytest.approx(300)
            assert p95 == pytest.approx(300, rel=0.01)


@bounded
async def test_the_role_reads_the_views_and_neither_writes_nor_reads_requests(recent: str) -> None:
    async with reader(recent) as grafana:
        for query in QUERIES:
            if re.search(r"FROM request_(metrics|rollups)", query):
                await refused(grafana, query)
            else:
                assert await grafana.ask(query)
        await refused(grafana, "DELETE FROM alerts")
        await refused(grafana, "SELECT client_ip FROM request_metrics")


async def refused(grafana: Reader, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await grafana.ask(statement)


@bounded
async def test_the_page_names_all_views_and_functions(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    here = "'aegisd'::regnamespace"
    names = await ask(
        dsn,
        f"SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = {here}"
        f" UNION SELECT proname FROM pg_proc WHERE pronamespace = {here}",
    )
    assert len(names) == 18 + 4
    assert [name for (name,) in names if not re.search(rf"\b{name}\b", PAGE)] == []


def test_the_page_says_how_long_levels_are_kept() -> None:
    kept = Rollups()
    assert (
        f"kept for {kept.minute_days} days, hours for {kept.hour_days // 365} years"
        in PAGE.replace("\n", " ")
    )
    assert f"Ten seconds are kept for {kept.ten_seconds_days} days" in PAGE

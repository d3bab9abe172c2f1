"""The layouts of TimescaleDB and Citus: their SQL, and all work in them.

Neither extension can be installed everywhere. So what differs from plain Postgres is run here on
plain Postgres, with functions of the extensions' names that note how they were called; and on the
real ones wherever AEGISD_TEST_TIMESCALEDB or AEGISD_TEST_CITUS is the DSN of a database that has
the extension and may be emptied.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import trio
from store.cluster import bounded
from store.databases import DAY, NOON, ask, block, database_name, requests, write
from store.folds import Time

from aegisd.config.settings import Metrics
from aegisd.errors import SchemaError
from aegisd.events.units import SECOND_US
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database.postgres import Postgres, open_postgres
from aegisd.store.history.history import History
from aegisd.store.history.ranges import named_range
from aegisd.store.history.results import EndpointTotals, KeyTotals
from aegisd.store.journal.journal import Journal
from aegisd.store.rollups.folding import PIECE_TABLES
from aegisd.store.schema import Installation, Layout, layouts
from aegisd.store.schema.levels import ROLLUP_KINDS
from aegisd.store.schema.migrate import migrations
from aegisd.store.schema.tables import PARTITIONED, RAW
from aegisd.store.upkeep.policy import Policy, kept_from

REAL = {
    Layout.TIMESCALEDB: "AEGISD_TEST_TIMESCALEDB",
    Layout.CITUS: "AEGISD_TEST_CITUS",
}

NOTED = """
CREATE TABLE noted (function text, of text, argument text);
CREATE FUNCTION create_distributed_table(t regclass, c text, colocate_with text DEFAULT 'default')
    RETURNS void LANGUAGE sql
    AS $$
        INSERT INTO noted VALUES ('create_distributed_table', t::text, c || ' ' || colocate_with)
    $$;
CREATE FUNCTION create_hypertable(
    t regclass, c name, chunk_time_interval interval, create_default_indexes boolean DEFAULT true
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO noted VALUES ('create_hypertable', t::text, c || ' ' || chunk_time_interval)
$$;
CREATE FUNCTION show_chunks(t regclass, older_than timestamptz) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT t::text WHERE t::text = 'backend_metrics' $$;
CREATE FUNCTION drop_chunks(t regclass, older_than timestamptz) RETURNS SETOF text LANGUAGE sql
    AS $$ INSERT INTO noted VALUES ('drop_chunks', t::text, (older_than AT TIME ZONE 'UTC')::text);
    SELECT NULL::text $$;
CREATE FUNCTION add_compression_policy(t regclass, compress_after interval) RETURNS void
    LANGUAGE sql
    AS $$ INSERT INTO noted VALUES ('add_compression_policy', t::text, compress_after::text) $$;
CREATE FUNCTION add_retention_policy(t regclass, drop_after interval) RETURNS void LANGUAGE sql
    AS $$ INSERT INTO noted VALUES ('add_retention_policy', t::text, drop_after::text) $$;
CREATE FUNCTION remove_retention_policy(t regclass, if_exists boolean) RETURNS void LANGUAGE sql
    AS $$ INSERT INTO noted VALUES ('remove_retention_policy', t::text, if_exists::text) $$;
"""


ONE_AT_A_TIME = r"""
CREATE TABLE changes (tag text, transaction text);
CREATE FUNCTION one_at_a_time() RETURNS event_trigger LANGUAGE plpgsql AS $body$
DECLARE
    bodies CONSTANT text := '\$(\w*)\$.*?\$\1\$';
    statement text := regexp_replace(current_query(), bodies, '', 'g');
BEGIN
    IF regexp_replace(statement, '''[^'']*''', '', 'g') ~ ';\s*\S' THEN
        RAISE EXCEPTION 'cannot execute multiple utility events';
    END IF;
    INSERT INTO public.changes VALUES (tg_tag, pg_current_xact_id()::text);
END
$body$;
CREATE EVENT TRIGGER one_at_a_time ON ddl_command_start EXECUTE FUNCTION one_at_a_time();
"""
"""Refuses what Citus refuses: two statements in one command that change tables."""


async def make_by_hand(dsn: str, layout: str) -> None:
    """The schema of a layout, made as ``prepare_schema`` makes it where the extension is."""
    await run_script(dsn, NOTED)
    await ask(
        dsn,
        "CREATE TABLE aegisd_schema (version integer PRIMARY KEY, name text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())",
    )
    for step in migrations():
        await run_script(dsn, layouts.migration(step.sql, layout))
        await ask(dsn, "INSERT INTO aegisd_schema VALUES ($1, $2)", step.version, step.name)
    await ask(dsn, "UPDATE storage_layout SET layout = $1", layout)
    await ask(dsn, f"ALTER DATABASE {database_name(dsn)} SET timescaledb.license = 'apache'")


async def run_script(dsn: str, sql: str) -> None:
    """Run several statements."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            await connection.execute(sql)
        finally:
            connection.terminate()

    await trio.to_thread.run_sync(lambda: asyncio.run(run()))


@asynccontextmanager
async def laid_out(dsn: str, layout: str) -> AsyncIterator[Postgres]:
    async with open_postgres(migrate=True, layout=layout, schema="aegisd") as postgres:
        postgres.dsn = dsn
        await postgres.prepare()
        assert postgres.installation.layout == layout
        yield postgres


@bounded
async def test_each_statement_that_changes_tables_is_sent_alone(dsn: str) -> None:
    await run_script(dsn, ONE_AT_A_TIME)
    with pytest.raises(asyncpg.PostgresError, match="multiple utility events"):
        await run_script(dsn, "CREATE TABLE a (); CREATE TABLE b ()")
    async with laid_out(dsn, Layout.PARTITIONS) as postgres:
        await write(postgres, requests())
    assert await ask(dsn, "SELECT count(*) FROM request_metrics") == [(1,)]


@pytest.mark.parametrize("layout", [Layout.TIMESCALEDB, Layout.CITUS])
@bounded
async def test_layout_works_from_writing_to_history_on_plain_postgres(
    dsn: str, layout: str, state: Path
) -> None:
    await make_by_hand(dsn, layout)
    await run_script(dsn, ONE_AT_A_TIME)
    async with laid_out(dsn, layout) as postgres:
        await work_from_writing_to_history(postgres, state)
    made = "SELECT count(*) FROM changes WHERE tag = 'CREATE TABLE' GROUP BY transaction"
    at_once = [count for (count,) in await ask(dsn, made)]
    assert at_once == [1] * len(at_once), "on Citus a partition takes up to a second"
    partitions = await ask(dsn, "SELECT count(*) FROM pg_inherits")
    assert (partitions[0][0] == 0) == (layout == Layout.TIMESCALEDB)


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(
            layout,
            marks=pytest.mark.skipif(
                variable not in os.environ, reason=f"{variable} names no database with {layout}"
            ),
        )
        for layout, variable in REAL.items()
    ],
)
@bounded
async def test_layout_works_from_writing_to_history_on_the_real_extension(
    layout: str, state: Path
) -> None:
    dsn = os.environ[REAL[layout]]
    await ask(dsn, "DROP SCHEMA public CASCADE")
    await ask(dsn, "CREATE SCHEMA public")
    await ask(dsn, f"CREATE EXTENSION IF NOT EXISTS {layout}")
    async with laid_out(dsn, layout) as postgres:
        await work_from_writing_to_history(postgres, state)


async def work_from_writing_to_history(postgres: Postgres, state: Path) -> None:
    """Write rows and pieces of two nodes, fold them, read them as history, clean up."""
    time = Time(NOON)
    maintainer = time.keeper(postgres)
    with closing(Journal(state, 1024**3, 0)) as journal:
        history = History(postgres, Backlog(journal, lambda: time.now / SECOND_US), "b")
        for node in ("a", "b"):
            for moment in (NOON - 2 * DAY, NOON - 90 * SECOND_US, NOON - SECOND_US):
                decision = block("rate_limit", [{"timestamp": moment, "allowed": False}])
                await write(
                    postgres,
                    requests(3, timestamp=moment, duration_us=5000),
                    decision,
                    node=node,
                )
        for folded in (False, True, True):
            if folded:
                assert await maintainer.maintain()
                time.pass_(7200)
            range_ = named_range("7d", time.now, kept_from(Metrics().rollups, time.now))
            for node, nodes in ((None, 2), ("a", 1)):
                totals = (await history.totals(range_, node)).figures
                assert (totals.requests, totals.denied) == (9 * nodes, 3 * nodes)
                assert totals.latency.p99 == pytest.approx(5, rel=0.01)
                (top,) = (await history.top_endpoints(range_, node, 10)).figures
                assert top == EndpointTotals("GET", "/", 9 * nodes, 0, 5.0, top.p95_ms)
                assert top.p95_ms == pytest.approx(5, rel=0.01)
                limits = (await history.rate_limits(range_, node, 10)).figures
                assert limits == (3 * nodes, 3 * nodes, [KeyTotals("k", 3 * nodes, 3 * nodes)])
                buckets = (await history.requests(range_, node)).figures.values()
                assert sum(counts.requests for counts in buckets) == 9 * nodes
        assert await postgres.fetch("SELECT count(*) FROM request_pieces") == [(0,)]


@bounded
async def test_each_partitioned_table_becomes_a_hypertable(dsn: str) -> None:
    await make_by_hand(dsn, Layout.TIMESCALEDB)
    assert await ask(dsn, "SELECT count(*) FROM pg_partitioned_table") == [(0,)]
    for statement in layouts.set_up(Layout.TIMESCALEDB, layouts.APACHE):
        await ask(dsn, statement)
    made = await ask(dsn, "SELECT of, argument FROM noted")
    assert {table for table, _ in made} == set(PARTITIONED)
    for table, argument in made:
        column = "timestamp" if table in RAW else "bucket"
        days = PARTITIONED[table]
        assert argument == f"{column} {days} day{'s' if days > 1 else ''}"


@bounded
async def test_each_hypertable_gets_compression_and_retention_policies(dsn: str) -> None:
    await make_by_hand(dsn, Layout.TIMESCALEDB)
    made = layouts.set_up(Layout.TIMESCALEDB, "timescale")
    of_postgres = [statement for statement in made if not statement.startswith("ALTER TABLE")]
    altered = [statement for statement in made if statement.startswith("ALTER TABLE")]
    of_tables = Installation("", "", Layout.TIMESCALEDB, "timescale").retention_policies(
        Policy.of(Metrics()).of_tables()
    )
    for statement in of_postgres + [each for pair in of_tables.values() for each in pair]:
        await ask(dsn, statement)
    for function in ("add_compression_policy", "remove_retention_policy", "add_retention_policy"):
        noted = await ask(dsn, "SELECT of FROM noted WHERE function = $1", function)
        assert {table for (table,) in noted} == set(PARTITIONED)
    kept = dict(
        await ask(dsn, "SELECT of, argument FROM noted WHERE function = 'add_retention_policy'")
    )
    assert kept["request_metrics"] == kept["endpoint_rollups_1m"] == "30 days"
    assert (kept["request_rollups_10s"], kept["request_rollups_1h"]) == ("2 days", "730 days")
    assert [re.match(r"ALTER TABLE (\w+) SET \(timescaledb.compress, ", a)[1] for a in altered] == (  # type: ignore[index]
        list(PARTITIONED)
    )


@bounded
async def test_tables_with_a_node_are_distributed_by_it_and_colocated(dsn: str) -> None:
    await make_by_hand(dsn, Layout.CITUS)
    for statement in layouts.set_up(Layout.CITUS, ""):
        await ask(dsn, statement)
    noted = await ask(dsn, "SELECT of, argument FROM noted")
    first, *others = [argument for _, argument in noted]
    assert first == "node default"
    assert set(others) == {"node request_metrics"}
    rollups = {kind.table(level) for kind in ROLLUP_KINDS for level in kind.levels}
    assert {table for table, _ in noted} == {*RAW, *rollups, *PIECE_TABLES}


@pytest.mark.parametrize(
    ("wanted", "extensions", "found", "chosen"),
    [
        ("auto", set(), None, "partitions"),
        ("auto", {"plpgsql", "timescaledb"}, None, "timescaledb"),
        ("auto", {"citus"}, None, "citus"),
        ("partitions", {"citus"}, None, "partitions"),
        ("citus", {"citus"}, None, "citus"),
        ("auto", {"timescaledb"}, "partitions", "partitions"),
        ("auto", set(), "citus", "citus"),
        ("timescaledb", {"timescaledb"}, "timescaledb", "timescaledb"),
    ],
)
def test_auto_layout_follows_the_extensions_and_an_existing_layout_stays(
    wanted: str, extensions: set[str], found: str | None, chosen: str
) -> None:
    assert layouts.choose(wanted, extensions, found) == chosen


def test_layout_without_its_extension_or_other_than_the_existing_is_refused() -> None:
    with pytest.raises(SchemaError, match="run CREATE EXTENSION citus"):
        layouts.choose("citus", {"timescaledb"}, None)
    with pytest.raises(SchemaError, match=r'set storage.layout = "partitions", or take another'):
        layouts.choose("timescaledb", {"timescaledb"}, "partitions")


@bounded
async def test_layout_without_its_extension_makes_no_schema(dsn: str) -> None:
    async with open_postgres(migrate=True, layout="citus", schema="aegisd") as postgres:
        postgres.dsn = dsn
        with pytest.raises(SchemaError, match=r'storage.layout = "citus" needs the extension'):
            await postgres.position(uuid4(), "here", 0)
    assert await ask(dsn, "SELECT to_regclass('aegisd_schema') IS NULL") == [(True,)]

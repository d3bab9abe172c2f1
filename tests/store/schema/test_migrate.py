"""Migrations: applied, verified, refused; and the columns that others hold on to."""

from pathlib import Path

import pytest
import trio
from store.cluster import bounded
from store.databases import ask, database, session
from store.proxy import proxied

from aegisd.errors import DatabaseUnavailable, SchemaError
from aegisd.store.embedded import server
from aegisd.store.embedded.cluster import embedded_postgres
from aegisd.store.schema import PARTITIONED, RAW, Partition
from aegisd.store.schema import migrate as migrate_module
from aegisd.store.schema.migrate import migrations

LATEST = migrations()[-1].version
VERSION = "SELECT max(version) FROM aegisd_schema"

TABLES = {
    "request_metrics": """timestamp timestamptz, method text, path text, endpoint text,
        status_code smallint, duration_ms double precision null, backend text null,
        client_ip text null, error_message text null, node text, weight real""",
    "rate_limit_metrics": """timestamp timestamptz, key text, allowed boolean,
        remaining bigint null, limit bigint null, node text""",
    "backend_metrics": """timestamp timestamptz, backend_name text, status text,
        response_time_ms double precision null, circuit_breaker text null, node text""",
    "system_metrics": """timestamp timestamptz, source text null, active_connections bigint,
        cpu_percent real null, memory_bytes bigint null, open_files bigint null, node text""",
    "alerts": """id uuid, rule_id text, rule_name text, severity text, status text,
        message text, current_value double precision, threshold double precision,
        triggered_at timestamptz, resolved_at timestamptz null,
        acknowledged_at timestamptz null, acknowledged_by text null, node text,
        resolved_by text null""",
    "alert_silences": """id uuid, rule_id text null, severity text null, starts_at timestamptz,
        ends_at timestamptz, comment text, created_by text""",
}


def promised(table: str) -> dict[str, tuple[str, str]]:
    """By column, its type and whether it may be NULL."""
    found = {}
    for column in TABLES[table].split(","):
        name, type_ = column.strip().split(" ", 1)
        nullable = type_.endswith(" null")
        type_ = type_.removesuffix(" null").replace("timestamptz", "timestamp with time zone")
        found[name] = (type_, "YES" if nullable else "NO")
    return found


@bounded
async def test_tables_have_the_columns_of_the_contract(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    sql = (
        "SELECT column_name::text, data_type::text, is_nullable::text"
        " FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'aegisd'"
    )
    for table in TABLES:
        there = {name: (type_, null) for name, type_, null in await ask(dsn, sql, table)}
        assert there == promised(table), table


@bounded
async def test_metric_tables_are_partitioned_by_time(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    partitioned = await ask(
        dsn,
        "SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid)"
        " FROM pg_partitioned_table ORDER BY 1",
    )
    keys = {table: '"timestamp"' if table in RAW else "bucket" for table in PARTITIONED}
    assert partitioned == sorted((table, f"RANGE ({key})") for table, key in keys.items())


@bounded
async def test_second_start_changes_nothing(dsn: str) -> None:
    everything = "SELECT oid, relname::text FROM pg_class ORDER BY 1"
    async with database(dsn) as postgres:
        await postgres.prepare()
    first = await ask(dsn, everything), await ask(dsn, "SELECT * FROM aegisd_schema")
    async with database(dsn) as postgres:
        await postgres.prepare()
    assert first == (await ask(dsn, everything), await ask(dsn, "SELECT * FROM aegisd_schema"))


@bounded
async def test_twenty_starts_at_once_make_one_schema(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.SETTINGS, "max_connections", "40")

    async def start(dsn: str) -> None:
        async with database(dsn) as postgres:
            await postgres.prepare()

    async with embedded_postgres(state) as dsn:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(start, dsn)
        assert await ask(dsn, "SELECT count(*) FROM aegisd_schema") == [(len(migrations()),)]


@bounded
async def test_empty_database_without_migrate_is_refused_and_left_alone(dsn: str) -> None:
    async with database(dsn, migrate=False) as postgres:
        with pytest.raises(SchemaError, match=r"has version 0, .* run 'aegisd migrate'"):
            await postgres.prepare()
    assert await ask(dsn, "SELECT relname FROM pg_class WHERE relname LIKE '%metrics%'") == []


@bounded
async def test_schema_up_to_date_is_used_without_migrate(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    async with database(dsn, migrate=False) as postgres:
        await postgres.prepare()
        assert await postgres.fetch(VERSION) == [(LATEST,)]


@pytest.mark.parametrize("migrate", [True, False])
@bounded
async def test_newer_schema_is_refused_and_left_alone(dsn: str, migrate: bool) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    await ask(dsn, "INSERT INTO aegisd_schema VALUES (1000, 'of the future')")
    async with database(dsn, migrate=migrate) as postgres:
        with pytest.raises(SchemaError, match=rf"version 1000, .* up to {LATEST}; upgrade aegisd"):
            await postgres.prepare()
    assert await ask(dsn, VERSION) == [(1000,)]


@bounded
async def test_failed_migration_leaves_nothing(dsn: str) -> None:
    await ask(dsn, "CREATE SCHEMA aegisd")
    await ask(dsn, "CREATE TABLE aegisd.alerts (of_somebody_else text)")
    async with database(dsn) as postgres:
        with pytest.raises(DatabaseUnavailable, match=r'"alerts" already exists.*storage\.schema'):
            await postgres.prepare()
        await ask(dsn, "DROP TABLE alerts")
        await postgres.prepare()
    assert await ask(dsn, VERSION) == [(LATEST,)]


@bounded
async def test_schema_whose_commit_failed_is_made_by_the_next_connection(
    dsn: str, directory: Path
) -> None:
    async with database(None) as postgres, proxied(dsn, directory) as proxy:
        postgres.dsn = proxy.dsn
        proxy.cut_at(b"INSERT INTO aegisd_schema", b"COMMIT", delivered=False)
        with pytest.raises(DatabaseUnavailable):
            await postgres.prepare()
        proxy.restore()
        await postgres.prepare()
        assert await postgres.fetch(VERSION) == [(LATEST,)]


@bounded
async def test_role_that_may_not_create_a_schema_gets_the_remedy_in_one_line(dsn: str) -> None:
    role = f"poor_{dsn.partition('/test_')[2].partition('?')[0]}"
    await ask(dsn, f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    try:
        poor = dsn.replace(dsn.partition("//")[2].partition("@")[0], f"{role}:pw")
        async with database(poor) as postgres:
            with pytest.raises(DatabaseUnavailable, match="may not make it: run CREATE") as caught:
                await postgres.prepare()
        assert "\n" not in str(caught.value)
    finally:
        await ask(dsn, f"DROP ROLE {role}")


@bounded
async def test_wide_sketch_moves_no_name_out_of_its_row(dsn: str) -> None:
    """Each name outside would be one more read for each row of a list of endpoints."""
    tables = ["endpoint_rollups_1m", "endpoint_rollups_1h", "endpoint_rollups_1d"]
    async with database(dsn) as postgres:
        await postgres.prepare()
        await postgres.make_partitions(
            {Partition.of(table, 20_000) for table in tables if table in PARTITIONED}
        )
    sketch = "000000000001" * 400  # 2,400 bytes
    for table in tables:
        await ask(
            dsn,
            f"INSERT INTO {table} VALUES (to_timestamp(20000 * 86400), 'a-gateway-of-some-name',"
            " false, 'GET', '/a/path/of/more/than/twenty-four/letters',"
            f" 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, '{sketch}'::numeric, 1)",
        )
    outside = await ask(
        dsn,
        "SELECT relname::text, pg_relation_size(reltoastrelid) FROM pg_class"
        " WHERE relname ~ '^endpoint_rollups' AND relkind = 'r' ORDER BY 1",
    )
    assert outside == [
        ("endpoint_rollups_1d", 0),
        (Partition.of("endpoint_rollups_1h", 20_000).name, 0),
        (Partition.of("endpoint_rollups_1m", 20_000).name, 0),
    ]


@bounded
async def test_upgrade_gives_up_on_a_locked_table_and_succeeds_later(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "LOCK_SECONDS", 1)
    async with database(dsn) as postgres:
        await postgres.prepare()
    await ask(dsn, "DELETE FROM aegisd_schema WHERE version = $1", LATEST)
    await ask(dsn, "DROP TABLE alert_silences")
    await ask(dsn, "ALTER TABLE alerts DROP COLUMN resolved_by")
    await ask(dsn, "ALTER TABLE storage_layout REPLICA IDENTITY DEFAULT")
    async with database(dsn) as postgres, session(dsn) as execute:
        await execute("BEGIN; SELECT * FROM storage_layout")
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            await postgres.prepare()
        await execute("COMMIT")
        await postgres.prepare()
    assert await ask(dsn, VERSION) == [(LATEST,)]


@bounded
async def test_alert_of_an_older_schema_is_kept_and_nobody_has_resolved_it(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = [step for step in migrations() if step.version <= 6]
    with monkeypatch.context() as patched:
        patched.setattr(migrate_module, "migrations", lambda: older)
        async with database(dsn) as postgres:
            await postgres.prepare()
    await ask(
        dsn,
        "INSERT INTO alerts VALUES (gen_random_uuid(), 'r', 'R', 'info', 'resolved', 'm', 1, 1,"
        " now(), now(), NULL, NULL, 'here')",
    )
    async with database(dsn) as postgres:
        await postgres.prepare()
    assert await ask(dsn, VERSION) == [(LATEST,)]
    assert await ask(dsn, "SELECT status, resolved_by FROM alerts") == [("resolved", None)]
    assert await ask(dsn, "SELECT count(*) FROM alert_silences") == [(0,)]

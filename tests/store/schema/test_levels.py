"""The tables of rollups as data against a migrated database."""

import pytest
from store.cluster import bounded
from store.databases import ask, database

from aegisd.store.schema.levels import ROLLUP_KINDS, RollupKind
from aegisd.store.schema.tables import TABLES

DURATIONS = {"duration_sum_us", "duration_min_us", "duration_max_us", "sketch", "sketch_format"}


@pytest.mark.parametrize("kind", ROLLUP_KINDS, ids=lambda kind: kind.name)
@bounded
async def test_columns_of_a_kind_are_those_of_a_migrated_database(
    dsn: str, kind: RollupKind
) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    columns = {"bucket", "node", *kind.names, *kind.counters}
    if kind.timed:
        columns |= DURATIONS
    found = (
        "SELECT attname::text FROM pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
    )
    for level in kind.levels:
        there = {name for (name,) in await ask(dsn, found, kind.table(level))}
        assert there == columns | {"summed"}
    assert {name for (name,) in await ask(dsn, found, kind.pieces_table)} == columns | {"claimed"}


@bounded
async def test_tables_are_those_of_a_migrated_database(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    there = await ask(
        dsn,
        "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = 'aegisd'::regnamespace",
    )
    assert {name for (name,) in there} == set(TABLES)

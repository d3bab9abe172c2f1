"""Brings a database's schema up to this version, in the layout that is wanted or found."""

from typing import Any

from attrs import frozen

from aegisd.errors import SchemaError
from aegisd.store import layouts
from aegisd.store.schema import migrations

MIGRATION_LOCK = 7_460_000_001
"""Any number will do, as long as every version of aegisd uses the same."""


@frozen
class Layout:
    """How the tables lie; ``licence`` is TimescaleDB's, "" without."""

    name: str
    licence: str = ""


async def bring_up(connection: Any, *, migrate: bool, layout: str) -> Layout:
    """Apply the migrations that are missing; without ``migrate`` only see that none is.

    The caller has begun a transaction, over a connection of asyncpg. An advisory lock lets any
    number of daemons start at once. Raises SchemaError.
    """
    steps = migrations()
    ours = steps[-1].version
    await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
    there = 0
    if await connection.fetchval("SELECT to_regclass('aegisd_schema') IS NOT NULL"):
        there = await connection.fetchval("SELECT max(version) FROM aegisd_schema") or 0
    if there > ours:
        raise SchemaError(
            f"the database's schema has version {there}, this aegisd knows up to {ours}; "
            "upgrade aegisd"
        )
    if there < ours and not migrate:
        raise SchemaError(
            f"the database's schema has version {there}, this aegisd needs {ours}; "
            "run 'aegisd migrate', or set storage.migrate = true"
        )
    chosen = await _layout(connection, layout, there)
    if there == 0:
        await connection.execute(
            "CREATE TABLE aegisd_schema (version integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
    for step in steps:
        if step.version > there:
            await connection.execute(layouts.migration(step.sql, chosen.name))
            await connection.execute(
                "INSERT INTO aegisd_schema (version, name) VALUES ($1, $2)",
                step.version,
                step.name,
            )
    if there == 0:
        await connection.execute("UPDATE storage_layout SET layout = $1", chosen.name)
        for statement in layouts.set_up(chosen.name, chosen.licence):
            await connection.execute(statement)
    return chosen


async def _layout(connection: Any, wanted: str, version: int) -> Layout:
    """The layout that a database of this schema's version has, or is to get."""
    extensions = {row[0] for row in await connection.fetch("SELECT extname FROM pg_extension")}
    found = layouts.PARTITIONS if version else None  # there was no other before the table
    if await connection.fetchval("SELECT to_regclass('storage_layout') IS NOT NULL"):
        found = await connection.fetchval("SELECT layout FROM storage_layout")
    name = layouts.choose(wanted, extensions, found)
    licence = ""
    if name == layouts.TIMESCALEDB:
        licence = await connection.fetchval("SELECT current_setting('timescaledb.license')")
    return Layout(name, licence)

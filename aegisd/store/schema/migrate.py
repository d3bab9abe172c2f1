"""Brings a database's schema up to this version, where it is and in the layout it has."""

import re
from typing import Any

from attrs import frozen

from aegisd.errors import SchemaError
from aegisd.store.schema import layouts
from aegisd.store.schema.levels import KINDS
from aegisd.store.schema.schema import PARTITIONED, migrations

MIGRATION_LOCK = 7_460_000_001
"""Any number will do, as long as every version of aegisd uses the same."""

LOCK_SECONDS = 10
"""A backup reads all tables for hours, and a change of one waits for it."""

TABLES = (
    *PARTITIONED,
    *(kind.table(level) for kind in KINDS for level in kind.levels),
    *(kind.pieces for kind in KINDS),
    *("alerts", "journals", "rollup_progress", "storage_layout", "sketch_formats"),
    *("aegisd_schema", "aegisd_policy"),
)
"""All of ours, but the partitions."""

_STATEMENT = re.compile(r"(?:[^;$']|'[^']*'|\$(\w*)\$.*?\$\1\$|\$)+;", re.DOTALL)
_COMMENT = re.compile(r"^\s*--.*$|--[^'\n]*$", re.MULTILINE)

_WITHOUT_IDENTITY = """
    SELECT c.oid::regclass::text FROM pg_class c
    WHERE (
        c.oid IN (SELECT to_regclass(t) FROM unnest($1::text[]) t) OR c.oid IN (
            SELECT inhrelid FROM pg_inherits
            WHERE inhparent IN (SELECT to_regclass(t) FROM unnest($1::text[]) t)
        )
    )
        AND c.relkind IN ('r', 'p') AND c.relreplident = 'd'
        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)
"""


@frozen
class Home:
    """Where the tables are and how they lie.

    ``schema`` and ``path`` (a search_path) are quoted; ``licence`` is TimescaleDB's, "" without.
    """

    schema: str
    path: str
    layout: str
    licence: str = ""


async def bring_up(connection: Any, *, migrate: bool, layout: str, schema: str) -> Home:
    """Apply the migrations that are missing; without ``migrate`` only see that none is.

    The caller has begun a transaction, over a connection of asyncpg. An advisory lock lets any
    number of daemons start at once. ``schema`` is for new databases: an existing installation
    stays where it is. Raises SchemaError.
    """
    steps = migrations()
    ours = steps[-1].version
    await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
    # who waits for a table holds up all who come later: it is tried again
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS} s'")
    home = await _find(connection, schema)
    there = 0
    if home is not None:
        await _go_to(connection, home)
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
    if home is None:
        home = await _made(connection, schema)
        await _go_to(connection, home)
    chosen = await _layout(connection, layout, there)
    await _apply(connection, there, chosen)
    licence = ""
    if chosen == layouts.TIMESCALEDB:
        licence = await connection.fetchval("SELECT current_setting('timescaledb.license')")
    if there == 0:
        await connection.execute("UPDATE storage_layout SET layout = $1", chosen)
        for statement in layouts.set_up(chosen, licence):
            await connection.execute(statement)
    return Home(home, await _path(connection, home), chosen, licence)


async def _find(connection: Any, wanted: str) -> str | None:
    """The schema of the installation there is, quoted: the wanted one, else the role's own."""
    found = await connection.fetchval(
        "SELECT coalesce(to_regclass(quote_ident($1) || '.aegisd_schema'),"
        " to_regclass('aegisd_schema'))::oid",
        wanted,
    )
    schema: str | None = await connection.fetchval(
        "SELECT quote_ident(nspname) FROM pg_namespace"
        " WHERE oid = (SELECT relnamespace FROM pg_class WHERE oid = $1)",
        found,
    )
    return schema


async def _made(connection: Any, wanted: str) -> str:
    """The wanted schema, quoted, which is made if it is not there."""
    quoted, there, role, may = (
        await connection.fetch(
            "SELECT quote_ident($1), to_regnamespace(quote_ident($1)) IS NOT NULL, current_user,"
            " has_database_privilege(current_database(), 'CREATE')",
            wanted,
        )
    )[0]
    if not there and not may:
        raise SchemaError(
            f"there is no schema {quoted}, and {role} may not make it: run CREATE SCHEMA {quoted}"
            f" AUTHORIZATION {role}, or set storage.schema to one that is there"
        )
    if not there:
        await connection.execute(f"CREATE SCHEMA {quoted}")
    return str(quoted)


async def _path(connection: Any, schema: str) -> str:
    """The search_path: the schema, and where the extensions are that the layouts use."""
    extensions = await connection.fetch(
        "SELECT DISTINCT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n"
        " ON n.oid = extnamespace WHERE extname = ANY ($1) AND nspname <> 'pg_catalog'"
        " AND quote_ident(nspname) <> $2",
        [layouts.TIMESCALEDB, layouts.CITUS],
        schema,
    )
    return ", ".join([schema, *(row[0] for row in extensions), "pg_temp"])


async def _go_to(connection: Any, schema: str) -> None:
    """Have this transaction work in a schema."""
    await connection.execute(f"SET LOCAL search_path = {await _path(connection, schema)}")


async def _apply(connection: Any, there: int, layout: str) -> None:
    """Apply the steps behind a version, one statement at a time."""
    if there == 0:
        await connection.execute(
            "CREATE TABLE aegisd_schema (version integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
    for step in migrations():
        if step.version > there:
            for statement in statements(layouts.migration(step.sql, layout)):
                await connection.execute(statement)
            await _identify(connection)
            await connection.execute(
                "INSERT INTO aegisd_schema (version, name) VALUES ($1, $2)",
                step.version,
                step.name,
            )


async def _identify(connection: Any) -> None:
    """Give each table a replica identity.

    Without one no row of a table can be changed that a publication FOR ALL TABLES holds.
    """
    for (table,) in await connection.fetch(_WITHOUT_IDENTITY, list(TABLES)):
        await connection.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")


def statements(sql: str) -> list[str]:
    """A migration's statements: Citus takes no two at once that change tables."""
    return [match[0].strip() for match in _STATEMENT.finditer(_COMMENT.sub("", sql))]


async def _layout(connection: Any, wanted: str, version: int) -> str:
    """The layout that a database of this schema's version has, or is to get."""
    extensions = {row[0] for row in await connection.fetch("SELECT extname FROM pg_extension")}
    found = layouts.PARTITIONS if version else None  # there was no other before the table
    if await connection.fetchval("SELECT to_regclass('storage_layout') IS NOT NULL"):
        found = await connection.fetchval("SELECT layout FROM storage_layout")
    return layouts.choose(wanted, extensions, found)

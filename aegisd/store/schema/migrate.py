"""Brings a database's schema up to this version, where it is and in the layout it has.

Migrations are numbered files of SQL that only go forward. A file's number is its version; a
migration that was released is never changed. The table ``aegisd_schema`` has the versions that were
applied.
"""

import re
from importlib.resources import files
from typing import Any

from attrs import frozen

from aegisd.errors import SchemaError
from aegisd.store.schema import layouts
from aegisd.store.schema.layouts import Installation, Layout
from aegisd.store.schema.tables import TABLES

MIGRATION_LOCK = 7_460_000_001
"""The advisory lock for migrations; all versions of aegisd use the same number."""

LOCK_SECONDS = 10
"""A change of a table waits no longer for its readers: a backup may read all tables for hours."""

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
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All migrations, in order."""
    found = []
    for file in files("aegisd.store.schema").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            name = file.name.removesuffix(".sql")
            found.append(Migration(int(name.split("_")[0]), name, file.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.version)


async def prepare_schema(
    connection: Any, *, migrate: bool, layout: str, schema: str
) -> Installation:
    """Apply the missing migrations; without ``migrate`` only verify that none is missing.

    The caller has begun a transaction, over a connection of asyncpg. An advisory lock lets any
    number of daemons start at once. ``schema`` is for a new installation: an existing one stays
    where it is. Raises SchemaError.
    """
    ours = migrations()[-1].version
    await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
    # a statement that waits for a table holds up all later ones on it: better fail, and try again
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS} s'")
    place = await _find(connection, schema)
    version = 0
    if place is not None:
        await _work_in(connection, place)
        version = await connection.fetchval("SELECT max(version) FROM aegisd_schema") or 0
    if version > ours:
        raise SchemaError(
            f"the database's schema has version {version}, this aegisd knows up to {ours}; "
            "upgrade aegisd"
        )
    if version < ours and not migrate:
        raise SchemaError(
            f"the database's schema has version {version}, this aegisd needs {ours}; "
            "run 'aegisd migrate', or set storage.migrate = true"
        )
    if place is None:
        place = await _make(connection, schema)
        await _work_in(connection, place)
    chosen = await _choose_layout(connection, layout, version)
    await _apply(connection, version, chosen)
    licence = ""
    if chosen == Layout.TIMESCALEDB:
        licence = await connection.fetchval("SELECT current_setting('timescaledb.license')")
    if version == 0:
        await connection.execute("UPDATE storage_layout SET layout = $1", chosen)
        for statement in layouts.set_up(chosen, licence):
            await connection.execute(statement)
    return Installation(place, await _path(connection, place), chosen, licence)


# where the tables are


async def _find(connection: Any, wanted: str) -> str | None:
    """The schema, quoted, that has an installation: the wanted one, else one on the role's path."""
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


async def _make(connection: Any, wanted: str) -> str:
    """The wanted schema, quoted; it is made if it is not there."""
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
    """The search_path: the schema, then the schemas of the layouts' extensions."""
    extensions = await connection.fetch(
        "SELECT DISTINCT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n"
        " ON n.oid = extnamespace WHERE extname = ANY ($1) AND nspname <> 'pg_catalog'"
        " AND quote_ident(nspname) <> $2",
        list(layouts.EXTENSIONS),
        schema,
    )
    return ", ".join([schema, *(row[0] for row in extensions), "pg_temp"])


async def _work_in(connection: Any, schema: str) -> None:
    """Have this transaction find and make tables in a schema."""
    await connection.execute(f"SET LOCAL search_path = {await _path(connection, schema)}")


# what they are


async def _choose_layout(connection: Any, wanted: str, version: int) -> str:
    """The layout that a database of this schema's version has, or is to get."""
    extensions = {row[0] for row in await connection.fetch("SELECT extname FROM pg_extension")}
    # versions before the table storage_layout had no other layout
    found = Layout.PARTITIONS if version else None
    if await connection.fetchval("SELECT to_regclass('storage_layout') IS NOT NULL"):
        found = await connection.fetchval("SELECT layout FROM storage_layout")
    return layouts.choose(wanted, extensions, found)


async def _apply(connection: Any, version: int, layout: str) -> None:
    """Apply the migrations after a version, one statement at a time."""
    if version == 0:
        await connection.execute(
            "CREATE TABLE aegisd_schema (version integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
    for step in migrations():
        if step.version > version:
            for statement in statements(layouts.migration(step.sql, layout)):
                await connection.execute(statement)
            await _set_replica_identity(connection)
            await connection.execute(
                "INSERT INTO aegisd_schema (version, name) VALUES ($1, $2)",
                step.version,
                step.name,
            )


def statements(sql: str) -> list[str]:
    """A migration's statements: Citus takes no two together that change tables."""
    return [match[0].strip() for match in _STATEMENT.finditer(_COMMENT.sub("", sql))]


async def _set_replica_identity(connection: Any) -> None:
    """Give each table without a primary key the replica identity FULL.

    Without one, a publication FOR ALL TABLES makes each UPDATE and DELETE fail.
    """
    for (table,) in await connection.fetch(_WITHOUT_IDENTITY, list(TABLES)):
        await connection.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")

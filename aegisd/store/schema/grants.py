"""The rights of a role that does not own the tables: ``aegisd migrate --grant ROLE``.

Only an owner may attach and drop partitions. So two functions do that with the owner's rights. Only
the role may call them, and they take only names of aegisd's partitions. They are SECURITY DEFINER
with a search_path of their own, as in the PostgreSQL manual, "Writing SECURITY DEFINER Functions
Safely".
"""

from typing import Any

from aegisd.errors import AegisdError
from aegisd.store.schema.levels import ROLLUP_KINDS
from aegisd.store.schema.partitions import DROP, MAKE
from aegisd.store.schema.tables import PARTITIONED, TABLES

_MAINTAIN_FROM = 170_000
"""The first server_version_num with GRANT MAINTAIN, the right to vacuum. Before it only autovacuum
does."""

_NOT_OURS = rf"name !~ ('^(' || '{'|'.join(PARTITIONED)}' || ')_\d{{8}}(_\d+)?$')"

_NOT_OUR_PARENT = rf"""parent <> ALL ('{{{",".join(PARTITIONED)}}}'::text[])
                OR name !~ ('^' || parent || '_\d{{8}}(_\d+)?$')
                OR (SELECT relpersistence FROM pg_class WHERE oid = to_regclass(parent)) = 't'"""
"""The condition that a table is not aegisd's. The new partition copies its indexes and constraints.
Copied from a table of the role's own, mostly a temporary one, their functions would run with the
owner's rights."""


def _functions(schema: str) -> list[str]:
    definer = f"LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp"
    return [
        f"""
        CREATE OR REPLACE FUNCTION {MAKE}(parent text, name text, low timestamptz, high timestamptz)
        RETURNS void {definer} AS $$
        BEGIN
            IF {_NOT_OUR_PARENT} THEN
                RAISE EXCEPTION '% is no name of a partition of aegisd''s', name;
            END IF;
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
            EXECUTE format('ALTER TABLE %I REPLICA IDENTITY FULL', name);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                parent, name, low, high);
        END
        $$
        """,
        f"""
        CREATE OR REPLACE FUNCTION {DROP}(name text) RETURNS void {definer} AS $$
        BEGIN
            IF {_NOT_OURS} OR NOT EXISTS (
                SELECT FROM pg_inherits WHERE inhrelid = to_regclass(name)
            ) THEN
                RAISE EXCEPTION '% is no partition of aegisd''s', name;
            END IF;
            EXECUTE format('DROP TABLE %I', name);
        END
        $$
        """,
    ]


async def grant(connection: Any, schema: str, role: str) -> None:
    """Let a role do all that a daemon does. The transaction is the tables' owner's.

    ``schema`` is quoted already. Raises AegisdError where there is no such role.
    """
    if not await connection.fetchval("SELECT to_regrole(quote_ident($1)) IS NOT NULL", role):
        raise AegisdError(f"there is no role {role}; make it first: CREATE ROLE … LOGIN")
    to = await connection.fetchval("SELECT quote_ident($1)", role)
    tables = await connection.fetch(
        "SELECT quote_ident(relname), relname FROM pg_class"
        " WHERE relnamespace = to_regnamespace($1) AND relname = ANY ($2)",
        schema,
        list(TABLES),
    )
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    statements = [
        f"GRANT USAGE ON SCHEMA {schema} TO {to}",
        f"GRANT TEMPORARY ON DATABASE {database} TO {to}",  # to sift rows that Postgres refuses
        *(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {to}" for table, _ in tables),
        *_functions(schema),
    ]
    for function in (f"{MAKE}(text, text, timestamptz, timestamptz)", f"{DROP}(text)"):
        statements += [
            f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC",
            f"GRANT EXECUTE ON FUNCTION {function} TO {to}",
        ]
    if await connection.fetchval("SELECT current_setting('server_version_num')::int") >= (
        _MAINTAIN_FROM
    ):
        pieces = ", ".join(kind.pieces_table for kind in ROLLUP_KINDS)
        statements.append(f"GRANT MAINTAIN ON {pieces} TO {to}")
    for statement in statements:
        await connection.execute(statement)

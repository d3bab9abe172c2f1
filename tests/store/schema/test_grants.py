"""A role that does not own the tables gets none of the owner's other rights."""

import asyncpg
import pytest
from store.cluster import bounded
from store.databases import ask, database

OF_A_TABLE_OF_THEIRS = """
    DO $do$
    BEGIN
        CREATE TEMPORARY TABLE {table} (x int);
        CREATE FUNCTION pg_temp.tell(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            IF current_user <> session_user THEN
                RAISE EXCEPTION 'ran as %', current_user;
            END IF;
            RETURN 1;
        END
        $$;
        GRANT ALL ON {table} TO PUBLIC;
        CREATE INDEX ON {table} ((x + pg_temp.tell(1)));
        PERFORM aegisd.aegisd_make_partition(
            '{table}', 'request_metrics_20300101', '2030-01-01', '2030-01-02'
        );
    END
    $do$
"""


@bounded
@pytest.mark.parametrize("table", ["request", "request_metrics"])
async def test_role_cannot_run_code_as_owner_by_a_table_of_its_own(dsn: str, table: str) -> None:
    role = f"granted_{dsn.partition('/test_')[2].partition('?')[0]}"
    await ask(dsn, f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    try:
        poor = dsn.replace(dsn.partition("//")[2].partition("@")[0], f"{role}:pw")
        async with database(dsn) as postgres:
            await postgres.prepare()
            await postgres.grant(role)
        await ask(dsn, "ALTER TABLE request_metrics RENAME TO moved_away")
        with pytest.raises(asyncpg.RaiseError, match="is no name of a partition"):
            await ask(poor, OF_A_TABLE_OF_THEIRS.format(table=table))
    finally:
        await ask(dsn, f"DROP OWNED BY {role}")
        await ask(dsn, f"DROP ROLE {role}")

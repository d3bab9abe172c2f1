"""The embedded Postgres, with real processes: what it is, and who can connect."""

import os
import re
import stat
from pathlib import Path

import asyncpg
import pytest
import trio_asyncio
from store.cluster import (
    UNDER_ROOT,
    bounded,
    holder,
    internet_sockets_of,
    postmaster_pid,
    psql,
    query,
    sockets_of,
)

from aegisd.errors import AegisdError
from aegisd.store.embedded.cluster import embedded_postgres


@bounded
async def test_first_start_makes_cluster_with_database_in_utf8(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        sql = "select current_user, current_database(), current_setting('server_encoding')"
        assert await query(dsn, sql) == "aegisd|aegisd|UTF8"
        assert await query(dsn, "select datcollate from pg_database") == "C\nC\nC\nC"
    assert postmaster_pid(state) is None


@bounded
async def test_dsn_connects_asyncpg_whatever_pg_variables_say(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGPASSFILE"):
        monkeypatch.setenv(name, "1")
    async with embedded_postgres(state / "a b%c+d:e") as dsn, trio_asyncio.open_loop():
        connection = await trio_asyncio.aio_as_trio(asyncpg.connect)(dsn)
        assert await trio_asyncio.aio_as_trio(connection.fetchval)("select 1") == 1
        await trio_asyncio.aio_as_trio(connection.close)()


@bounded
async def test_data_is_there_after_a_restart(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        await query(dsn, "create table kept as select 42 as answer")
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select answer from kept") == "42"


@bounded
async def test_server_has_fsync_on_and_jit_off(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        for name, value in (("fsync", "on"), ("full_page_writes", "on"), ("jit", "off")):
            assert await query(dsn, f"show {name}") == value


@bounded
async def test_files_are_closed_to_other_users(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        root = state / "postgres"
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (root, *root.iterdir())}
        assert modes == {
            "postgres": 0o711 if UNDER_ROOT else 0o700,
            "data": 0o700,
            "lock": 0o600,
            "passfile": 0o600,
            "log": 0o600,
        }
        assert (root / "passfile").stat().st_uid == os.geteuid()
        password = (root / "passfile").read_text().strip().rpartition(":")[2]
        assert len(password) >= 32
        assert f":{password}@" in dsn
        assert password not in (root / "log").read_text()
        assert ((root / "data").stat().st_uid == 0) is False


@bounded
async def test_server_has_no_internet_socket(state: Path) -> None:
    async with embedded_postgres(state):
        pid = postmaster_pid(state)
        assert pid is not None
        assert sockets_of(pid)
        assert not sockets_of(pid) & internet_sockets_of(pid)


@bounded
async def test_wrong_password_is_refused(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        wrong = re.sub(":[^:@]+@", ":wrong@", dsn)
        done = await psql(wrong, "select 1")
        assert done.returncode != 0
        assert b"password authentication failed" in done.stderr


@bounded
async def test_psql_connects_with_the_passfile_and_not_without(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        bare = re.sub(":[^:@]+@", "@", dsn)
        assert (await psql(bare, "select 1")).returncode != 0
        assert await query(f"{bare}&passfile={state / 'postgres/passfile'}", "select 1") == "1"


@bounded
async def test_second_daemon_is_refused_and_the_first_goes_on(state: Path) -> None:
    async with holder(state) as (process, dsn):
        with pytest.raises(AegisdError, match=rf"pid {process.pid}: stop that one") as caught:
            async with embedded_postgres(state):
                pass
        assert "\n" not in str(caught.value)
        assert await query(dsn, "select 1") == "1"

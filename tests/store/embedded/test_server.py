"""The server process after kills, cancellations and failures: adopted, restarted, stopped."""

import os
import signal
import sys
from pathlib import Path

import pytest
import trio
from store.cluster import (
    HOLDER,
    PROJECT,
    UNDER_ROOT,
    bounded,
    holder,
    kill,
    names_matching,
    postgres_processes,
    postmaster_pid,
    psql,
    query,
    wait_until_gone,
)
from structlog.testing import capture_logs

from aegisd.store.embedded import server
from aegisd.store.embedded.cluster import embedded_postgres


@bounded
async def test_postgres_of_a_killed_daemon_is_adopted(state: Path) -> None:
    async with holder(state) as (process, dsn):
        await query(dsn, "create table kept as select 42 as answer")
        pid = postmaster_pid(state)
        await kill(process)
    async with embedded_postgres(state) as dsn:
        assert postmaster_pid(state) == pid
        assert await query(dsn, "select answer from kept") == "42"
    assert postmaster_pid(state) is None


@bounded
async def test_orphan_with_other_settings_is_restarted(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with holder(state) as (process, _):
        pid = postmaster_pid(state)
        await kill(process)
    monkeypatch.setitem(server.SETTINGS, "max_connections", "13")
    async with embedded_postgres(state) as dsn:
        assert postmaster_pid(state) != pid
        assert await query(dsn, "show max_connections") == "13"


@bounded
async def test_killed_daemon_and_postgres_recover_all_data(state: Path) -> None:
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
async def test_postgres_that_dies_is_started_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WATCH_POLL_SECONDS", 0.1)
    with capture_logs() as logs:
        async with embedded_postgres(state) as dsn:
            await query(dsn, "create table kept as select 42 as answer")
            for deaths in (1, 2):
                died = postmaster_pid(state)
                assert died is not None
                os.kill(died, signal.SIGKILL)
                while (await psql(dsn, "select 1")).returncode or postmaster_pid(state) == died:
                    await trio.lowlevel.checkpoint()
                assert await query(dsn, "select answer from kept") == "42"
                lines = [line["event"] for line in logs]
                assert lines == ["the embedded Postgres has died, it is started again"] * deaths
    assert postmaster_pid(state) is None


@bounded
async def test_failed_restart_is_tried_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WATCH_POLL_SECONDS", 0.1)
    monkeypatch.setattr(server, "RESTART_PAUSE_SECONDS", 0.1)
    with capture_logs() as logs:
        async with embedded_postgres(state) as dsn:
            configuration = state / "postgres/data/postgresql.conf"
            good = configuration.read_bytes()
            configuration.write_bytes(good + b"\nwork_mem = nonsense\n")
            died = postmaster_pid(state)
            assert died is not None
            os.kill(died, signal.SIGKILL)
            while not any("can't be started" in line["event"] for line in logs):
                await trio.lowlevel.checkpoint()
            configuration.write_bytes(good)
            while (await psql(dsn, "select 1")).returncode:
                await trio.lowlevel.checkpoint()
    assert any("contains errors" in line.get("why", "") for line in logs)


@bounded
async def test_start_waits_for_busy_child_of_a_killed_postgres(state: Path) -> None:
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
            await wait_until_gone(pid)
        async with embedded_postgres(state) as dsn:
            assert await query(dsn, "select 1") == "1"
    assert "still in use" in (state / "postgres/log").read_text()


@bounded
async def test_stale_pidfile_with_pid_of_another_process_hinders_no_start(
    state: Path,
) -> None:
    async with embedded_postgres(state):
        data = state / "postgres/data"
        owner = data.stat()
        files = [data / "postmaster.pid", data / ".s.PGSQL.5432.lock"]
        texts = [file.read_text() for file in files]
    # Postgres refuses to start where a process of its own account has the pid: this one must be.
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
async def test_killed_initdb_leaves_no_data_and_is_swept_later(state: Path) -> None:
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", HOLDER, str(state)],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        nursery.start_soon(process.wait)
        while not names_matching(state, "data-*.new/data/PG_VERSION"):
            await trio.lowlevel.checkpoint()
        process.kill()
    assert not (state / "postgres/data").exists()
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select 1") == "1"
    async with embedded_postgres(state):
        assert not names_matching(state, "*.new")


@bounded
async def test_cancelled_first_start_leaves_no_server_and_can_be_repeated(state: Path) -> None:
    with trio.move_on_after(0.3) as scope:
        async with embedded_postgres(state):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert postmaster_pid(state) is None
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select 1") == "1"


@bounded
async def test_start_cancelled_during_pg_ctl_leaves_no_server(state: Path) -> None:
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
        await wait_until_gone(pid)


@bounded
async def test_server_that_does_not_stop_in_time_is_stopped_at_once_and_recovers(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FAST_STOP_SECONDS", 1.0)
    async with embedded_postgres(state) as dsn:
        await query(dsn, "create table kept as select 42 as answer")
        sql = "select pid from pg_stat_activity where backend_type = 'checkpointer'"
        os.kill(int(await query(dsn, sql)), signal.SIGSTOP)
    assert postmaster_pid(state) is None
    async with embedded_postgres(state) as dsn:
        assert await query(dsn, "select answer from kept") == "42"


@bounded
async def test_error_in_the_body_stops_the_server_and_is_raised(state: Path) -> None:
    with pytest.raises(OSError, match="of the caller"):
        async with embedded_postgres(state):
            raise OSError("of the caller")
    assert postmaster_pid(state) is None


@bounded
async def test_server_has_its_own_session_and_no_lock(state: Path) -> None:
    async with embedded_postgres(state):
        pid = postmaster_pid(state)
        assert pid is not None
        assert os.getsid(pid) != os.getsid(0)
        held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert str(state / "postgres/lock") not in held


@bounded
async def test_server_gets_nothing_of_our_environment(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("SOME_SECRET", "secret")
    async with embedded_postgres(state):
        environment = await trio.Path(f"/proc/{postmaster_pid(state)}/environ").read_bytes()
        assert b"SECRET" not in environment
        assert b"PGPORT" not in environment

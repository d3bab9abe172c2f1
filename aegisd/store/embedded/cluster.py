"""An embedded Postgres: a private cluster in the state directory that lives as long as the daemon.

Theory of operation. Everything lies in ``<state>/postgres``:

    lock          held with flock while a daemon uses the directory; its text is the holder's pid
    passfile      the superuser's password, as libpq reads it
    data/         the cluster, and in it the Unix socket: who can't enter can't connect
    log, log.1    what Postgres prints
    server-*/     a copy of the programs, made only where the installed ones are out of reach
    *.new/        something half-made: renamed when whole, swept at the next start after a kill

Under root, Postgres runs as an account (see ``programs``) that owns ``data`` and ``log``, while
the lock, the passfile and the copied programs stay with root.

A start finds no Postgres, and starts it; or one that a killed daemon left behind, and adopts it if
it is just what we would have started. One with other programs or settings, or half-way up or down,
is stopped first. One that dies while we run is started again. The way out always stops it.
"""

import fcntl
import os
import secrets
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

import structlog
import trio

from aegisd.errors import AegisdError
from aegisd.store.embedded.programs import GRACE, Programs, publish, reason
from aegisd.threads import in_thread

NAME = "aegisd"  # of the superuser and of the database
PORT = 5432  # there is no TCP: it only names the socket's file
SOCKET_PATH_LIMIT = 107  # bytes: sun_path of unix(7) holds 108, the last one is a NUL
LOG_LIMIT = 8 * 2**20  # bytes; a larger log becomes log.1 at the next start

START_LIMIT = 600.0  # must outlast crash recovery: to give up half-way is to start it all over
FAST_STOP_LIMIT = 45.0  # one checkpoint; with the next one below systemd's 90 s until SIGKILL
IMMEDIATE_STOP_LIMIT = 15.0  # no checkpoint: the next start recovers
ORPHANS_LIMIT = 30.0  # for the processes of a killed Postgres to notice that it's gone
ORPHANS_POLL = 0.2
APPEARS_LIMIT = 1.0  # a Postgres that was started writes its pid within a tenth of that
APPEARS_POLL = 0.02
WATCH_POLL = 1.0  # a look costs two small reads
RESTART_PAUSE = 10.0  # after a start that failed

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

log = structlog.get_logger()


@asynccontextmanager
async def embedded_postgres(state: Path) -> AsyncIterator[str]:
    """Run the Postgres of a state directory, made at its first use; yield its DSN for asyncpg.

    The DSN is a secret: it holds the password, since PGPASSWORD would win over a passfile.

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
                dsn = cluster.dsn()
            failure: Exception | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cluster.keep_up)
                try:
                    yield dsn
                except Exception as error:
                    failure = error  # raised outside, or the nursery would wrap it in a group
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            await cluster.stop()


def dsn_of(state: Path) -> str:
    """The DSN of the Postgres that a daemon runs in a state directory; it may not run now.

    Raises AegisdError where there is none.
    """
    cluster = _Cluster(state)
    with cluster.operator_line():
        return cluster.dsn()


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
        self.programs = Programs(self.root)
        settings = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
        self.options = ["-p", str(PORT), "-k", str(self.data), *settings]

    def dsn(self) -> str:
        """Where the cluster is; the password in it."""
        password = self.passfile.read_text().strip().rpartition(":")[2]
        # The port is named lest PGPORT in our environment makes it another socket.
        place = f"host={quote(str(self.data))}&port={PORT}"
        return f"postgresql://{NAME}:{quote(password)}@/{NAME}?{place}"

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

    async def pg_ctl(self, action: str, *args: str, limit: float) -> tuple[bool, str]:
        place = ("-D", str(self.data), "-w", "-t", f"{limit:.0f}")
        return await self.programs.run("pg_ctl", action, *place, *args, limit=limit + GRACE)

    async def prepare(self) -> None:
        """Find the account, the programs and the data; make what's missing."""
        await in_thread(self._tidy)
        ours = await self.programs.make_usable()
        if not self.data.exists():
            await self._make()
        theirs = (self.data / "PG_VERSION").read_text().strip()
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
        self.programs.choose_account(self.data)

    async def _make(self) -> None:
        """Make the cluster with its database, all or nothing."""
        new = await in_thread(self._make_room)
        data = str(new / "data")
        initdb = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={NAME}")
        made, said = await self.programs.run(
            "initdb", *initdb, f"--pwfile={new / 'password'}", "-D", data
        )
        if made:
            # The single-user mode needs neither socket nor password, and ends with a checkpoint.
            single = ("--single", "-D", data, "-c", "exit_on_error=on", "template1")
            made, said = await self.programs.run(
                "postgres", *single, stdin=f"CREATE DATABASE {NAME}\n"
            )
        if not made:
            raise AegisdError(f"can't make the embedded Postgres in {self.data}: {reason(said)}")
        await in_thread(publish, new / "data", self.data)
        await in_thread(shutil.rmtree, new)

    def _make_room(self) -> Path:
        # A fresh name: the initdb of a daemon that was killed may still write to an older one.
        new = Path(tempfile.mkdtemp(prefix="data-", suffix=".new", dir=self.root))
        password = secrets.token_urlsafe()
        # Stored before there is a cluster, which is lost without it. Under root, the account may
        # not read this file, so it gets one of its own.
        _write_private(self.passfile, f"*:*:*:{NAME}:{password}\n")
        _write_private(new / "password", f"{password}\n")
        for path in (new, new / "password"):
            self.programs.give(path)
        return new

    async def start(self) -> None:
        """Have Postgres serve the data: adopt one that runs, or start it."""
        command = [str(self.programs.folder / "postgres"), "-D", str(self.data), *self.options]
        if self._postmaster() == (command, "ready"):
            return
        await self.stop()
        offset = await in_thread(self._clear_way)
        give_up = trio.current_time() + ORPHANS_LIMIT
        options = ("-l", str(self.log), "-o", shlex.join(self.options))
        while not (outcome := await self._started(*options))[0]:
            tail = (await trio.Path(self.log).read_bytes())[offset:].decode(errors="replace")
            why = reason(tail or outcome[1])
            # The children of a killed Postgres end as soon as they notice.
            if "still in use" not in why or trio.current_time() > give_up:
                raise AegisdError(f"Postgres in {self.data} does not start: {why}")
            await trio.sleep(ORPHANS_POLL)

    async def _started(self, *options: str) -> tuple[bool, str]:
        """What pg_ctl says of a start; when cancelled, whoever stops Postgres can find it then."""
        try:
            return await self.pg_ctl("start", *options, limit=START_LIMIT)
        except trio.Cancelled:
            # pg_ctl may have ended before it could hand the signal on to what it had just started
            with trio.CancelScope(shield=True), trio.move_on_after(APPEARS_LIMIT):
                while self._postmaster() is None:  # noqa: ASYNC110 # another process makes it
                    await trio.sleep(APPEARS_POLL)
            raise

    async def keep_up(self) -> None:
        """Start Postgres again whenever it has died."""
        while True:
            await trio.sleep(WATCH_POLL)
            if self._postmaster() is not None:
                continue
            log.error("the embedded Postgres has died, it is started again", log=str(self.log))
            try:
                with self.operator_line():
                    await self.start()
            except AegisdError as error:
                log.error("the embedded Postgres can't be started", why=str(error))
                await trio.sleep(RESTART_PAUSE)

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
        self.programs.remove_old_copies()
        self.log.touch(mode=0o600)
        if self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".1"))
            self.log.touch(mode=0o600)
        self.programs.give(self.log)
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
                raise AegisdError(f"Postgres in {self.data} does not stop: {reason(said)}")


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # an old file would keep its mode
    with open(path, "w", opener=partial(os.open, mode=0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


EMBEDDED = "embedded"

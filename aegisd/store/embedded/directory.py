"""The directory of the embedded Postgres: its files, its lock, its password, its making.

Everything is in ``<state>/postgres``:

    lock          held with flock while a daemon uses the directory; its text is the holder's pid
    passfile      the superuser's password, as libpq reads it
    data/         the cluster, and in it the Unix socket: who can't enter can't connect
    log, log.1    the output of Postgres
    server-*/     a copy of the programs, made only where the installed ones are out of reach
    *.new/        half-made: renamed when whole, removed at the next start after a kill

Under root, Postgres runs as another account (see ``programs``). That account owns ``data`` and
``log``; the lock, the passfile and the copied programs stay with root.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

from aegisd.errors import AegisdError
from aegisd.store.embedded.programs import Programs, publish, reason
from aegisd.threads import in_thread

NAME = "aegisd"  # of the superuser and of the database
PORT = 5432  # it only names the socket's file: there is no TCP
SOCKET_PATH_BYTES = 107  # sun_path of unix(7) holds 108, the last one is a NUL
MAX_LOG_BYTES = 8 * 2**20  # a larger log becomes log.1 at the next start


class Directory:
    """The files of one cluster, and the programs that serve it."""

    def __init__(self, state: Path) -> None:
        self.root = Path(os.path.realpath(state)) / "postgres"
        self.data, self.log, self.passfile = map(self.root.joinpath, ("data", "log", "passfile"))
        socket = os.fsencode(self.data / f".s.PGSQL.{PORT}")
        excess = len(socket) - SOCKET_PATH_BYTES
        if excess > 0 or b"," in socket:  # a comma would separate two hosts
            raise AegisdError(
                f"the state directory {state} can't hold the socket of Postgres: "
                f"use one {max(0, excess)} bytes shorter and without commas"
            )
        self.programs = Programs(self.root)

    def dsn(self) -> str:
        """The DSN for asyncpg. It is a secret: it holds the password."""
        password = self.passfile.read_text().strip().rpartition(":")[2]
        # The port is named, as PGPORT in our environment would make it another socket.
        place = f"host={quote(str(self.data))}&port={PORT}"
        return f"postgresql://{NAME}:{quote(password)}@/{NAME}?{place}"

    @contextmanager
    def os_errors_explained(self) -> Iterator[None]:
        """Raise AegisdError, with one line for the operator, for an OSError."""
        try:
            yield
        except OSError as error:
            raise AegisdError(f"embedded Postgres can't use {self.root}: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process alone; it is made if it is not there."""
        with self.os_errors_explained():
            self.root.mkdir(parents=True, exist_ok=True)
            # Python opens files close-on-exec: no Postgres holds the lock after we die.
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

    async def prepare(self) -> None:
        """Find the account, the programs and the data; make what is missing."""
        await in_thread(self._tidy)
        ours = await self.programs.make_usable()
        if not self.data.exists():
            await self._make_data()
        theirs = (self.data / "PG_VERSION").read_text().strip()
        if theirs != ours:
            raise AegisdError(
                f"{self.data} was made by Postgres {theirs}, but {ours} is installed: "
                f"install the aegisd that made it, or move {self.root} away to begin anew"
            )

    def clear_for_start(self) -> int:
        """Remove what would hinder a start, while nothing runs; return the log's length."""
        # Postgres does not start while another process of its account has the pid that a crash left
        # in these files. If a Postgres did run here unseen, its shared memory still keeps ours out.
        for stale in ("postmaster.pid", f".s.PGSQL.{PORT}.lock"):
            (self.data / stale).unlink(missing_ok=True)
        self.programs.remove_old_copies()
        self.log.touch(mode=0o600)
        if self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".1"))
            self.log.touch(mode=0o600)
        self.programs.give(self.log)
        return self.log.stat().st_size

    def _tidy(self) -> None:
        """Set the permissions, remove what is half-made, choose the account."""
        under_root = os.geteuid() == 0
        self.root.chmod(0o711 if under_root else 0o700)  # the account has to pass through
        for leftover in self.root.glob("*.new"):
            # An orphaned initdb may still write there: then it goes at a later start.
            shutil.rmtree(leftover, ignore_errors=True)
        self.programs.choose_account(self.data)

    async def _make_data(self) -> None:
        """Make the cluster with its database, whole or not at all."""
        new = await in_thread(self._make_new_folder)
        data = str(new / "data")
        initdb = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={NAME}")
        made, output = await self.programs.run(
            "initdb", *initdb, f"--pwfile={new / 'password'}", "-D", data
        )
        if made:
            # The single-user mode needs neither socket nor password, and ends with a checkpoint.
            single = ("--single", "-D", data, "-c", "exit_on_error=on", "template1")
            made, output = await self.programs.run(
                "postgres", *single, stdin=f"CREATE DATABASE {NAME}\n"
            )
        if not made:
            raise AegisdError(f"can't make the embedded Postgres in {self.data}: {reason(output)}")
        await in_thread(publish, new / "data", self.data)
        await in_thread(shutil.rmtree, new)

    def _make_new_folder(self) -> Path:
        # A fresh name: the initdb of a killed daemon may still write to an older one.
        new = Path(tempfile.mkdtemp(prefix="data-", suffix=".new", dir=self.root))
        password = secrets.token_urlsafe()
        # Stored before there is a cluster, which is lost without it. Under root, the account may
        # not read this file, so it gets one of its own.
        _write_private(self.passfile, f"*:*:*:{NAME}:{password}\n")
        _write_private(new / "password", f"{password}\n")
        for path in (new, new / "password"):
            self.programs.give(path)
        return new


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # an old file would keep its mode
    with open(path, "w", opener=partial(os.open, mode=0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

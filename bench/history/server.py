"""The measured Postgres: Debian's 15, started for the run, or one given by its DSN."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import trio
from attrs import frozen

from aegisd.store.database.postgres import Postgres, open_postgres
from bench.receiver import Failed

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
ACCOUNT = "postgres"
"""Postgres refuses to run as root."""

DSN = "AEGISD_BENCH_DSN"
SHARED_BUFFERS = "1GB"
START_SECONDS = 60
STOP_SECONDS = 60
SHOWN = (
    "server_version",
    "shared_buffers",
    "work_mem",
    "max_wal_size",
    "fsync",
    "synchronous_commit",
    "max_parallel_workers_per_gather",
)


@frozen
class Database:
    """A database with aegisd's schema: the daemon's own access to it, and a plain one."""

    dsn: str
    postgres: Postgres

    async def ask(self, *statements: str) -> list[tuple[Any, ...]]:
        """Execute statements one by one without a time limit; return the last one's rows."""
        return await _asked(self.dsn, *statements)

    async def vacuum(self) -> None:
        """Vacuum, as autovacuum would have done in time, and run a checkpoint."""
        tables = await self.ask(
            "SELECT format('%I', relname) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'aegisd'::regnamespace"
        )
        await self.ask(*(f"VACUUM (ANALYZE) {name}" for (name,) in tables), "CHECKPOINT")

    async def bytes(self, where: str) -> int:
        """Bytes of tables with their indexes and TOAST."""
        ((size,),) = await self.ask(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
            f" WHERE relkind = 'r' AND relnamespace = 'aegisd'::regnamespace AND {where}"
        )
        return int(size)


@frozen
class Server:
    """A server on which databases are created and dropped again."""

    dsn: str

    def settings(self) -> str:
        """The settings that matter here."""
        rows = asyncio.run(_ask(self.dsn, ["SELECT name, current_setting(name) FROM pg_settings"]))
        found = dict(rows)
        return ", ".join(f"{name} {found[name]}" for name in SHOWN)

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[Database]:
        """A new database with the schema, dropped at the end."""
        name = f"bench_{name}"
        await _asked(
            self.dsn,
            f"DROP DATABASE IF EXISTS {name}",
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
        )
        try:
            async with open_postgres(migrate=True, layout="auto", schema="aegisd") as postgres:
                postgres.dsn = urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))
                await postgres.prepare()
                yield Database(postgres.dsn, postgres)
        finally:
            with trio.CancelScope(shield=True):
                await _asked(self.dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def server(directory: Path) -> Iterator[Server]:
    """The server given by its DSN, else one started in ``directory``. Raises Failed."""
    if named := os.environ.get(DSN):
        yield Server(named)
        return
    if not (PROGRAMS / "postgres").exists():
        raise Failed(f"Postgres 15 is not at {PROGRAMS}; install it, or set {DSN}")
    account = ACCOUNT if os.geteuid() == 0 else None
    directory.chmod(0o755)
    home = directory / "postgres"
    home.mkdir()
    if account:
        shutil.chown(home, account)
    initdb = [PROGRAMS / "initdb", "-D", home / "data", "-U", ACCOUNT, "-A", "trust", "-E", "UTF8"]
    subprocess.run(
        [*initdb, "--no-locale"], user=account, cwd=home, stdout=subprocess.DEVNULL, check=True
    )
    options = {
        "shared_buffers": SHARED_BUFFERS,
        "listen_addresses": "",
        "unix_socket_directories": str(home),
    }
    command = [PROGRAMS / "postgres", "-D", home / "data"]
    with (directory / "postgres.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *command,
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            user=account,
            cwd=home,
            stdout=log,
            stderr=log,
        )
    try:
        found = Server(f"postgresql://{ACCOUNT}@/postgres?host={home}")
        _wait(found, process, directory / "postgres.log")
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def _wait(found: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            found.settings()
        except (OSError, asyncpg.PostgresError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"Postgres: {log.read_text(errors='replace').strip()}") from error
            time.sleep(0.1)
        else:
            return


async def _asked(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    return await trio.to_thread.run_sync(lambda: asyncio.run(_ask(dsn, statements)))


async def _ask(dsn: str, statements: Sequence[str]) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "aegisd, public"})
    try:
        rows: list[Any] = []
        for statement in statements:
            rows = await connection.fetch(statement)
        return [tuple(row) for row in rows]
    finally:
        await connection.close()

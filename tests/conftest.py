"""Fixtures that tests share: a real Postgres, databases in it, the daemon as a process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from support import Daemon, query, short_directory

from aegisd.store.embedded.cluster import embedded_postgres

# a free port for HTTP, so that daemons can run beside each other; quick to write
DAEMON_CONFIG = """
[ingest]
udp = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
[metrics]
flush_interval_ms = 200
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a cluster that all tests share, started once."""
    started: list[str] = []
    ready, done = threading.Event(), threading.Event()

    async def serve(state: Path) -> None:
        async with embedded_postgres(state) as dsn:
            started.append(dsn)
            ready.set()
            await trio.to_thread.run_sync(done.wait)

    def run(state: Path) -> None:
        try:
            trio.run(serve, state)
        finally:
            ready.set()

    with short_directory() as state:
        thread = threading.Thread(target=run, args=(state,))
        thread.start()
        ready.wait(120)
        assert started, "Postgres did not start"
        yield started[0]
        done.set()
        thread.join(120)


@pytest.fixture
def dsn(postgres: str) -> Iterator[str]:
    """The DSN of an empty database of the test's own."""
    name = f"test_{uuid4().hex}"
    asyncio.run(query(postgres, f"CREATE DATABASE {name}"))
    yield postgres.replace("/aegisd?", f"/{name}?")
    asyncio.run(query(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def make_daemon() -> Iterator[Callable[..., Daemon]]:
    """Makes daemons (not started yet), and ends them after the test."""
    made: list[tuple[Daemon, object]] = []

    def make(config: str = DAEMON_CONFIG, environment: dict[str, str] | None = None) -> Daemon:
        directory = short_directory()
        daemon = Daemon(directory.__enter__(), config, environment)
        made.append((daemon, directory))
        return daemon

    yield make
    for daemon, directory in made:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.stop()
        daemon.kill()
        directory.__exit__(None, None, None)


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A running daemon on an embedded Postgres of its own."""
    made = make_daemon()
    made.start()
    return made

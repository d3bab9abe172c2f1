"""What the system tests share: daemons on a database outside, and a line to it that breaks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define
from store.proxy import Proxy, proxied
from support import Daemon, query

CONFIG = """
[ingest]
udp = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
[metrics]
flush_interval_ms = 200
"""

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def make_storing(dsn: str, make_daemon: Callable[..., Daemon]) -> MakeStoring:
    """Makes daemons, not started yet, that store in a database of the test's own.

    ``config`` is put behind the usual one, capitals are keys as the environment names them.
    """

    def make(config: str = "", **keys: str) -> Daemon:
        environment = {f"AEGISD_{key}": value for key, value in keys.items()}
        return make_daemon(CONFIG + config, {"AEGISD_STORAGE__DSN": dsn, **environment})

    return make


@pytest.fixture
def storing(make_storing: MakeStoring) -> Daemon:
    """A running one."""
    daemon = make_storing()
    daemon.start()
    return daemon


@pytest.fixture
def rows(dsn: str) -> Rows:
    """Asks the test's own database."""
    return lambda sql, *args: asyncio.run(query(dsn, sql, *args))


@define
class Line:
    """A proxy to the database that runs beside the test."""

    dsn: str
    _proxy: Proxy
    _token: trio.lowlevel.TrioToken

    def stall(self) -> None:
        """Take bytes and connections, pass nothing on."""
        trio.from_thread.run_sync(self._proxy.stall, trio_token=self._token)

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        trio.from_thread.run_sync(self._proxy.cut, trio_token=self._token)

    def restore(self) -> None:
        trio.from_thread.run_sync(self._proxy.restore, trio_token=self._token)


@pytest.fixture
def line(dsn: str, directory: Path) -> Iterator[Line]:
    """A line to the test's own database."""
    made: list[Line] = []
    ready, done = threading.Event(), trio.Event()

    async def serve() -> None:
        async with proxied(dsn, directory) as proxy:
            made.append(Line(proxy.dsn, proxy, trio.lowlevel.current_trio_token()))
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            trio.run(serve)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(30)
    assert made, "the proxy did not start"
    yield made[0]
    trio.from_thread.run_sync(done.set, trio_token=made[0]._token)
    thread.join(30)

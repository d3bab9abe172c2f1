"""The web interface on a real socket, built by ``build``; upkeep, alerts and the tick don't run."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
import trio
import trio.testing
from attrs import define, evolve
from web.streams import WAIT_SECONDS, read_to_end, wait_until

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.daemon import Daemon, build
from aegisd.daemon.build import CONNECTIONS
from aegisd.ingest import Burst
from aegisd.web import MAX_CONNECTIONS

AWAY = "postgresql://nobody@/none?host=/nonexistent"
CONFIG = """
[metrics]
flush_interval_ms = 20
[dashboard.websocket]
update_interval_ms = 20
"""


@define
class Web:
    """A served port, and the daemon behind it."""

    port: int
    daemon: Daemon
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def process(self, *events: dict[str, Any]) -> None:
        """Give events to the intake, in one message."""
        self.process_messages(msgpack.packb(list(events)))

    def process_messages(self, *messages: bytes, oversize: int = 0) -> None:
        """Give messages to the intake as if they had come through the listener."""
        burst = Burst(list(messages), oversize=oversize)
        for _ in self.daemon.intake.process(self.daemon.listeners[0], burst):
            pass

    async def wait_for_rows(self, rows: int) -> None:
        """Wait until so many rows are committed."""
        await wait_until(lambda: self.daemon.storage.figures().rows >= rows)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def data(self, path: str) -> Any:
        """The data of an answer in the envelope."""
        response = await self.client.get(path)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        body = response.json()
        assert body.keys() - {"range"} == {"success", "data"}
        assert body["success"] is True
        return body["data"]

    async def raw(self, *chunks: bytes) -> bytes:
        """Send chunks over a new connection; return all that the server sends until it ends it."""
        stream = await self.connect()
        async with stream:
            for chunk in chunks:
                await stream.send_all(chunk)
                await trio.testing.wait_all_tasks_blocked(0.005)
            return await read_to_end(stream)

    async def connect(self, source: str = "127.0.0.1") -> trio.SocketStream:
        """Open a new connection, from one of loopback's addresses."""
        return await trio.open_tcp_stream("127.0.0.1", self.port, local_address=source)


Serving = Callable[..., AbstractAsyncContextManager[Web]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """Serve with a configuration and a database; ``wait`` waits until that can be used."""

    @asynccontextmanager
    async def serve(
        config: str = CONFIG, dsn: str = AWAY, *, wait: bool = True, room: int = MAX_CONNECTIONS
    ) -> AsyncIterator[Web]:
        (tmp_path / "aegisd.toml").write_text(config)
        settings = load(tmp_path / "aegisd.toml", {})
        ingest = evolve(settings.ingest, unix_datagram="", unix_stream="", udp="127.0.0.1:0")
        settings = evolve(
            settings, node="here", ingest=ingest, http=evolve(settings.http, listen="127.0.0.1:0")
        )
        directories = Directories(
            runtime=tmp_path / "run", state=tmp_path / "state", hostname="here"
        )
        limits = evolve(CONNECTIONS, http=room)
        async with (
            build(settings, directories, connections=limits) as daemon,
            trio.open_nursery() as nursery,
        ):
            (listener,) = daemon.datagrams
            daemon.postgres.dsn = dsn
            nursery.start_soon(daemon.storage.writer.run)
            nursery.start_soon(daemon.storage.sync.run)
            nursery.start_soon(listener.run)
            nursery.start_soon(daemon.hub.run)
            await nursery.start(trio.serve_listeners, daemon.server.connection, daemon.http)
            if wait and dsn != AWAY:
                with trio.fail_after(WAIT_SECONDS):
                    await daemon.storage.writer.ready.wait()
            url = daemon.addresses.http
            try:
                with trio.fail_after(2 * WAIT_SECONDS):
                    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
                        yield Web(int(url.rpartition(":")[2]), daemon, client)
            finally:
                nursery.cancel_scope.cancel()
                listener.finish(0)

    return serve

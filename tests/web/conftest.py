"""The web interface on a real socket, wired from real parts as the daemon does it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgpack
import pytest
import trio
import trio.testing
from attrs import define, evolve
from web.streams import WAIT_SECONDS, rest_of, until

from aegisd.alerts.archive import Archive
from aegisd.alerts.manager import Manager
from aegisd.config.load import Directories, load
from aegisd.daemon.losses import Losses
from aegisd.events.units import DAY_US
from aegisd.ingest import sockets
from aegisd.ingest.burst import Burst
from aegisd.ingest.datagram import DatagramListener
from aegisd.intake.intake import Intake
from aegisd.live.state import LiveState
from aegisd.store.database.postgres import open_postgres
from aegisd.store.history.exact import Exact
from aegisd.store.history.history import History
from aegisd.store.storage import open_storage
from aegisd.store.upkeep.maintenance import Maintainer
from aegisd.web.api import Api
from aegisd.web.context import Context
from aegisd.web.http.connections import MAX_CONNECTIONS, Connections
from aegisd.web.http.guard import Guard
from aegisd.web.http.server import Server
from aegisd.web.websocket import Hub
from aegisd.wire.decode import Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

AWAY = "postgresql://nobody@/none?host=/nonexistent"
CONFIG = """
[metrics]
flush_interval_ms = 20
[dashboard.websocket]
update_interval_ms = 20
"""


@define
class Web:
    """A served port, and the parts behind it."""

    port: int
    context: Context
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, *events: dict[str, Any]) -> None:
        """Give events to the intake, in one message."""
        self.take_messages(msgpack.packb(list(events)))

    def take_messages(self, *messages: bytes, oversize: int = 0) -> None:
        """Give messages to the intake as if they had come through the listener."""
        burst = Burst(list(messages), oversize=oversize)
        for _ in self.context.intake.take(self.context.listeners[0], burst):
            pass

    async def stored(self, rows: int) -> None:
        """Until so many rows are committed."""
        await until(lambda: self.context.storage.writer.figures.rows >= rows)

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

    async def raw(self, *pieces: bytes) -> bytes:
        """What comes back, until the server ends the connection, for bytes sent piece by piece."""
        stream = await self.connected()
        async with stream:
            for piece in pieces:
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked(0.005)
            return await rest_of(stream)

    async def connected(self) -> trio.SocketStream:
        """A connection of its own."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)


def clocks() -> tuple[float, float]:
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


T = TypeVar("T")

Serving = Callable[..., AbstractAsyncContextManager[Web]]


@asynccontextmanager
async def entered(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context manager beside asynchronous ones."""
    with manager as value:
        yield value


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """Serves with a configuration, the database ``dsn`` or away; once it is ready, or at once."""

    @asynccontextmanager
    async def serve(
        config: str = CONFIG, dsn: str = AWAY, *, wait: bool = True, room: int = MAX_CONNECTIONS
    ) -> AsyncIterator[Web]:
        (tmp_path / "aegisd.toml").write_text(config)
        settings = load(tmp_path / "aegisd.toml", {})
        settings = evolve(settings, node="here")
        directories = Directories(
            runtime=tmp_path / "run", state=tmp_path / "state", hostname="here"
        )
        async with (
            open_postgres(migrate=True) as postgres,
            entered(
                open_storage(settings, directories, postgres, settings.node, clocks)
            ) as storage,
            trio.open_nursery() as nursery,
        ):
            postgres.dsn = dsn
            wall, steady = clocks()
            live = LiveState(settings.paths.max_endpoints, wall, steady)

            def now() -> int:
                wall, steady = clocks()
                live.advance(wall, steady)
                return round(wall * 1_000_000)

            intake = Intake(
                Decoder(
                    settings.metrics.retention_days * DAY_US,
                    settings.privacy,
                    EndpointNamer(
                        templates=settings.paths.templates, patterns=settings.paths.patterns
                    ),
                ),
                settings.privacy,
                settings.metrics.enabled_metrics,
                live,
                storage.append,
                clocks,
            )
            bound = sockets.bind_udp("127.0.0.1:0")
            listener = DatagramListener(bound, sockets.address_of(bound), intake.take, ours=True)
            archive = Archive(postgres, settings.node)
            websocket = settings.dashboard.websocket
            hub = Hub(live, now, websocket)
            context = Context(
                settings=settings,
                node=settings.node,
                live=live,
                intake=intake,
                listeners=[listener],
                storage=storage,
                history=History(postgres, storage.backlog, settings.node),
                exact=Exact(postgres, storage.backlog, settings.node),
                archive=archive,
                upkeep=Maintainer(postgres, settings.metrics, clocks, archive),
                alerts=Manager(settings.alerts, live, archive, hub.announce, clocks),
                hub=hub,
                connections=Connections(room),
                losses=Losses(),
                now=now,
                clocks=clocks,
                started=(wall, steady),
            )
            server = Server(
                Api(context),
                hub,
                Guard(settings.http, websocket.allowed_origins),
                context.connections,
                websocket.path if websocket.enabled else None,
                None,
            )
            (http,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = http.socket.getsockname()[1]
            nursery.start_soon(storage.writer.run)
            nursery.start_soon(storage.sync.run)
            nursery.start_soon(listener.run)
            nursery.start_soon(hub.run)
            await nursery.start(trio.serve_listeners, server.connection, [http])
            if wait and dsn != AWAY:
                with trio.fail_after(WAIT_SECONDS):
                    await storage.writer.ready.wait()
            url = f"http://127.0.0.1:{port}"
            try:
                with trio.fail_after(2 * WAIT_SECONDS):
                    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
                        yield Web(port, context, client)
            finally:
                nursery.cancel_scope.cancel()
                listener.finish(0)

    return serve

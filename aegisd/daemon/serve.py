"""The daemon: the only place that wires the parts, as one straight line.

Start: sockets, store, live state, web, alerts, READY. A database that is away, or an embedded
one that still recovers, holds up none of it. Stop: intake first, then what waits is written
under a deadline, then the connections end.
"""

import gc
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Sequence

import structlog
import trio
from attrs import evolve

from aegisd import __version__
from aegisd.alerts import Archive, Manager
from aegisd.config.address import is_loopback, split_address
from aegisd.config.load import Directories
from aegisd.config.settings import Address, Http, Settings
from aegisd.daemon import systemd
from aegisd.daemon.descriptors import Shares, provide
from aegisd.daemon.losses import Losses, lost_so_far
from aegisd.errors import AegisdError
from aegisd.events.units import DAY_US, SECOND_US
from aegisd.ingest import MAX_CONNECTIONS as STREAM_CONNECTIONS
from aegisd.ingest import DatagramListener, Sockets, StreamListener, address_of
from aegisd.intake import Acknowledger, Intake
from aegisd.live import LiveState
from aegisd.store.database import Postgres, open_postgres
from aegisd.store.embedded import EMBEDDED, embedded_postgres
from aegisd.store.history import Exact, History
from aegisd.store.storage import Storage, open_storage
from aegisd.store.upkeep import Maintainer
from aegisd.store.write import Writer
from aegisd.web.api import Api
from aegisd.web.context import Context
from aegisd.web.http.connections import MAX_CONNECTIONS as HTTP_CONNECTIONS
from aegisd.web.http.connections import Connections
from aegisd.web.http.guard import Guard
from aegisd.web.http.server import Server
from aegisd.web.websocket import Hub
from aegisd.wire import Decoder, EndpointNamer

LISTENERS = frozenset({"unix_datagram", "unix_stream", "udp", "http"})
"""What systemd may hand a socket over for, by the names of the settings."""

DRAIN_SECONDS = 1.0  # for UDP senders that don't stop
LAST_FLUSH_SECONDS = 30.0
LAST_SAVE_SECONDS = 5.0
TICK_SECONDS = 1.0
SWITCH_SECONDS = 0.001
"""How long the loop waits for a thread that lays rows out (by default five times as long)."""


log = structlog.get_logger()


def clocks() -> tuple[float, float]:
    """Wall time in seconds since 1970, and a steady time that also runs while asleep."""
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


async def run(settings: Settings, directories: Directories) -> None:
    """Run until a signal stops the daemon. Raises AegisdError where it can't start."""
    stop, node = trio.Event(), directories.expand(settings.node)
    wall, steady = clocks()
    handed = systemd.take_sockets(LISTENERS, os.environ)
    settings = evolve(settings, http=_as_handed(settings.http, handed.get("http")))
    async with trio.open_nursery() as everything:
        await everything.start(_watch_signals, stop, everything.cancel_scope)
        stored = settings.storage
        async with open_postgres(
            migrate=stored.migrate, layout=stored.layout, schema=stored.schema
        ) as postgres:
            live = LiveState(settings.paths.max_endpoints, wall, steady)

            def now() -> int:
                wall, steady = clocks()
                live.advance(wall, steady)
                return round(wall * SECOND_US)

            with (
                open_storage(settings, directories, postgres, node, clocks) as storage,
                Sockets() as bound,
            ):
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
                acknowledger = Acknowledger(intake, storage)
                shares = provide(Shares(STREAM_CONNECTIONS, HTTP_CONNECTIONS))
                listeners, streams = bound.listen(
                    settings.ingest,
                    directories,
                    handed,
                    intake.take,
                    acknowledger.take,
                    shares.stream,
                )
                http = await _http_listeners(settings.http, handed)
                archive = Archive(postgres, node)
                hub = Hub(live, now, settings.dashboard.websocket)
                manager = Manager(settings.alerts, live, archive, hub.announce, clocks)
                context = Context(
                    settings=settings,
                    node=node,
                    live=live,
                    intake=intake,
                    listeners=[*listeners, *streams],
                    storage=storage,
                    history=History(postgres, storage.backlog, node),
                    exact=Exact(postgres, storage.backlog, node),
                    archive=archive,
                    upkeep=Maintainer(postgres, settings.metrics, clocks, archive),
                    alerts=manager,
                    hub=hub,
                    connections=Connections(shares.http),
                    losses=Losses(),
                    now=now,
                    clocks=clocks,
                    started=(wall, steady),
                )
                server = _server(settings, context, hub)

                async with trio.open_nursery() as background:
                    written = trio.Event()
                    start = background.start_soon
                    start(_database, settings.storage.dsn, directories, postgres, storage, written)
                    start(context.upkeep.run, storage.writer.ready)
                    start(storage.sync.run)
                    start(_tick, context)
                    start(hub.run)
                    if settings.alerts.enabled:
                        start(manager.run, storage.writer.ready)
                    await background.start(trio.serve_listeners, server.connection, http)

                    async with trio.open_nursery() as taking:
                        taking.start_soon(acknowledger.run)
                        for listener in context.listeners:
                            taking.start_soon(listener.run)
                        await _say_ready(settings.http, bound, context.listeners, http)
                        await stop.wait()
                        systemd.notify("STOPPING=1")
                        context.stopping = True
                        taking.cancel_scope.cancel()

                    _take_the_rest(bound, listeners)
                    await _write_the_rest(storage, written)
                    await _save_alerts(manager, storage.writer)
                    postgres.close()
                    background.cancel_scope.cancel()
        everything.cancel_scope.cancel()
    log.info("stopped")


async def _watch_signals(
    stop: trio.Event,
    everything: trio.CancelScope,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP:
                log.warning("the configuration can't be reloaded yet; restart to apply it")
            elif stop.is_set():
                log.warning("stopping at once, what waits is not written", signal=name)
                everything.cancel()
            else:
                log.info("stopping", signal=name)
                stop.set()


async def _database(
    dsn: str, directories: Directories, postgres: Postgres, storage: Storage, written: trio.Event
) -> None:
    """The database for as long as the daemon runs, and the writing to it."""
    if dsn == EMBEDDED:
        async with embedded_postgres(directories.state) as private:
            await _write(private, postgres, storage, written)
    else:
        await _write(dsn, postgres, storage, written)


async def _write(dsn: str, postgres: Postgres, storage: Storage, written: trio.Event) -> None:
    postgres.dsn = dsn
    await storage.writer.run()
    written.set()
    await trio.sleep_forever()  # the last reads and alerts still need the database


def _take_the_rest(bound: Sockets, listeners: list[DatagramListener]) -> None:
    """Take what the sockets hold, and close them."""
    bound.remove_files()
    for listener in listeners:
        listener.finish(DRAIN_SECONDS)


async def _write_the_rest(storage: Storage, written: trio.Event) -> None:
    """Write what waits, while the database takes it; the journal has it in any case."""
    storage.writer.stop()
    with trio.move_on_after(LAST_FLUSH_SECONDS if storage.writer.figures.connected else 0):
        await written.wait()
    if storage.backlog.events:
        log.info("events wait in the journal for the next start", waiting=storage.backlog.events)
    if storage.backlog.figures.error is not None:
        why = storage.backlog.figures.error
        log.error("events that came while the journal could not be written are lost", why=why)
    await storage.sync.once()


async def _save_alerts(manager: Manager, writer: Writer) -> None:
    with trio.move_on_after(LAST_SAVE_SECONDS):
        if writer.figures.connected:
            await manager.synchronize()


async def _tick(context: Context) -> None:
    """Keep the live state at now, also while nothing comes; tell what is lost."""
    while True:
        context.now()
        _, steady = context.clocks()
        context.intake.sources.forget(int(steady))
        context.storage.marks.forget(steady)
        lost = lost_so_far(context.listeners, context.intake, context.storage)
        context.losses.tell(lost, steady)
        await trio.sleep(TICK_SECONDS)


def _as_handed(settings: Http, handed: socket.socket | None) -> Http:
    """The settings with the address of systemd's socket, which keeps the rule for our own."""
    if handed is None:
        return settings
    address = address_of(handed).removeprefix("tcp:")
    if not settings.tokens and not is_loopback(split_address(address)[0]):
        raise AegisdError(
            f"systemd's http socket listens on {address}: without http.tokens only loopback "
            "may be listened on"
        )
    return evolve(settings, listen=Address(address))


async def _http_listeners(
    settings: Http, handed: dict[str, socket.socket]
) -> list[trio.SocketListener]:
    if "http" in handed:
        return [trio.SocketListener(trio.socket.from_stdlib_socket(handed["http"]))]
    host, port = split_address(settings.listen)
    try:
        return list(await trio.open_tcp_listeners(port, host=host))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AegisdError(
            f"can't listen on http {settings.listen}: {reason}; "
            "stop the process that holds it (ss -tlnp), or set http.listen"
        ) from None


def _server(settings: Settings, context: Context, hub: Hub) -> Server:
    websocket = settings.dashboard.websocket
    return Server(
        Api(context),
        hub,
        Guard(settings.http, websocket.allowed_origins),
        context.connections,
        websocket.path if websocket.enabled else None,
        _tls(settings.http),
    )


def _tls(settings: Http) -> ssl.SSLContext | None:
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise AegisdError(
            f"can't use http.tls_certificate {settings.tls_certificate}: {error}"
        ) from None
    return context


async def _say_ready(
    settings: Http,
    bound: Sockets,
    listeners: Sequence[DatagramListener | StreamListener],
    http: list[trio.SocketListener],
) -> None:
    # By now _database has run up to its first wait, and failed where the state directory is in
    # use or the embedded Postgres is not installed: that ends us here, before we say READY.
    await trio.lowlevel.checkpoint()
    scheme = "https" if settings.tls_certificate else "http"
    host, port = http[0].socket.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info(
        "ready",
        version=__version__,
        listens=" ".join(listener.address for listener in listeners),
        page=f"{scheme}://{shown}:{port}/",
    )
    bound.tell_small_buffers()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what the start has made stays: collecting must not look through it again
    systemd.notify("READY=1")


async def migrate(settings: Settings, directories: Directories, role: str | None) -> None:
    """Bring the database's schema up to this version, and let ``role`` use it.

    Raises AegisdError.
    """

    async def at(dsn: str) -> None:
        postgres.dsn = dsn
        await postgres.prepare()
        if role is not None:
            await postgres.grant(role)
        postgres.close()

    stored = settings.storage
    async with open_postgres(migrate=True, layout=stored.layout, schema=stored.schema) as postgres:
        if stored.dsn == EMBEDDED:
            async with embedded_postgres(directories.state) as dsn:
                await at(dsn)
        else:
            await at(stored.dsn)

"""Builds a daemon from its configuration: the only place that knows all parts.

``build`` opens what a daemon holds (the journal, the sockets, the loop that asyncpg runs in) and
gives a ``Daemon``. No task runs before ``serve``. All is closed when the ``async with`` ends.
"""

import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from socket import socket

import trio
from attrs import define, evolve, field, frozen

from aegisd import __version__
from aegisd.alerts import AlertTable, Manager, Silences
from aegisd.config.directories import Directories
from aegisd.config.settings import EnabledMetrics, Settings
from aegisd.daemon import http_port
from aegisd.daemon.descriptors import Shares, provide
from aegisd.daemon.health import Health
from aegisd.events.protocol import BACKEND, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.events.units import DAY_US, SECOND_US
from aegisd.ingest import MAX_CONNECTIONS as STREAM_CONNECTIONS
from aegisd.ingest import DatagramListener, Sockets, StreamListener
from aegisd.intake import Acknowledger, Intake
from aegisd.live import LiveState, Overview
from aegisd.store.database import Postgres, open_postgres
from aegisd.store.history import ExactHistory, History
from aegisd.store.storage import Storage, open_storage
from aegisd.store.upkeep import Maintainer, kept_from
from aegisd.web import MAX_CLIENTS as WEBSOCKET_CLIENTS
from aegisd.web import MAX_CONNECTIONS as HTTP_CONNECTIONS
from aegisd.web import (
    AlertAnswers,
    Api,
    Connections,
    Cors,
    Costly,
    DaemonAnswers,
    DaemonFigures,
    Fitting,
    Guard,
    HistoryAnswers,
    Hub,
    Kept,
    LiveAnswers,
    PageAnswers,
    Server,
    SessionAnswers,
    SilenceAnswers,
    routes,
)
from aegisd.wire import Decoder, EndpointNamer

CONNECTIONS = Shares(stream=STREAM_CONNECTIONS, http=HTTP_CONNECTIONS, websocket=WEBSOCKET_CLIENTS)


@frozen
class Addresses:
    """Where a daemon listens, with the ports that the kernel gave."""

    ingest: tuple[str, ...]  # as the command line writes them: unix:PATH, udp:HOST:PORT
    http: str  # http://HOST:PORT or https://HOST:PORT


@define(eq=False)
class Daemon:
    """The parts of one daemon, and what they tell together.

    ``advance`` moves the live state to now, and returns the time in microseconds since 1970.
    ``started`` is the wall and steady time at which the configuration was taken.
    """

    settings: Settings
    directories: Directories
    node: str
    started: tuple[float, float]
    advance: Callable[[], int]
    stopping: trio.Event
    postgres: Postgres
    storage: Storage
    live: LiveState
    intake: Intake
    acknowledger: Acknowledger
    sockets: Sockets
    datagrams: Sequence[DatagramListener]
    streams: Sequence[StreamListener]
    upkeep: Maintainer
    alert_table: AlertTable
    silences: Silences
    hub: Hub
    alerts: Manager
    health: Health
    http: Sequence[trio.SocketListener]
    connections: Connections
    server: Server = field(init=False)  # made last: it shows the figures of the parts above

    @property
    def listeners(self) -> list[DatagramListener | StreamListener]:
        """The listeners that gateways send to."""
        return [*self.datagrams, *self.streams]

    @property
    def addresses(self) -> Addresses:
        """Where it listens: senders and clients may connect, and wait until ``serve`` runs."""
        ingest = tuple(listener.address for listener in self.listeners)
        return Addresses(ingest, http_port.url_of(self.settings.http, self.http[0]))

    def stop(self) -> None:
        """Make ``serve`` write what waits and return, as SIGTERM does."""
        self.stopping.set()

    def figures(self) -> DaemonFigures:
        """Take a snapshot of all parts."""
        self.advance()
        wall, steady = clocks()
        return DaemonFigures(
            version=__version__,
            node=self.node,
            now=wall,
            configuration_loaded=self.started[0],
            uptime=steady - self.started[1],
            listeners=[listener.figures() for listener in self.listeners],
            intake=self.intake.figures(),
            sources=self.intake.source_figures(),
            storage=self.storage.figures(),
            upkeep=self.upkeep.figures(),
            alerts=self.alerts.figures(),
            websocket_clients=self.hub.count,
            websocket_refused=dict(self.hub.refused),
            http_refused=dict(self.connections.refused),
            live=self.live.overview(),
            requests=self.live.request_totals(self.settings.http.metrics_endpoints),
        )

    def overview(self) -> Overview:
        """The live state's overview as of now."""
        self.advance()
        return self.live.overview()

    def live_version(self) -> Hashable:
        """Another value whenever the live state's figures may be others."""
        self.advance()
        return self.live.version

    def history_version(self) -> Hashable:
        """Another value whenever this daemon took or committed events, and each second.

        What other daemons commit shows when the second is over.
        """
        backlog = self.storage.backlog
        return self.live_version(), backlog.end, backlog.committed


def clocks() -> tuple[float, float]:
    """Wall time in seconds since 1970, and a steady time that also runs while asleep."""
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


@asynccontextmanager
async def build(
    settings: Settings,
    directories: Directories,
    handed: Mapping[str, socket] | None = None,
    stopping: trio.Event | None = None,
    connections: Shares = CONNECTIONS,
) -> AsyncIterator[Daemon]:
    """A daemon whose sockets are bound and whose journal is open.

    ``handed`` are sockets from systemd, by their listeners' names. ``stopping`` is set by who stops
    the daemon. ``connections`` are what clients may have. Raises AegisdError.
    """
    started = clocks()
    handed = dict(handed or {})
    settings = evolve(settings, http=http_port.with_address_of(handed.get("http"), settings.http))
    node = directories.expand(settings.node)
    async with _open(settings, directories, node) as (postgres, storage, sockets):
        live = LiveState(settings.paths.max_endpoints, *started)
        advance = partial(_advance, live)
        intake = _intake(settings, live, storage)
        acknowledger = Acknowledger(intake, storage)
        shares = provide(connections)
        datagrams, streams = sockets.listen(
            settings.ingest, directories, handed, intake.process, acknowledger.submit, shares.stream
        )
        http = await http_port.listen(settings.http, handed.get("http"))
        alert_table, silences = AlertTable(postgres, node), Silences(postgres)
        upkeep = Maintainer(postgres, settings.metrics, clocks, alert_table)
        hub = Hub(live, advance, alert_table.since, settings.dashboard.websocket, shares.websocket)
        daemon = Daemon(
            settings=settings,
            directories=directories,
            node=node,
            started=started,
            advance=advance,
            stopping=trio.Event() if stopping is None else stopping,
            postgres=postgres,
            storage=storage,
            live=live,
            intake=intake,
            acknowledger=acknowledger,
            sockets=sockets,
            datagrams=datagrams,
            streams=streams,
            upkeep=upkeep,
            alert_table=alert_table,
            silences=silences,
            hub=hub,
            alerts=Manager(settings.alerts, live, alert_table, silences, hub.announce, clocks),
            health=Health([*datagrams, *streams], intake, storage, upkeep, settings.metrics),
            http=http,
            connections=Connections(shares.http),
        )
        daemon.server = _server(daemon)
        yield daemon


@asynccontextmanager
async def _open(
    settings: Settings, directories: Directories, node: str
) -> AsyncIterator[tuple[Postgres, Storage, Sockets]]:
    """What is closed at the end: connections to Postgres, the journal, the sockets' files."""
    stored = settings.storage
    async with open_postgres(
        migrate=stored.migrate, layout=stored.layout, schema=stored.schema
    ) as postgres:
        with (
            open_storage(settings, directories, postgres, node, clocks) as storage,
            Sockets() as sockets,
        ):
            yield postgres, storage, sockets


def _now() -> int:
    """The wall time, in microseconds since 1970."""
    return round(clocks()[0] * SECOND_US)


def _advance(live: LiveState) -> int:
    wall, steady = clocks()
    live.advance(wall, steady)
    return round(wall * SECOND_US)


def _intake(settings: Settings, live: LiveState, storage: Storage) -> Intake:
    paths = settings.paths
    return Intake(
        Decoder(
            settings.metrics.retention_days * DAY_US,
            settings.privacy,
            EndpointNamer(templates=paths.templates, patterns=paths.patterns),
            enabled_kinds(settings.metrics.enabled_metrics),
        ),
        settings.privacy,
        live,
        storage.append,
        clocks,
    )


def enabled_kinds(enabled: EnabledMetrics) -> frozenset[str]:
    """The kinds of events that are on."""
    on = {
        REQUEST: enabled.requests,
        RATE_LIMIT: enabled.rate_limits,
        BACKEND: enabled.backends,
        SYSTEM: enabled.system,
    }
    return frozenset(kind for kind, is_on in on.items() if is_on)


def _server(daemon: Daemon) -> Server:
    settings, storage = daemon.settings, daemon.storage
    websocket = settings.dashboard.websocket
    fitting = Fitting()
    bound = http_port.with_port_of(daemon.http[0], settings.http)
    guard = Guard(bound, websocket.allowed_origins, lambda: clocks()[1])
    answers = routes(
        PageAnswers(websocket),
        DaemonAnswers(daemon.figures, storage.load_oldest, daemon.health, daemon.stopping.is_set),
        LiveAnswers(daemon.overview, daemon.live.observed_backends),
        HistoryAnswers(
            History(daemon.postgres, storage.backlog, daemon.node),
            ExactHistory(daemon.postgres, storage.backlog, daemon.node),
            _now,
            lambda now: kept_from(daemon.upkeep.policy.rollups, now),
        ),
        AlertAnswers(daemon.alert_table, daemon.alerts, _now),
        SessionAnswers(guard),
        SilenceAnswers(daemon.silences, _now),
        Costly(_now),
        Kept(daemon.live_version, fitting),
        Kept(daemon.history_version, fitting),
    )
    return Server(
        Api(answers, fitting),
        daemon.hub,
        guard,
        daemon.connections,
        websocket.path if websocket.enabled else None,
        http_port.tls_context(settings.http),
        Cors(settings.http.cors_origins),
    )

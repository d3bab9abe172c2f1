"""The settings as frozen values: every key of the configuration, its type and its default.

``conf/aegisd.toml`` shows the same keys to the operator; a test holds the two together. ``load``
reads the keys. The named types here (``Positive``, ``Address`` …) say which check in ``values`` a
key gets.
"""

from typing import Literal, NewType

from attrs import field, frozen

Positive = NewType("Positive", int)
"""A whole number of at least 1."""
Days = NewType("Days", int)
"""A whole number of days, at most a hundred years."""
EndpointCount = NewType("EndpointCount", int)
"""A number of endpoints, each of which has a sketch: 1 to 100,000."""
ScrapedEndpoints = NewType("ScrapedEndpoints", int)
"""A number of endpoints that Prometheus is told of: 0 to 100."""
SocketBuffer = NewType("SocketBuffer", int)
"""Bytes that the kernel can be asked for: 1 to 2,147,483,647."""
Port = NewType("Port", int)
"""1 to 65,535."""
Share = NewType("Share", float)
"""A share from 0.000001 to 1."""
Address = NewType("Address", str)
"""``host:port``, an IPv6 host in brackets."""
OptionalAddress = NewType("OptionalAddress", str)
"""An ``Address``, or the empty string for none."""
Mode = NewType("Mode", str)
"""A file mode in octal digits."""
HexDigest = NewType("HexDigest", str)
"""The 64 hex digits of a SHA-256."""
Secret = NewType("Secret", str)
"""Text that ``aegisd config`` masks. The file may also give ``{ file = … }`` or ``{ env = … }``."""
SecretUrl = NewType("SecretUrl", str)
"""An http(s) URL whose path is secret; ``aegisd config`` shows scheme and host."""
Dsn = NewType("Dsn", str)
"""``embedded``, or libpq's connection string (a URL, or pairs). Its password is a secret."""
Identifier = NewType("Identifier", str)
"""Text of 1 to 255 characters without control characters."""
SiteOrigin = NewType("SiteOrigin", str)
"""A site as browsers name it: ``https://name``, with a port unless it is the scheme's."""
Network = NewType("Network", str)
"""Addresses: one, or a network as ``10.0.0.0/8``. IPv4 that is mapped to IPv6 is IPv4."""
UrlPath = NewType("UrlPath", str)
"""An absolute path of a URL."""
PathPattern = NewType("PathPattern", str)
"""A route template such as ``/users/{name}`` (see ``patterns``)."""

WINDOW_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}
"""The windows of the live state, over which alert rules look, too."""

AlertMetric = Literal[
    "error_rate",
    "server_error_rate",
    "latency_p95",
    "latency_p99",
    "request_rate",
    "rate_limit_rate",
]
Operator = Literal[">", "<", ">=", "<=", "=="]
WindowName = Literal["1m", "5m", "15m", "1h"]
Severity = Literal["info", "warning", "critical"]


@frozen
class Log:
    """The daemon's own log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json", "journald"] = "auto"


@frozen
class Ingest:
    """The sockets that gateways send to."""

    unix_datagram: str = "{runtime}/ingest.sock"
    unix_stream: str = "{runtime}/stream.sock"
    udp: OptionalAddress = OptionalAddress("127.0.0.1:7460")
    socket_mode: Mode = Mode("0660")
    socket_group: str = ""
    receive_buffer_bytes: SocketBuffer = SocketBuffer(8 * 1024 * 1024)
    max_message_bytes: Positive = Positive(1024 * 1024)  # of the stream; datagrams have own limits


@frozen
class EnabledMetrics:
    """Which kinds of events are counted and stored."""

    requests: bool = True
    rate_limits: bool = True
    backends: bool = True
    system: bool = True


@frozen
class Rollups:
    """Days that each level of rollups is kept."""

    ten_seconds_days: Days = Days(2)
    minute_days: Days = Days(30)
    hour_days: Days = Days(730)


@frozen
class Sampling:
    """The share of successful requests that is stored. Live counts and rollups have every event."""

    enabled: bool = False
    rate: Share = Share(1.0)


@frozen
class Metrics:
    """What is stored, how often it is written, how long it is kept; not what alerts watch."""

    enabled: bool = True
    flush_interval_ms: Positive = Positive(5000)
    batch_size: Positive = Positive(10_000)  # so many events start a flush; it bounds no batch
    retention_days: Days = Days(30)
    alert_retention_days: Days = Days(365)
    enabled_metrics: EnabledMetrics = EnabledMetrics()
    rollups: Rollups = Rollups()
    sampling: Sampling = Sampling()


@frozen
class Storage:
    """The database, and the journal of events that are not committed yet."""

    dsn: Dsn = Dsn("embedded")
    layout: Literal["auto", "partitions", "timescaledb", "citus"] = "auto"
    schema: Identifier = Identifier("aegisd")
    migrate: bool = True
    journal: str = "{state}/journal"
    journal_max_bytes: Positive = Positive(4 * 1024**3)
    journal_sync_ms: Positive = Positive(200)


@frozen
class Privacy:
    """What is removed from events before they are kept."""

    client_ip: Literal["full", "truncate", "drop"] = "full"
    strip_query: bool = True


@frozen
class Paths:
    """How paths become endpoints."""

    templates: bool = True
    patterns: tuple[PathPattern, ...] = ()
    max_endpoints: EndpointCount = EndpointCount(2000)


@frozen
class Token:
    """A bearer token for the HTTP interface, of which only the hash is known."""

    name: Identifier
    sha256: HexDigest
    role: Literal["viewer", "admin"] = "viewer"


@frozen
class Http:
    """The port for HTTP and WebSocket."""

    listen: Address = Address("127.0.0.1:7460")
    trusted_proxies: tuple[Network, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[SiteOrigin, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    tokens: tuple[Token, ...] = ()
    metrics_endpoints: ScrapedEndpoints = ScrapedEndpoints(0)


@frozen
class WebSocket:
    """The push of live metrics to dashboards."""

    enabled: bool = True
    path: UrlPath = UrlPath("/ws/metrics")
    update_interval_ms: Positive = Positive(1000)
    max_connections_per_ip: Positive = Positive(10)
    allowed_origins: tuple[str, ...] = ()


@frozen
class Dashboard:
    """The source of the dashboard page."""

    websocket: WebSocket = WebSocket()


@frozen
class Condition:
    """``metric operator threshold``, over a window."""

    metric: AlertMetric
    operator: Operator
    threshold: float
    window: WindowName


@frozen
class LogAction:
    """Write a line to the daemon's log."""


@frozen
class SlackAction:
    """Post to a Slack incoming webhook."""

    webhook_url: SecretUrl


@frozen
class WebhookAction:
    """POST the alert as JSON."""

    url: SecretUrl
    headers: dict[str, Secret] = field(factory=dict)
    secret: Secret = Secret("")


@frozen
class EmailAction:
    """Send a mail over SMTP."""

    to: Identifier
    from_: Identifier = field(metadata={"key": "from"})
    host: Identifier
    port: Port | None = None
    username: str = ""
    password: Secret = Secret("")
    security: Literal["starttls", "tls", "none"] = "starttls"


Action = LogAction | SlackAction | WebhookAction | EmailAction

ACTIONS: dict[str, type[Action]] = {
    "log": LogAction,
    "slack": SlackAction,
    "webhook": WebhookAction,
    "email": EmailAction,
}
"""The ``type`` of an action in the configuration, and the class of its ``config``."""


@frozen
class Rule:
    """One alert rule."""

    id: Identifier
    name: Identifier
    condition: Condition
    enabled: bool = True
    severity: Severity = "warning"
    cooldown_ms: Positive | None = None
    actions: tuple[Action, ...] = (LogAction(),)


@frozen
class Alerts:
    """The alert rules, and how often they are checked."""

    enabled: bool = True
    check_interval_ms: Positive = Positive(5000)
    default_cooldown_ms: Positive = Positive(300_000)
    rules: tuple[Rule, ...] = (
        Rule(
            id=Identifier("high-error-rate"),
            name=Identifier("High Error Rate"),
            severity="critical",
            condition=Condition(metric="error_rate", operator=">", threshold=5.0, window="5m"),
        ),
    )


@frozen
class Settings:
    """The whole configuration."""

    node: Identifier = Identifier("{hostname}")
    log: Log = Log()
    ingest: Ingest = Ingest()
    metrics: Metrics = Metrics()
    storage: Storage = Storage()
    privacy: Privacy = Privacy()
    paths: Paths = Paths()
    http: Http = Http()
    dashboard: Dashboard = Dashboard()
    alerts: Alerts = Alerts()

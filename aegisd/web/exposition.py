"""The daemon's figures in Prometheus' text format and in OpenMetrics, by their conventions.

``families`` is a function of figures. ``Exposition`` adds those of the process.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from aegisd.web.families import counter, gauge
from aegisd.web.figures import DaemonFigures
from aegisd.web.request_families import request_families, source_families

OPENMETRICS = "application/openmetrics-text"


class Exposition(Collector):
    """Takes the figures when Prometheus asks, so nothing is counted a second time for it."""

    def __init__(self, figures: Callable[[], DaemonFigures]) -> None:
        self._figures = figures
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The answer to a scrape and its type, by the request's ``Accept``.

        It is OpenMetrics 1.0 if that is named, as by Prometheus, whatever its weight and version:
        from the client's own words the library would take any version, and echo it.
        """
        kinds = {kind.partition(";")[0].strip() for kind in accept.split(",")}
        encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in kinds else "")
        return encode(self._registry), content_type

    def collect(self) -> Iterable[Metric]:
        """All families but those of the process."""
        return families(self._figures())


def families(figures: DaemonFigures) -> Iterator[Metric]:
    """The daemon's metric families."""
    yield gauge("aegisd_build_info", "The version.", "version", {figures.version: 1})
    yield from _intake(figures)
    yield from _storage(figures)
    yield from _upkeep(figures)
    yield from request_families(figures.live, figures.requests)
    yield from source_families(figures.live)
    yield gauge("aegisd_websocket_clients", "WebSocket clients.", value=figures.websocket_clients)
    yield counter(
        "aegisd_websocket_refused",
        "WebSocket messages refused, connections ended, and updates that a slow client missed.",
        "reason",
        figures.websocket_refused,
    )
    yield counter(
        "aegisd_http_refused",
        "Requests refused, and connections that gave way to others.",
        "reason",
        figures.http_refused,
    )
    alerts = figures.alerts
    yield gauge("aegisd_alerts_active", "Alerts that are not resolved.", value=alerts.active)
    yield counter(
        "aegisd_alert_actions",
        "Alert actions that did not reach their addressee.",
        "outcome",
        {"failed": alerts.failed_actions, "dropped": alerts.dropped_actions},
    )


def _intake(figures: DaemonFigures) -> Iterator[Metric]:
    listeners, intake = figures.listeners, figures.intake
    yield counter(
        "aegisd_messages",
        "Messages received.",
        "listener",
        {listener.address: listener.messages for listener in listeners},
    )
    yield counter(
        "aegisd_received_bytes",
        "Bytes received.",
        "listener",
        {listener.address: listener.bytes for listener in listeners},
    )
    yield counter(
        "aegisd_stream_connections_refused",
        "Connections of the stream that found no room.",
        "listener",
        {each.address: each.refused for each in listeners if each.refused is not None},
    )
    yield counter(
        "aegisd_kernel_dropped_datagrams",
        "Datagrams the kernel dropped before the daemon could read them.",
        "listener",
        {listener.address: listener.kernel_dropped for listener in listeners},
    )
    yield counter("aegisd_events", "Events accepted.", "kind", intake.events)
    rejected = {reason.value: count for reason, count in intake.rejected.items()}
    yield counter("aegisd_rejected_events", "Events rejected.", "reason", rejected)
    yield counter("aegisd_altered_texts", "Texts cut or mended.", value=intake.altered)
    yield counter("aegisd_disabled_events", "Events of kinds that are off.", value=intake.disabled)


def _storage(figures: DaemonFigures) -> Iterator[Metric]:
    storage = figures.storage
    yield counter(
        "aegisd_dropped_events",
        "Events that were accepted and are not stored.",
        "where",
        {"journal": storage.dropped, "database": storage.refused},
    )
    yield counter(
        "aegisd_sampled_out_events",
        "Events that sampling leaves out of the database.",
        value=storage.sampled_out,
    )
    yield counter("aegisd_rows_written", "Rows committed.", value=storage.rows)
    yield counter("aegisd_flushes", "Batches committed.", value=storage.batches)
    yield counter("aegisd_flush_failures", "Flushes that failed.", value=storage.failures)
    yield gauge(
        "aegisd_database_connected",
        "Whether the database can be used.",
        value=int(storage.connected),
    )
    yield gauge("aegisd_journal_events", "Events waiting.", value=storage.waiting)
    yield gauge("aegisd_journal_bytes", "Bytes of the journal.", value=storage.journal_bytes)


def _upkeep(figures: DaemonFigures) -> Iterator[Metric]:
    upkeep = figures.upkeep
    yield gauge(
        "aegisd_upkeep_failures",
        "What fails now of the database's upkeep.",
        "duty",
        upkeep.failures,
    )
    yield gauge(
        "aegisd_clock_ahead_seconds",
        "How far this machine's clock is ahead of the database's.",
        value=upkeep.clock_ahead_seconds,
    )

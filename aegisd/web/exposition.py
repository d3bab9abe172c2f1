"""The daemon's own figures for Prometheus, by its naming conventions."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from aegisd import __version__
from aegisd.events.counters import STATUS_CLASSES
from aegisd.events.units import SECOND_US
from aegisd.ingest import StreamListener
from aegisd.web.context import Context

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition(Collector):
    """Collects the figures when Prometheus asks; nothing is counted twice."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """All figures but those of the process."""
        context = self._context
        context.now()
        yield _gauge("aegisd_build_info", "The version.", "version", {__version__: 1})
        yield from self._intake()
        yield from self._writer()
        yield from self._upkeep()
        yield from self._requests()
        clients = context.hub.count
        yield _gauge("aegisd_websocket_clients", "WebSocket clients.", value=clients)
        yield _counter(
            "aegisd_http_refused",
            "Requests refused, and connections that gave way to others.",
            "reason",
            context.connections.refused,
        )
        active = len(context.alerts.active)
        yield _gauge("aegisd_alerts_active", "Alerts that are not resolved.", value=active)
        yield _counter(
            "aegisd_alert_actions",
            "Alert actions that did not reach their addressee.",
            "outcome",
            {"failed": context.alerts.failed_actions, "dropped": context.alerts.dropped_actions},
        )

    def _intake(self) -> Iterable[Metric]:
        listeners, figures = self._context.listeners, self._context.intake.figures
        yield _counter(
            "aegisd_messages",
            "Messages received.",
            "listener",
            {listener.address: listener.messages for listener in listeners},
        )
        yield _counter(
            "aegisd_received_bytes",
            "Bytes received.",
            "listener",
            {listener.address: listener.bytes for listener in listeners},
        )
        yield _counter(
            "aegisd_stream_connections_refused",
            "Connections of the stream that found no room.",
            "listener",
            {each.address: each.refused for each in listeners if isinstance(each, StreamListener)},
        )
        yield _counter(
            "aegisd_kernel_dropped_datagrams",
            "Datagrams the kernel dropped before the daemon could read them.",
            "listener",
            {listener.address: listener.kernel_dropped() for listener in listeners},
        )
        yield _counter("aegisd_events", "Events accepted.", "kind", figures.events)
        rejected = {reason.value: count for reason, count in figures.rejected.items()}
        yield _counter("aegisd_rejected_events", "Events rejected.", "reason", rejected)
        yield _counter("aegisd_altered_texts", "Texts cut or mended.", value=figures.altered)
        yield _counter(
            "aegisd_disabled_events", "Events of kinds that are off.", value=figures.disabled
        )

    def _writer(self) -> Iterable[Metric]:
        writer = self._context.storage.writer
        figures, backlog = writer.figures, self._context.storage.backlog
        yield _counter(
            "aegisd_dropped_events",
            "Events that were accepted and are not stored.",
            "where",
            {"journal": backlog.dropped, "database": figures.refused},
        )
        yield _counter(
            "aegisd_sampled_out_events",
            "Events that sampling leaves out of the database.",
            value=figures.sampled_out,
        )
        yield _counter("aegisd_rows_written", "Rows committed.", value=figures.rows)
        yield _counter("aegisd_flushes", "Batches committed.", value=figures.batches)
        yield _counter("aegisd_flush_failures", "Flushes that failed.", value=figures.failures)
        yield _gauge(
            "aegisd_database_connected",
            "Whether the database can be used.",
            value=int(figures.connected),
        )
        yield _gauge("aegisd_journal_events", "Events waiting.", value=backlog.events)
        size = self._context.storage.journal.figures.bytes
        yield _gauge("aegisd_journal_bytes", "Bytes of the journal.", value=size)

    def _upkeep(self) -> Iterable[Metric]:
        upkeep = self._context.upkeep.figures()
        yield _gauge(
            "aegisd_upkeep_failures",
            "What fails now of the database's upkeep.",
            "duty",
            upkeep.failures,
        )
        yield _gauge(
            "aegisd_clock_ahead_seconds",
            "How far this machine's clock is ahead of the database's.",
            value=upkeep.clock_ahead_seconds,
        )

    def _requests(self) -> Iterable[Metric]:
        overview = self._context.live.overview()
        totals = overview.totals
        yield _counter(
            "aegisd_requests",
            "Requests counted, by class of status.",
            "status",
            {name.removeprefix("status_"): totals[name] for name in STATUS_CLASSES},
        )
        yield SummaryMetricFamily(
            "aegisd_request_duration_seconds",
            "Durations of the requests that had one.",
            count_value=totals["timed"],
            sum_value=totals["duration_sum_us"] / SECOND_US,
        )
        yield _gauge(
            "aegisd_active_connections",
            "Connections of all sources heard of lately.",
            value=overview.active_connections,
        )
        healthy = sum(backend.status == "healthy" for backend in overview.backends)
        yield _gauge(
            "aegisd_backends",
            "Backends heard of lately.",
            "status",
            {"healthy": healthy, "unhealthy": len(overview.backends) - healthy},
        )


Values = dict[str, int] | None


def _counter(
    name: str, about: str, label: str = "", values: Values = None, *, value: float = 0
) -> Metric:
    return _filled(CounterMetricFamily(name, about, labels=[label] if label else []), values, value)


def _gauge(
    name: str, about: str, label: str = "", values: Values = None, *, value: float = 0
) -> Metric:
    return _filled(GaugeMetricFamily(name, about, labels=[label] if label else []), values, value)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Values, value: float
) -> Metric:
    """One value a label, or the single value of a family without labels."""
    if values is None:
        family.add_metric([], value)
    for key, count in (values or {}).items():
        family.add_metric([key], count)
    return family

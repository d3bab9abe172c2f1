"""The daemon's figures in Prometheus' text format, by its naming conventions.

``families`` is a function of figures. ``Exposition`` adds those of the process.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from aegisd.events.counters import STATUS_CLASSES
from aegisd.events.units import SECOND_US
from aegisd.live import Overview
from aegisd.web.figures import DaemonFigures
from aegisd.web.views import count_healthy

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition(Collector):
    """Takes the figures when Prometheus asks, so nothing is counted a second time for it."""

    def __init__(self, figures: Callable[[], DaemonFigures]) -> None:
        self._figures = figures
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The answer to a scrape."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """All families but those of the process."""
        return families(self._figures())


def families(figures: DaemonFigures) -> Iterator[Metric]:
    """The daemon's metric families."""
    yield _gauge("aegisd_build_info", "The version.", "version", {figures.version: 1})
    yield from _intake(figures)
    yield from _storage(figures)
    yield from _upkeep(figures)
    yield from _requests(figures.live)
    yield _gauge("aegisd_websocket_clients", "WebSocket clients.", value=figures.websocket_clients)
    yield _counter(
        "aegisd_websocket_refused",
        "WebSocket messages refused, connections ended, and updates that a slow client missed.",
        "reason",
        figures.websocket_refused,
    )
    yield _counter(
        "aegisd_http_refused",
        "Requests refused, and connections that gave way to others.",
        "reason",
        figures.http_refused,
    )
    alerts = figures.alerts
    yield _gauge("aegisd_alerts_active", "Alerts that are not resolved.", value=alerts.active)
    yield _counter(
        "aegisd_alert_actions",
        "Alert actions that did not reach their addressee.",
        "outcome",
        {"failed": alerts.failed_actions, "dropped": alerts.dropped_actions},
    )


def _intake(figures: DaemonFigures) -> Iterator[Metric]:
    listeners, intake = figures.listeners, figures.intake
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
        {each.address: each.refused for each in listeners if each.refused is not None},
    )
    yield _counter(
        "aegisd_kernel_dropped_datagrams",
        "Datagrams the kernel dropped before the daemon could read them.",
        "listener",
        {listener.address: listener.kernel_dropped for listener in listeners},
    )
    yield _counter("aegisd_events", "Events accepted.", "kind", intake.events)
    rejected = {reason.value: count for reason, count in intake.rejected.items()}
    yield _counter("aegisd_rejected_events", "Events rejected.", "reason", rejected)
    yield _counter("aegisd_altered_texts", "Texts cut or mended.", value=intake.altered)
    yield _counter("aegisd_disabled_events", "Events of kinds that are off.", value=intake.disabled)


def _storage(figures: DaemonFigures) -> Iterator[Metric]:
    storage = figures.storage
    yield _counter(
        "aegisd_dropped_events",
        "Events that were accepted and are not stored.",
        "where",
        {"journal": storage.dropped, "database": storage.refused},
    )
    yield _counter(
        "aegisd_sampled_out_events",
        "Events that sampling leaves out of the database.",
        value=storage.sampled_out,
    )
    yield _counter("aegisd_rows_written", "Rows committed.", value=storage.rows)
    yield _counter("aegisd_flushes", "Batches committed.", value=storage.batches)
    yield _counter("aegisd_flush_failures", "Flushes that failed.", value=storage.failures)
    yield _gauge(
        "aegisd_database_connected",
        "Whether the database can be used.",
        value=int(storage.connected),
    )
    yield _gauge("aegisd_journal_events", "Events waiting.", value=storage.waiting)
    yield _gauge("aegisd_journal_bytes", "Bytes of the journal.", value=storage.journal_bytes)


def _upkeep(figures: DaemonFigures) -> Iterator[Metric]:
    upkeep = figures.upkeep
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


def _requests(live: Overview) -> Iterator[Metric]:
    totals = live.totals
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
        value=live.active_connections,
    )
    healthy = count_healthy(live.backends)
    yield _gauge(
        "aegisd_backends",
        "Backends heard of lately.",
        "status",
        {"healthy": healthy, "unhealthy": len(live.backends) - healthy},
    )


Values = Mapping[str, int] | None


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

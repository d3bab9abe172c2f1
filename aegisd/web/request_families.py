"""The gateway's requests, as Prometheus counts them: since the daemon's start, never less.

An endpoint or backend is counted while it is followed (``aegisd/live``): its series may end, and
start again at 0, as after a restart. There is no series for the others: it would fall whenever one
of them is shown. They are what the sum lacks to ``aegisd_requests_total``.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from aegisd.events.counters import STATUS_CLASSES
from aegisd.events.units import SECOND_US
from aegisd.live import ByStatus, Overview, RequestTotals
from aegisd.stats import sketch
from aegisd.web.families import counter, gauge
from aegisd.web.views import count_healthy

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The buckets' upper bounds in seconds: Prometheus' usual ones, and two below."""

_LAST_BINS = sketch.bins_of(np.array([round(bound * SECOND_US) for bound in BOUNDS]))
"""The last bin of the sketch that a bucket counts: the one that its bound falls into. So a bucket
has all durations up to its bound, and some that are greater by at most 2 %, a bin's width."""


def request_families(live: Overview, requests: RequestTotals) -> Iterator[Metric]:
    """Requests by status, method, backend and endpoint, and their durations."""
    totals = live.totals
    yield counter(
        "aegisd_requests",
        "Requests counted, by class of status.",
        "status",
        {_label(name): totals[name] for name in STATUS_CLASSES},
    )
    yield _by_status(
        "aegisd_requests_by_method",
        "Requests by method and class of status.",
        ["method"],
        (([method], counts) for method, counts in requests.methods.items()),
    )
    yield _by_status(
        "aegisd_backend_requests",
        "Requests that name a backend, by it and the class of status.",
        ["backend"],
        (([backend], counts) for backend, counts in requests.backends.items()),
    )
    if requests.endpoints:
        yield _by_status(
            "aegisd_endpoint_requests",
            "Requests of the most frequent endpoints, by class of status.",
            ["method", "path"],
            ((list(endpoint), counts) for endpoint, counts in requests.endpoints.items()),
        )
    cumulative = requests.durations.cumsum()
    counts = [*cumulative[_LAST_BINS].tolist(), int(cumulative[-1])]
    bounds = [*map(floatToGoString, BOUNDS), "+Inf"]
    yield HistogramMetricFamily(
        "aegisd_request_duration_seconds",
        "Durations of the requests that had one; a bucket's bound is within 2 %.",
        buckets=list(zip(bounds, counts, strict=True)),
        sum_value=totals["duration_sum_us"] / SECOND_US,
    )
    yield gauge(
        "aegisd_observed_backends",
        "Backends that requests of the last hour name.",
        value=requests.backends_followed,
    )


def source_families(live: Overview) -> Iterator[Metric]:
    """What gateways report of themselves."""
    yield gauge(
        "aegisd_active_connections",
        "Connections of all sources heard of lately.",
        value=live.active_connections,
    )
    healthy = count_healthy(live.backends)
    yield gauge(
        "aegisd_backends",
        "Backends heard of lately.",
        "status",
        {"healthy": healthy, "unhealthy": len(live.backends) - healthy},
    )


def _by_status(
    name: str, about: str, labels: list[str], rows: Iterable[tuple[list[str], ByStatus]]
) -> Metric:
    family = CounterMetricFamily(name, about, labels=[*labels, "status"])
    for values, counts in rows:
        for status, count in counts.items():
            family.add_metric([*values, _label(status)], count)
    return family


def _label(status_class: str) -> str:
    return status_class.removeprefix("status_")

"""Figures as the API shows them: camelCase, latencies in ms, rates in percent. Pure functions."""

from typing import Any

from aegisd.events.counters import COLUMN, STATUS_CLASSES, Counters
from aegisd.events.protocol import HEALTHY
from aegisd.events.units import MILLISECOND_US
from aegisd.live import BackendState, EndpointFigures, ObservedBackend, Overview
from aegisd.stats import sketch
from aegisd.stats.cells import EDGES_US, cells
from aegisd.store.history import (
    QUANTILES,
    EndpointTotals,
    KeyTotals,
    Latency,
    Present,
    Range,
    RequestCounts,
    StatusCounts,
    Totals,
)
from aegisd.times import rfc3339

MAX_NODES = 1000
"""In a list of nodes: there may be any number, where each container is a node of its own."""


def overview(figures: Overview) -> dict[str, Any]:
    """The live overview.

    Totals count from the daemon's start, rates and latencies cover the last minute, connections and
    backends the last 5 minutes.
    """
    totals, minute = figures.totals, figures.minute
    counters = minute.counters
    p50, p95, p99 = _quantiles(minute.durations)
    return {
        "timestamp": rfc3339(figures.now),
        "requestsPerSecond": counters["requests"] / minute.seconds,
        "avgLatency": _average(counters["duration_sum_us"], counters["timed"]),
        "p50Latency": p50,
        "p95Latency": p95,
        "p99Latency": p99,
        "errorRate": _percent(counters["requests"] - counters["succeeded"], counters["requests"]),
        "totalRequests": totals["requests"],
        "successfulRequests": totals["succeeded"],
        "failedRequests": totals["requests"] - totals["succeeded"],
        "rateLimitedRequests": totals["rate_limited"],
        "rateLimitDenied": totals["denied"],
        "activeConnections": figures.active_connections,
        "healthyBackends": count_healthy(figures.backends),
        "totalBackends": len(figures.backends),
    }


def past_overview(now: int, range_: Range, totals: Totals, present: Present) -> dict[str, Any]:
    """The overview of a range; connections and backends are of the last 5 minutes."""
    failed = totals.requests - totals.succeeded
    return {
        "timestamp": rfc3339(now),
        "requestsPerSecond": totals.requests / range_.seconds,
        "avgLatency": _ms(totals.latency.average),
        "p50Latency": _ms(totals.latency.p50),
        "p95Latency": _ms(totals.latency.p95),
        "p99Latency": _ms(totals.latency.p99),
        "errorRate": _percent(failed, totals.requests),
        "totalRequests": totals.requests,
        "successfulRequests": totals.succeeded,
        "failedRequests": failed,
        "rateLimitedRequests": totals.rate_limited,
        "rateLimitDenied": totals.denied,
        "activeConnections": present.connections,
        "healthyBackends": present.healthy,
        "totalBackends": present.backends,
    }


def request_rate(range_: Range, buckets: dict[int, RequestCounts]) -> list[dict[str, Any]]:
    """One point for each bucket, also where no request was."""
    none = RequestCounts(0, 0)
    return [
        rate_point(start, range_.seconds_in(start), buckets.get(start, none))
        for start in range_.bucket_starts()
    ]


def rate_point(start: int, seconds: float, point: RequestCounts) -> dict[str, Any]:
    """A bucket's point of the request rate."""
    return {
        "timestamp": rfc3339(start),
        "value": point.requests / seconds,
        "requestCount": point.requests,
        "failedCount": point.failed,
    }


def latency(range_: Range, buckets: dict[int, Latency]) -> list[dict[str, Any]]:
    """One point for each bucket, of nulls where no request had a duration."""
    none = Latency(None, None, None, None)
    return [latency_point(start, buckets.get(start, none)) for start in range_.bucket_starts()]


def latency_point(start: int, point: Latency) -> dict[str, Any]:
    """A bucket's point of the latency."""
    return {
        "timestamp": rfc3339(start),
        "p50": _ms(point.p50),
        "p95": _ms(point.p95),
        "p99": _ms(point.p99),
        "avg": _ms(point.average),
    }


def status_distribution(range_: Range, buckets: dict[int, StatusCounts]) -> list[dict[str, Any]]:
    """One point for each bucket, also where no request was."""
    none = StatusCounts(0, 0, 0, 0, 0)
    return [status_point(start, buckets.get(start, none)) for start in range_.bucket_starts()]


def status_point(start: int, point: StatusCounts) -> dict[str, Any]:
    """A bucket's point of the status distribution."""
    return {
        "timestamp": rfc3339(start),
        "status2xx": point.status_2xx,
        "status3xx": point.status_3xx,
        "status4xx": point.status_4xx,
        "status5xx": point.status_5xx,
        "statusOther": point.status_other,
    }


def heat_map(range_: Range, buckets: dict[int, sketch.Counts]) -> dict[str, Any]:
    """The cells' edges in ms, and how many durations of each bucket lie between them."""
    counts = {start: cells(durations).tolist() for start, durations in buckets.items()}
    none = [0] * (len(EDGES_US) - 1)
    return {
        "edges": [micros / MILLISECOND_US for micros in EDGES_US],
        "buckets": [
            {"timestamp": rfc3339(start), "counts": counts.get(start, none)}
            for start in range_.bucket_starts()
        ],
    }


def nodes(requests: dict[str, int]) -> list[dict[str, Any]]:
    """Nodes, those with most requests first."""
    ranked = sorted(requests.items(), key=lambda each: (-each[1], each[0]))
    return [{"node": node, "requestCount": count} for node, count in ranked[:MAX_NODES]]


def live_rate_point(range_: Range, start: int, counters: Counters) -> dict[str, Any]:
    """A point of ``request_rate``, of the live state."""
    requests, succeeded = int(counters[COLUMN["requests"]]), int(counters[COLUMN["succeeded"]])
    counts = RequestCounts(requests, requests - succeeded)
    return rate_point(start, range_.seconds_in(start), counts)


def live_latency_point(start: int, counters: Counters, durations: sketch.Counts) -> dict[str, Any]:
    """A point of ``latency``, of the live state."""
    p50, p95, p99 = _quantiles(durations)
    average = _average(int(counters[COLUMN["duration_sum_us"]]), int(counters[COLUMN["timed"]]))
    return latency_point(start, Latency(p50, p95, p99, average))


def live_status_point(start: int, counters: Counters) -> dict[str, Any]:
    """A point of ``status_distribution``, of the live state."""
    return status_point(
        start, StatusCounts(*(int(counters[COLUMN[name]]) for name in STATUS_CLASSES))
    )


def endpoints(figures: list[EndpointTotals]) -> list[dict[str, Any]]:
    """Endpoints, in the order they are given in."""
    return [
        {
            "method": endpoint.method,
            "path": endpoint.path,
            "requestCount": endpoint.requests,
            "errorRate": _percent(endpoint.failed, endpoint.requests),
            "avgLatency": _ms(endpoint.average_ms),
            "p95Latency": _ms(endpoint.p95_ms),
        }
        for endpoint in figures
    ]


def live_endpoints(figures: list[EndpointFigures]) -> list[dict[str, Any]]:
    """What ``endpoints`` gives, of the live state."""
    return endpoints(
        [
            EndpointTotals(
                f.method,
                f.path,
                f.requests,
                f.failed,
                None if f.average_us is None else f.average_us / MILLISECOND_US,
                None if f.p95_us is None else f.p95_us / MILLISECOND_US,
            )
            for f in figures
        ]
    )


def count_healthy(states: list[BackendState]) -> int:
    """How many of the backends are healthy."""
    return sum(state.status == HEALTHY for state in states)


def backends(states: list[BackendState], observed: list[ObservedBackend]) -> dict[str, Any]:
    """Backends by their latest reports, how many are healthy, and those that requests name."""
    healthy = count_healthy(states)
    return {
        "summary": {
            "total": len(states),
            "healthy": healthy,
            "unhealthy": len(states) - healthy,
        },
        "backends": [
            {
                "name": state.name,
                "status": state.status,
                "responseTimeMs": None
                if state.response_time is None
                else state.response_time / MILLISECOND_US,
                "circuitBreaker": state.circuit_breaker,
                "lastSeen": rfc3339(state.last_seen),
            }
            for state in states
        ],
        "observed": [
            {
                "name": each.name,
                "requestCount": each.requests,
                "errorRate": _percent(each.failed, each.requests),
                "avgLatency": _us_in_ms(each.average_us),
                "p95Latency": _us_in_ms(each.p95_us),
                "lastSeen": rfc3339(each.last_seen),
            }
            for each in observed
        ],
    }


def rate_limits(checked: int, denied: int, keys: list[KeyTotals]) -> dict[str, Any]:
    """Rate-limit decisions, and those of single keys."""
    return {
        "checked": checked,
        "denied": denied,
        "topKeys": [{"key": key.key, "checked": key.checked, "denied": key.denied} for key in keys],
    }


def _quantiles(durations: sketch.Counts) -> list[float | None]:
    found = sketch.quantiles(durations, QUANTILES)
    return [_us_in_ms(micros) for micros in found]


def _average(micros: int, timed: int) -> float | None:
    return _ms(micros / timed / MILLISECOND_US) if timed else None


def _ms(value: float | None) -> float | None:
    """Round to whole microseconds: durations are kept in these."""
    return None if value is None else round(value, 3)


def _us_in_ms(micros: float | None) -> float | None:
    return None if micros is None else _ms(micros / MILLISECOND_US)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0

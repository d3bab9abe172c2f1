"""The figures that history answers with. Pure."""

from typing import Generic, TypeVar

from attrs import frozen

QUANTILES = (0.5, 0.95, 0.99)

T = TypeVar("T")


@frozen
class Answer(Generic[T]):
    """Figures, and until when they are complete: microseconds since 1970, None where nothing lacks.

    All events that this daemon accepted before are counted, and not all that it accepted since.
    The time of acceptance counts here, not the events' own timestamps.
    """

    figures: T
    complete_until: int | None


def earliest(*moments: int | None) -> int | None:
    """The earliest moment; None where all are None."""
    return min((moment for moment in moments if moment is not None), default=None)


@frozen
class Latency:
    """Quantiles and average of durations, in ms; None where no request had a duration."""

    p50: float | None
    p95: float | None
    p99: float | None
    average: float | None


@frozen
class Totals:
    """Requests of a range."""

    requests: int
    succeeded: int
    rate_limited: int
    denied: int  # rate-limit decisions
    latency: Latency


@frozen
class Present:
    """Connections and backends of the last PRESENCE_SECONDS, of all nodes asked for."""

    connections: int
    backends: int
    healthy: int


@frozen
class RequestCounts:
    """Requests of a bucket, and how many of them failed."""

    requests: int
    failed: int


@frozen
class StatusCounts:
    """Requests of a bucket by class of status: a field for each of STATUS_CLASSES."""

    status_2xx: int
    status_3xx: int
    status_4xx: int
    status_5xx: int
    status_other: int


@frozen
class EndpointTotals:
    """Requests of one endpoint; latencies in ms."""

    method: str
    path: str
    requests: int
    failed: int
    average_ms: float | None
    p95_ms: float | None


@frozen
class KeyTotals:
    """Rate-limit decisions of one key."""

    key: str
    checked: int
    denied: int

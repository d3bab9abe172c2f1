"""The daemon's JSON over WebSocket and HTTP, read into values. Pure.

The names are the API's, in snake case. msgspec checks each value: JSON that doesn't have all that
the API promises is refused as a whole (``UnexpectedAnswer``).
"""

from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

TOPICS = (
    "overview",
    "requestRate",
    "latencyPercentiles",
    "statusDistribution",
    "topEndpoints",
    "backends",
)

Time = Annotated[datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
T = TypeVar("T")


class UnexpectedAnswer(ValueError):
    """JSON that aegisd's API doesn't send."""


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other[0].upper() + other[1:] for other in others)


class _Answer(msgspec.Struct, frozen=True, rename=_camel):
    pass


class Overview(_Answer, frozen=True):
    """Rates and latencies (ms) of the last minute, and the totals since the daemon's start."""

    requests_per_second: float
    avg_latency: float | None
    p50_latency: float | None
    p95_latency: float | None
    p99_latency: float | None
    error_rate: float
    total_requests: Count
    successful_requests: Count
    failed_requests: Count
    rate_limited_requests: Count
    rate_limit_denied: Count
    active_connections: Count
    healthy_backends: Count
    total_backends: Count


class Rate(_Answer, frozen=True):
    """Requests per second in a bucket."""

    timestamp: Time
    value: float


class Latency(_Answer, frozen=True):
    """A bucket's 95th percentile, in ms."""

    timestamp: Time
    p95: float | None


class Statuses(_Answer, frozen=True):
    """A bucket's requests by status class."""

    timestamp: Time
    status_2xx: Count
    status_3xx: Count
    status_4xx: Count
    status_5xx: Count
    status_other: Count


class Endpoint(_Answer, frozen=True):
    """An endpoint in the last hour; latencies in ms."""

    method: str
    path: str
    request_count: Count
    error_rate: float
    avg_latency: float | None
    p95_latency: float | None


class Backend(_Answer, frozen=True):
    """A backend's latest report."""

    name: str
    status: str
    response_time_ms: float | None
    circuit_breaker: str | None
    last_seen: Time


class Backends(_Answer, frozen=True):
    """All backends that report."""

    backends: tuple[Backend, ...]


class Topics(_Answer, frozen=True):
    """The data of a metrics message with all topics."""

    overview: Overview
    request_rate: tuple[Rate, ...]
    latency_percentiles: tuple[Latency, ...]
    status_distribution: tuple[Statuses, ...]
    top_endpoints: tuple[Endpoint, ...]
    backends: Backends


class Alert(_Answer, frozen=True):
    """An alert, with the fields that are shown."""

    id: str
    rule_name: str
    severity: str
    status: str
    message: str
    triggered_at: Time


class Metrics(_Answer, frozen=True):
    """A metrics message: its data, and the daemon's time."""

    timestamp: Time
    data: Topics


class Message(_Answer, frozen=True):
    """Any message: ``type`` says what ``data`` is."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class Alerts(_Answer, frozen=True):
    """The answer of ``GET /api/alerts``."""

    data: tuple[Alert, ...]


def parse(text: str | bytes | msgspec.Raw, type_: type[T]) -> T:
    """Read JSON into a value of ``type_``. Raises UnexpectedAnswer."""
    try:
        return msgspec.json.decode(text, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnexpectedAnswer(str(error)) from None

"""What the daemon says over WebSocket and HTTP, read into values. Pure.

The names are the API's, in snake case. Nothing is computed here: a message that doesn't have
what the API promises is refused as a whole.
"""

import json
import re
from typing import Any, NewType, TypeVar

from attrs import fields, frozen, has
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from aegisd.times import parse_rfc3339

TOPICS = (
    "overview",
    "requestRate",
    "latencyPercentiles",
    "statusDistribution",
    "topEndpoints",
    "backends",
)

T = TypeVar("T")

LARGEST = 10**18
"""No true figure is larger, and Python's own limits are far above."""

LATEST = 2**53
"""A time in the year 2255: far from where dates end."""

Time = NewType("Time", int)
"""Microseconds since 1970."""


class Unreadable(ValueError):
    """A message that is none of aegisd's."""


@frozen
class Overview:
    """The figures of the last minute, and the totals since the daemon's start."""

    requests_per_second: float
    avg_latency: float | None
    p50_latency: float | None
    p95_latency: float | None
    p99_latency: float | None
    error_rate: float
    total_requests: int
    successful_requests: int
    failed_requests: int
    rate_limited_requests: int
    rate_limit_denied: int
    active_connections: int
    healthy_backends: int
    total_backends: int


@frozen
class Rate:
    """Requests per second in a bucket."""

    timestamp: Time
    value: float


@frozen
class Latency:
    """A bucket's 95th percentile, in ms."""

    timestamp: Time
    p95: float | None


@frozen
class Statuses:
    """A bucket's requests by class of status."""

    timestamp: Time
    status_2xx: int
    status_3xx: int
    status_4xx: int
    status_5xx: int
    status_other: int


@frozen
class Endpoint:
    """An endpoint in the last hour; latencies in ms."""

    method: str
    path: str
    request_count: int
    error_rate: float
    avg_latency: float | None
    p95_latency: float | None


@frozen
class Backend:
    """A backend's latest report."""

    name: str
    status: str
    response_time_ms: float | None
    circuit_breaker: str | None
    last_seen: Time


@frozen
class Backends:
    """All backends."""

    backends: tuple[Backend, ...]


@frozen
class Figures:
    """A metrics message with all topics."""

    overview: Overview
    request_rate: tuple[Rate, ...]
    latency_percentiles: tuple[Latency, ...]
    status_distribution: tuple[Statuses, ...]
    top_endpoints: tuple[Endpoint, ...]
    backends: Backends


@frozen
class Metrics:
    """Figures, and the daemon's time at which they held."""

    timestamp: Time
    data: Figures


@frozen
class Alert:
    """An alert, as far as it is shown."""

    id: str
    rule_name: str
    severity: str
    status: str
    message: str
    triggered_at: Time


def parse(text: str | bytes) -> dict[str, Any]:
    """The JSON object of a message. Raises Unreadable."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None
    if not isinstance(message, dict):
        raise Unreadable("not a JSON object")
    return message


def metrics(message: dict[str, Any]) -> Metrics | None:
    """A metrics message; None where it has not all topics yet. Raises Unreadable."""
    data = message.get("data")
    if isinstance(data, dict) and not all(topic in data for topic in TOPICS):
        return None
    return _structured(message, Metrics)


def alert(data: Any) -> Alert:
    """An alert. Raises Unreadable."""
    return _structured(data, Alert)


def alerts(data: Any) -> tuple[Alert, ...]:
    """A list of alerts. Raises Unreadable."""
    return _structured(data, tuple[Alert, ...])


def _structured(data: Any, type_: type[T]) -> T:
    try:
        return _converter.structure(data, type_)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Unreadable(f"{type(error).__name__} at a figure") from None


def _camel(name: str) -> str:
    return re.sub("_([a-z0-9])", lambda found: found[1].upper(), name)


def _number(value: Any, _: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError("not a number")
    return value


def _text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _time(value: Any, _: Any) -> Time:
    time = parse_rfc3339(_text(value, str))
    if not 0 <= time <= LATEST:
        raise ValueError("no time of a daemon")
    return Time(time)


def _hook(converter: Converter, type_: Any) -> Any:
    names: dict[str, Any] = {a.name: override(rename=_camel(a.name)) for a in fields(type_)}
    return make_dict_structure_fn(type_, converter, **names)


def _made() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook_factory(has, lambda type_: _hook(converter, type_))
    for type_ in (int, float):
        converter.register_structure_hook(type_, _number)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_func(lambda type_: type_ is Time, _time)
    return converter


_converter = _made()

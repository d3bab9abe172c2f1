"""The daemon's JSON over WebSocket and HTTP, read into values. Pure.

The names are the API's, in snake case. Nothing is computed here. JSON that doesn't have all that
the API promises is refused as a whole (``UnexpectedAnswer``).
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
"""No real value is larger, and Python can format numbers of this size."""

LATEST = 2**53
"""In the year 2255; a ``datetime`` ends in 9999."""

Time = NewType("Time", int)
"""Microseconds since 1970."""


class UnexpectedAnswer(ValueError):
    """JSON that aegisd's API doesn't send."""


@frozen
class Overview:
    """Rates and latencies of the last minute, and the totals since the daemon's start."""

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
    """A bucket's requests by status class."""

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
class Topics:
    """The data of a metrics message with all topics."""

    overview: Overview
    request_rate: tuple[Rate, ...]
    latency_percentiles: tuple[Latency, ...]
    status_distribution: tuple[Statuses, ...]
    top_endpoints: tuple[Endpoint, ...]
    backends: Backends


@frozen
class Metrics:
    """A metrics message: its data, and the daemon's time."""

    timestamp: Time
    data: Topics


@frozen
class Alert:
    """An alert, with the fields that are shown."""

    id: str
    rule_name: str
    severity: str
    status: str
    message: str
    triggered_at: Time


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object of a message. Raises UnexpectedAnswer."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer("not JSON") from None
    if not isinstance(message, dict):
        raise UnexpectedAnswer("not a JSON object")
    return message


def parse_metrics(message: dict[str, Any]) -> Metrics | None:
    """A metrics message; None where a topic is missing. Raises UnexpectedAnswer."""
    data = message.get("data")
    if isinstance(data, dict) and not all(topic in data for topic in TOPICS):
        return None
    return _structure(message, Metrics)


def parse_alert(data: Any) -> Alert:
    """An alert. Raises UnexpectedAnswer."""
    return _structure(data, Alert)


def parse_alerts(data: Any) -> tuple[Alert, ...]:
    """A list of alerts. Raises UnexpectedAnswer."""
    return _structure(data, tuple[Alert, ...])


def _structure(data: Any, type_: type[T]) -> T:
    try:
        return _converter.structure(data, type_)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnexpectedAnswer(f"{type(error).__name__} at a value") from None


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


def _object_hook(converter: Converter, type_: Any) -> Any:
    names: dict[str, Any] = {a.name: override(rename=_camel(a.name)) for a in fields(type_)}
    return make_dict_structure_fn(type_, converter, **names)


def _make_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook_factory(has, lambda type_: _object_hook(converter, type_))
    for type_ in (int, float):
        converter.register_structure_hook(type_, _number)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_func(lambda type_: type_ is Time, _time)
    return converter


_converter = _make_converter()

"""What an alert's rule watches (``condition.metric``): unit, and value over a window. Pure.

To add a metric, add a line to ``METRICS`` and its name to ``config.settings.AlertMetric``; a test
holds the two together.
"""

from collections.abc import Callable

from attrs import frozen

from aegisd.config.settings import Condition
from aegisd.events.units import MILLISECOND_US
from aegisd.live import WindowSums
from aegisd.stats import sketch

_TRUE_OF_FEW = ("<", "<=", "==")
"""Operators that may hold because a window is not full yet."""


@frozen
class Metric:
    """How a metric is computed and written. ``value`` gives None where there is nothing to measure.

    ``grows`` says that the value rises while the window of a daemon just started fills: too low a
    value means nothing then.
    """

    unit: str
    value: Callable[[WindowSums], float | None]
    grows: bool = False


def value_of(condition: Condition, sums: WindowSums, running: float) -> float | None:
    """The condition's metric over its window; None where it has no value.

    ``running`` is for how many seconds events have been counted.
    """
    metric = METRICS[condition.metric]
    if metric.grows and condition.operator in _TRUE_OF_FEW and running < sums.seconds:
        return None
    return metric.value(sums)


def _percent(*, of: Callable[[dict[str, int]], int]) -> Callable[[WindowSums], float]:
    """The share of all requests in percent; 0 where there was none."""

    def value(sums: WindowSums) -> float:
        requests = sums.counters["requests"]
        return 100 * of(sums.counters) / requests if requests else 0.0

    return value


def _milliseconds(quantile: float) -> Callable[[WindowSums], float | None]:
    """A quantile of the durations; None where no request had one."""

    def value(sums: WindowSums) -> float | None:
        (microseconds,) = sketch.quantiles(sums.durations, (quantile,))
        return None if microseconds is None else microseconds / MILLISECOND_US

    return value


def _per_second(sums: WindowSums) -> float:
    return sums.counters["requests"] / sums.seconds


METRICS: dict[str, Metric] = {
    "error_rate": Metric(" %", _percent(of=lambda c: c["requests"] - c["succeeded"])),
    "server_error_rate": Metric(" %", _percent(of=lambda c: c["server_errors"])),
    "latency_p95": Metric(" ms", _milliseconds(0.95)),
    "latency_p99": Metric(" ms", _milliseconds(0.99)),
    "request_rate": Metric("/s", _per_second, grows=True),
    "rate_limit_rate": Metric(" %", _percent(of=lambda c: c["rate_limited"])),
}

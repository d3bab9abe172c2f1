"""Makes Prometheus' metric families of counts."""

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Values = Mapping[str, int] | None


def counter(
    name: str, about: str, label: str = "", values: Values = None, *, value: float = 0
) -> Metric:
    """A counter: one for each of ``values``, or the single ``value`` of one without labels."""
    return _filled(CounterMetricFamily(name, about, labels=[label] if label else []), values, value)


def gauge(
    name: str, about: str, label: str = "", values: Values = None, *, value: float = 0
) -> Metric:
    """A gauge: one for each of ``values``, or the single ``value`` of one without labels."""
    return _filled(GaugeMetricFamily(name, about, labels=[label] if label else []), values, value)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Values, value: float
) -> Metric:
    if values is None:
        family.add_metric([], value)
    for key, count in (values or {}).items():
        family.add_metric([key], count)
    return family

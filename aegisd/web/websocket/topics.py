"""The topics of the metrics message, made from the live state when somebody first wants them."""

from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any

from aegisd.live import LiveState, Overview, Series
from aegisd.store.history import Range
from aegisd.times import rfc3339
from aegisd.web import views
from aegisd.web.http import to_json

TOPICS = (
    "overview",
    "requestRate",
    "latencyPercentiles",
    "statusDistribution",
    "topEndpoints",
    "backends",
)
TOP_ENDPOINTS = 10


class Snapshot:
    """The topics as of ``now`` (microseconds since 1970), each made once and then kept.

    The hub keeps a snapshot for one interval. A topic is made when a client first wants it: late in
    the interval, it shows the live state of that moment instead of ``now``'s.
    """

    def __init__(self, live: LiveState, now: int) -> None:
        self._live = live
        self._now = now
        self._made: dict[str, str] = {}

    def message(self, topics: AbstractSet[str]) -> str:
        """A metrics message with these topics."""
        wanted = [topic for topic in TOPICS if topic in topics]
        data = ",".join(f'"{topic}":{self._topic(topic)}' for topic in wanted)
        return f'{{"type":"metrics","timestamp":"{rfc3339(self._now)}","data":{{{data}}}}}'

    def _topic(self, topic: str) -> str:
        if topic not in self._made:
            self._made[topic] = to_json(self._data_of(topic))
        return self._made[topic]

    def _data_of(self, topic: str) -> Any:
        match topic:
            case "overview":
                return views.overview(self._overview)
            case "requestRate":
                return views.live_request_rate(*self._series)
            case "latencyPercentiles":
                return views.live_latency(*self._series)
            case "statusDistribution":
                return views.live_status_distribution(*self._series)
            case "topEndpoints":
                return views.live_endpoints(self._live.top_endpoints(TOP_ENDPOINTS))
            case _:
                return views.backends(self._overview.backends, self._live.observed_backends())

    @cached_property
    def _overview(self) -> Overview:
        return self._live.overview()

    @cached_property
    def _series(self) -> tuple[Range, Series]:
        series = self._live.series()
        return views.live_range(series, self._now), series

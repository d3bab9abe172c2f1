"""The three series topics: points of 10 s over 15 minutes, each written as JSON once it changes.

In a second one or two buckets change: the one that is filling, and those that late events reach. A
bucket whose counters are as they were keeps its points. Each change has the number of the refresh
that found it, so the points that a client lacks are those with a higher number than its last.
"""

from typing import Any

from attrs import define, frozen

from aegisd.events.units import SECOND_US
from aegisd.live import BUCKET_SECONDS, LiveState
from aegisd.store.history import Range
from aegisd.web import views
from aegisd.web.http import to_json

SERIES_TOPICS = ("requestRate", "latencyPercentiles", "statusDistribution")


@frozen
class _Point:
    text: str
    changed: int


@define
class _Bucket:
    counters: bytes
    seconds: float
    points: dict[str, _Point]


class SeriesTopics:
    """The points by bucket, the oldest first."""

    def __init__(self, live: LiveState) -> None:
        self._live = live
        self._buckets: dict[int, _Bucket] = {}
        self.whole_since = 0
        """A client whose last message was before this refresh needs the whole series."""

    def refresh(self, now: int, number: int) -> None:
        """Write the points that changed; ``now`` is in microseconds since 1970."""
        series = self._live.series()
        starts = [start * SECOND_US for start in series.starts.tolist()]
        if self._buckets and starts[-1] < next(reversed(self._buckets)):
            self.whole_since = number  # the clock was set back: clients have points of the future
        range_ = Range(starts[0], now, BUCKET_SECONDS)
        before, self._buckets = self._buckets, {}
        for row, start in enumerate(starts):
            if start >= now:  # just now, it has not begun
                break
            counters = series.counters[row]
            raw, seconds = counters.tobytes(), range_.seconds_in(start)
            bucket = before.get(start)
            made: tuple[dict[str, Any], ...]
            if bucket is None or bucket.counters != raw:
                made = (
                    views.live_rate_point(range_, start, counters),
                    views.live_latency_point(start, counters, series.durations(row)),
                    views.live_status_point(start, counters),
                )
            elif bucket.seconds != seconds:  # of these, only the rate knows how long it lasts
                made = (views.live_rate_point(range_, start, counters),)
            else:
                self._buckets[start] = bucket
                continue
            points = {} if bucket is None else dict(bucket.points)
            for topic, point in zip(SERIES_TOPICS, made, strict=False):
                text = to_json(point)
                if topic not in points or points[topic].text != text:
                    points[topic] = _Point(text, number)
            self._buckets[start] = _Bucket(raw, seconds, points)

    def points(self, topic: str, base: int | None) -> str:
        """The points that changed after the refresh ``base``, or all, as a JSON list."""
        points = (bucket.points[topic] for bucket in self._buckets.values())
        texts = (p.text for p in points if base is None or p.changed > base)
        return f"[{','.join(texts)}]"

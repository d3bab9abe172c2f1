"""Ranges of time to ask history for, and the buckets they are cut into. Pure.

There are two kinds of buckets. A range is cut into the buckets of a chart: each is a point, and
``Range.bucket`` is their length. The rollups that are read have buckets as long as their level. A
chart's bucket is a whole multiple of a level's, so that rollups can be added up to it.
"""

from attrs import frozen

from aegisd.events.units import SECOND_US
from aegisd.store.schema import DAY, HOUR, MINUTE, ceil, floor

NAMED_RANGES = {
    "5m": (300, 10),
    "15m": (900, 10),
    "1h": (3600, 60),
    "6h": (21_600, 300),
    "24h": (86_400, 900),
    "7d": (604_800, 7200),
    "30d": (2_592_000, 21_600),
}
"""Length and chart's bucket of each named range, in seconds."""

BUCKETS = (10, 60, 300, 900, 7200, 21_600, DAY)
"""The chart's buckets of a free range, in seconds; wider ones are whole days."""

MAX_BUCKETS = 150
"""Of a free range."""

KeptFrom = dict[int, int]
"""By level of the rollups (seconds): from where on it is kept (microseconds since 1970)."""


@frozen
class Range:
    """From ``start`` up to ``end``, in microseconds since 1970; ``bucket``, a chart's, in seconds.

    Buckets start at whole multiples of their length since 1970, UTC.
    """

    start: int
    end: int
    bucket: int

    @property
    def seconds(self) -> float:
        """The length of the range."""
        return (self.end - self.start) / SECOND_US

    def bucket_starts(self) -> list[int]:
        """Where each bucket starts, in microseconds since 1970."""
        step = self.bucket * SECOND_US
        return list(range(self.start // step * step, self.end, step))

    def seconds_in(self, bucket_start: int) -> float:
        """How many seconds of a bucket lie in the range: the last one may still be filling."""
        low = max(bucket_start, self.start)
        high = min(bucket_start + self.bucket * SECOND_US, self.end)
        return (high - low) / SECOND_US


def kept_of_names(kept: KeptFrom, finest: int = MINUTE) -> KeptFrom:
    """Of what is kept the levels that have names, which begin with the minute."""
    return {level: start for level, start in kept.items() if level >= finest}


def _kept_of_lists(kept: KeptFrom, length: int) -> KeptFrom:
    """The levels that lists of names use: from minutes on, over a day or more from hours on.

    A minute has as many names as a day. At both ends of a long range, minutes up to the next whole
    hour would cost as much to read as all the rest.
    """
    return kept_of_names(kept, HOUR if length >= DAY else MINUTE)


def named_range(name: str, now: int, kept: KeptFrom, *, names: bool = False) -> Range:
    """One of NAMED_RANGES, up to ``now``; ``names`` for a list of endpoints or keys.

    Raises KeyError.
    """
    length, bucket = NAMED_RANGES[name]
    if names:
        kept = _kept_of_lists(kept, length)
    return _in_whole_rollups(now - length * SECOND_US, now, bucket, now, kept)


def range_between(start: int, end: int, now: int, kept: KeptFrom, *, names: bool = False) -> Range:
    """A free range, ``start`` before ``end``, in the finest buckets that MAX_BUCKETS allows.

    ``names`` for a list of endpoints or keys.
    """
    length = -(-(end - start) // SECOND_US)
    if names:
        kept = _kept_of_lists(kept, length)
    for bucket in BUCKETS:
        if length <= bucket * (MAX_BUCKETS - 2):  # it may start and end within a bucket
            return _in_whole_rollups(start, end, bucket, now, kept)
    days = -(-length // (DAY * (MAX_BUCKETS - 2)))
    return _in_whole_rollups(start, end, days * DAY, now, kept)


def finest(moment: int, kept: KeptFrom) -> int:
    """The finest level that is kept at that moment."""
    return min(level for level, start in kept.items() if start <= moment)


def _in_whole_rollups(start: int, end: int, bucket: int, now: int, kept: KeptFrom) -> Range:
    """The range, widened to whole rollups of the levels kept at its ends; it may end with now."""
    coarse = finest(max(start, 0), kept)
    start = floor(max(start, 0), coarse)
    if end < now:
        end = min(ceil(end, finest(end, kept)), now)
    if bucket < coarse:
        bucket = next(wide for wide in BUCKETS if wide >= coarse)
    return Range(start, end, bucket)

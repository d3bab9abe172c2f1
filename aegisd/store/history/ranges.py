"""Ranges of time that history is asked for, and the buckets they are cut into. Pure."""

from attrs import frozen

from aegisd.events.units import SECOND_US
from aegisd.store.schema import DAY, HOUR, MINUTE, ceil, floor

NAMED = {
    "5m": (300, 10),
    "15m": (900, 10),
    "1h": (3600, 60),
    "6h": (21_600, 300),
    "24h": (86_400, 900),
    "7d": (604_800, 7200),
    "30d": (2_592_000, 21_600),
}
"""Length and bucket of each named range, in seconds."""

BUCKETS = (10, 60, 300, 900, 7200, 21_600, DAY)
"""Buckets that a free range may get; beyond, whole numbers of days."""

MAX_BUCKETS = 150

Kept = dict[int, int]
"""For each level of the rollups (seconds) from where on it is kept (microseconds since 1970)."""


@frozen
class Range:
    """From ``start`` up to ``end``, in microseconds since 1970; ``bucket`` in seconds.

    Buckets start at whole multiples of their length since 1970, UTC.
    """

    start: int
    end: int
    bucket: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start) / SECOND_US

    def bucket_starts(self) -> list[int]:
        """Where each bucket starts, in microseconds since 1970."""
        step = self.bucket * SECOND_US
        return list(range(self.start // step * step, self.end, step))

    def seconds_in(self, bucket_start: int) -> float:
        """How much of a bucket lies in the range: the last one is still filling."""
        low = max(bucket_start, self.start)
        high = min(bucket_start + self.bucket * SECOND_US, self.end)
        return (high - low) / SECOND_US


def _for_names(kept: Kept, length: int) -> Kept:
    """The levels by which names are listed over ``length`` seconds: minutes, for long ones hours.

    A minute has as many names as a day: those up to the first whole hour would cost as much to
    read as all that follows.
    """
    finest = HOUR if length >= DAY else MINUTE
    return {level: start for level, start in kept.items() if level >= finest}


def named(name: str, now: int, kept: Kept, *, names: bool = False) -> Range:
    """One of NAMED, up to ``now``; ``names`` for a list of them. KeyError where there is none."""
    length, bucket = NAMED[name]
    if names:
        kept = _for_names(kept, length)
    return _whole(now - length * SECOND_US, now, bucket, now, kept)


def between(start: int, end: int, now: int, kept: Kept, *, names: bool = False) -> Range:
    """A free range, ``start`` before ``end``, in as fine buckets as MAX_BUCKETS allows.

    ``names`` for a list of endpoints or keys.
    """
    length = -(-(end - start) // SECOND_US)
    if names:
        kept = _for_names(kept, length)
    for bucket in BUCKETS:
        if length <= bucket * (MAX_BUCKETS - 2):  # it may start and end within a bucket
            return _whole(start, end, bucket, now, kept)
    days = -(-length // (DAY * (MAX_BUCKETS - 2)))
    return _whole(start, end, days * DAY, now, kept)


def finest(moment: int, kept: Kept) -> int:
    """The finest level that is kept for that moment."""
    return min(level for level, start in kept.items() if start <= moment)


def _whole(start: int, end: int, bucket: int, now: int, kept: Kept) -> Range:
    """The range in whole rollups of what is kept; its end may be now."""
    coarse = finest(max(start, 0), kept)
    start = floor(max(start, 0), coarse)
    if end < now:
        end = min(ceil(end, finest(end, kept)), now)
    if bucket < coarse:
        bucket = next(wide for wide in BUCKETS if wide >= coarse)
    return Range(start, end, bucket)

"""Ranges of time that history is asked for, and the buckets they are cut into. Pure."""

from attrs import frozen

SECOND = 1_000_000  # microseconds

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

LEVELS = (10, 60, 300, 900, 7200, 21_600, 86_400)
"""Buckets that a free range may get; beyond, whole numbers of days."""

MAX_BUCKETS = 150


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
        return (self.end - self.start) / SECOND

    def bucket_starts(self) -> list[int]:
        """Where each bucket starts, in microseconds since 1970."""
        step = self.bucket * SECOND
        return list(range(self.start // step * step, self.end, step))

    def seconds_in(self, bucket_start: int) -> float:
        """How much of a bucket lies in the range: the last one is still filling."""
        low = max(bucket_start, self.start)
        high = min(bucket_start + self.bucket * SECOND, self.end)
        return (high - low) / SECOND


def named(name: str, now: int) -> Range:
    """One of NAMED, up to ``now``. KeyError where there is none of that name."""
    length, bucket = NAMED[name]
    return Range(now - length * SECOND, now, bucket)


def between(start: int, end: int) -> Range:
    """A free range, ``start`` before ``end``, in as fine buckets as MAX_BUCKETS allows."""
    length = -(-(end - start) // SECOND)
    for level in LEVELS:
        if length <= level * (MAX_BUCKETS - 1):  # it may start within a bucket
            return Range(start, end, level)
    days = -(-length // (86_400 * (MAX_BUCKETS - 1)))
    return Range(start, end, days * 86_400)

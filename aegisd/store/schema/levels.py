"""The levels of the rollups, and which of them together cover a range of time. Pure.

Times are in microseconds since 1970, lengths in seconds.
"""

from attrs import frozen

from aegisd.config.settings import Rollups

SECOND = 1_000_000  # microseconds

FINE, MINUTE, HOUR, DAY = 10, 60, 3600, 86_400

SUFFIXES = {FINE: "10s", MINUTE: "1m", HOUR: "1h", DAY: "1d"}
"""What the levels' tables end with."""


@frozen
class Kind:
    """A kind of rollup: its tables' name, its names' columns, its counters, its levels."""

    name: str
    names: tuple[str, ...]
    counters: tuple[str, ...]
    timed: bool  # has durations and sketches
    levels: tuple[int, ...]
    rank: tuple[str, ...] = ()  # the counters by which names are kept, the first one first
    shown: tuple[str, ...] = ()  # the counters that a list shows besides

    @property
    def pieces(self) -> str:
        """The table of what is not folded yet."""
        return f"{self.name}_pieces"

    def table(self, level: int) -> str:
        """The table of a level."""
        return f"{self.name}_rollups_{SUFFIXES[level]}"


_STATUSES = ("status_2xx", "status_3xx", "status_4xx", "status_5xx", "status_other")
_COUNTERS = ("requests", *_STATUSES, "failed", "rate_limited")

REQUESTS = Kind(
    "request", (), (*_COUNTERS, "checked", "denied", "timed"), True, (FINE, MINUTE, HOUR, DAY)
)
ENDPOINTS = Kind(
    "endpoint",
    ("method", "endpoint"),
    (*_COUNTERS, "timed"),
    True,
    (MINUTE, HOUR, DAY),
    rank=("requests",),
    shown=("failed", "timed"),
)
KEYS = Kind(
    "rate_limit",
    ("key",),
    ("checked", "denied"),
    False,
    (MINUTE, HOUR, DAY),
    rank=("denied", "checked"),
)
KINDS = (REQUESTS, ENDPOINTS, KEYS)


def floor(moment: int, level: int) -> int:
    """The start of the bucket of ``level`` seconds that ``moment`` lies in."""
    return moment - moment % (level * SECOND)


def ceil(moment: int, level: int) -> int:
    """The first start of a bucket that is not before ``moment``."""
    return -floor(-moment, level)


def level_days(settings: Rollups) -> dict[int, int]:
    """For how many days each level is kept; the days are for good.

    None goes before a finer one: where a range begins with the finer, it goes on with the coarser.
    """
    minutes = max(settings.minute_days, settings.ten_seconds_days)
    return {
        FINE: settings.ten_seconds_days,
        MINUTE: minutes,
        HOUR: max(settings.hour_days, minutes),
    }


def kept_from(settings: Rollups, now: int) -> dict[int, int]:
    """For each level from where on it is kept: whole days."""
    starts = {
        level: max(floor(now - kept * DAY * SECOND, DAY), 0)
        for level, kept in level_days(settings).items()
    }
    return starts | {DAY: 0}


@frozen
class Progress:
    """Up to where hours and days are closed: their rollups are there."""

    hours: int
    days: int

    def of(self, level: int) -> int | None:
        """Up to where a level is complete, but for what is not folded yet; None is all the way."""
        return {HOUR: self.hours, DAY: self.days}.get(level)


@frozen
class Segment:
    """A stretch of a range that the rollups of one level cover."""

    level: int
    start: int
    end: int


def cover(start: int, end: int, levels: tuple[int, ...], progress: Progress) -> list[Segment]:
    """The fewest rollups that together are the range, in the order of time.

    ``levels`` ascend. The coarsest level covers what it can, finer ones what is left at both
    ends; the range is widened to whole buckets of the finest.
    """
    *finer, coarsest = levels
    if not finer:
        start, end = floor(start, coarsest), ceil(end, coarsest)
        return [Segment(coarsest, start, end)] if start < end else []
    closed = progress.of(coarsest)
    low = ceil(start, coarsest)
    high = floor(end if closed is None else min(end, closed), coarsest)
    rest = tuple(finer)
    if low >= high:
        return cover(start, end, rest, progress)
    return [
        *cover(start, low, rest, progress),
        Segment(coarsest, low, high),
        *cover(high, end, rest, progress),
    ]

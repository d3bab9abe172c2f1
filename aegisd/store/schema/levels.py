"""The levels of the rollups, and which of them together cover a range of time. Pure.

Times are in microseconds since 1970, lengths in seconds.
"""

from attrs import frozen

from aegisd.events.counters import DECISION_COUNTERS, REQUEST_COUNTERS
from aegisd.events.units import DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS, SECOND_US

FINE, MINUTE, HOUR, DAY = 10, MINUTE_SECONDS, HOUR_SECONDS, DAY_SECONDS

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


REQUESTS = Kind(
    "request", (), (*REQUEST_COUNTERS, *DECISION_COUNTERS, "timed"), True, (FINE, MINUTE, HOUR, DAY)
)
ENDPOINTS = Kind(
    "endpoint",
    ("method", "endpoint"),
    (*REQUEST_COUNTERS, "timed"),
    True,
    (MINUTE, HOUR, DAY),
    rank=("requests",),
    shown=("failed", "timed"),
)
KEYS = Kind(
    "rate_limit",
    ("key",),
    DECISION_COUNTERS,
    False,
    (MINUTE, HOUR, DAY),
    rank=("denied", "checked"),
)
KINDS = (REQUESTS, ENDPOINTS, KEYS)


def floor(moment: int, level: int) -> int:
    """The start of the bucket of ``level`` seconds that ``moment`` lies in."""
    return moment - moment % (level * SECOND_US)


def ceil(moment: int, level: int) -> int:
    """The first start of a bucket that is not before ``moment``."""
    return -floor(-moment, level)

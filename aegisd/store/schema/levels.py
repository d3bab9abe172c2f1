"""The tables of rollups as data: their kinds, and their levels, the lengths of a bucket. Pure.

A level's table is ``{kind}_rollups_{level}``; ``{kind}_pieces`` holds what is not folded yet.

=============  =================  ==================
kind           names              levels
=============  =================  ==================
``request``                       10 s, 1 m, 1 h, 1 d
``endpoint``   method, endpoint   1 m, 1 h, 1 d
``rate_limit`` key                1 m, 1 h, 1 d
=============  =================  ==================

Moments are microseconds since 1970, lengths seconds.
"""

from attrs import frozen

from aegisd.events.counters import DECISION_COUNTERS, REQUEST_COUNTERS
from aegisd.events.units import DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS, SECOND_US

FINE, MINUTE, HOUR, DAY = 10, MINUTE_SECONDS, HOUR_SECONDS, DAY_SECONDS

SUFFIXES = {FINE: "10s", MINUTE: "1m", HOUR: "1h", DAY: "1d"}
"""The ends of the tables' names."""


@frozen
class RollupKind:
    """A kind of rollup."""

    name: str
    names: tuple[str, ...]  # the columns by which its rows are told apart, beside time and node
    counters: tuple[str, ...]
    timed: bool  # has durations and sketches
    levels: tuple[int, ...]
    rank: tuple[str, ...] = ()  # the counters by which the busiest names are kept, first one first
    shown: tuple[str, ...] = ()  # further counters that a list of names shows

    @property
    def pieces_table(self) -> str:
        """The table of its pieces, which are not folded yet."""
        return f"{self.name}_pieces"

    def table(self, level: int) -> str:
        """The table of a level."""
        return f"{self.name}_rollups_{SUFFIXES[level]}"


REQUESTS = RollupKind(
    "request", (), (*REQUEST_COUNTERS, *DECISION_COUNTERS, "timed"), True, (FINE, MINUTE, HOUR, DAY)
)
ENDPOINTS = RollupKind(
    "endpoint",
    ("method", "endpoint"),
    (*REQUEST_COUNTERS, "timed"),
    True,
    (MINUTE, HOUR, DAY),
    rank=("requests",),
    shown=("failed", "timed"),
)
KEYS = RollupKind(
    "rate_limit",
    ("key",),
    DECISION_COUNTERS,
    False,
    (MINUTE, HOUR, DAY),
    rank=("denied", "checked"),
)
ROLLUP_KINDS = (REQUESTS, ENDPOINTS, KEYS)


def floor(moment: int, level: int) -> int:
    """The start of the bucket of ``level`` seconds that has ``moment``."""
    return moment - moment % (level * SECOND_US)


def ceil(moment: int, level: int) -> int:
    """The first start of a bucket at ``moment`` or after it."""
    return -floor(-moment, level)

"""Finds the times in a log that a wrong clock wrote. Pure.

A log is written in order, except that a line waits for its request to end. Where its times jump
ahead, the lines after the jump tell why:

1. After a quiet night the times go on from there: no outlier.
2. After a wrong time they go back to where the log was: the jump is an outlier.

So a time is an outlier where it is far ahead of most lines around it. What is far depends on how
widely these lie. Only the lines around one are held in memory.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from aegisd.events.protocol import MAX_AHEAD_SECONDS
from aegisd.events.units import DAY_SECONDS

T = TypeVar("T")

NEIGHBOURS = 20
"""Lines looked at before a jump, and as many after it: up to nine outliers in a row are found."""

FAR_SPREADS = 8
"""Far is 8 times as far ahead of the median as the lower quartile is behind it. Of evenly spaced
lines in reverse order, the first is 2 times as far ahead."""

FAR_AT_THE_END_SECONDS = 30 * DAY_SECONDS
"""Where no later line goes back, a jump of less may be a pause of the log. The default retention
is 30 days: of a longer jump it can't keep both sides, and the side with more lines is kept."""


def find_outliers(timed: Iterable[tuple[float, T]]) -> Iterator[tuple[bool, T]]:
    """Each item, in order, and whether its time is an outlier."""
    newest: float | None = None
    before: deque[float] = deque(maxlen=NEIGHBOURS)
    following: deque[tuple[float, T]] = deque()
    source = iter(timed)
    while True:
        while len(following) <= NEIGHBOURS and (read := next(source, None)) is not None:
            following.append(read)
        if not following:
            return
        time, item = following.popleft()
        # a smaller jump would shift the others by no more than clocks may differ
        jumps = newest is None or time > newest + MAX_AHEAD_SECONDS
        outlier = jumps and _is_outlier(time, before, [other for other, _ in following])
        if not outlier:
            before.append(time)
            newest = time if newest is None else max(newest, time)
        yield outlier, item


def _is_outlier(time: float, before: Sequence[float], following: list[float]) -> bool:
    around = sorted([*before, *following])
    if len(around) < 2:
        return False  # of two times either may be the wrong one
    median, lower_quartile = around[len(around) // 2], around[len(around) // 4]
    goes_back = (
        following and sorted(following)[(len(following) - 1) // 2] < time - MAX_AHEAD_SECONDS
    )
    far = MAX_AHEAD_SECONDS if goes_back else FAR_AT_THE_END_SECONDS
    return time - median > max(far, FAR_SPREADS * (median - lower_quartile))

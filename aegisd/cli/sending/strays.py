"""Times in a log that are strays: written by a clock that was wrong. Pure.

A log is written in order, give or take how long a request takes. Where its times jump ahead, the
lines around the jump tell what it is: behind a quiet night they go on from there, behind a stray
they go back to where the log stood. So a time is a stray where it is far ahead of most lines
around it, and far is measured by how widely these lie. Of a log only so many lines are held at a
time as stand around one.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from aegisd.events.protocol import MAX_AHEAD_SECONDS
from aegisd.events.units import DAY_SECONDS

T = TypeVar("T")

NEIGHBOURS = 20
"""Lines before a jump, and lines behind it, that are looked at. Nine strays in a row are found."""

FAR_SPREADS = 8
"""So many times as far ahead of the middle as the lower quarter is behind it is far. With evenly
spaced lines in reverse the first is two times as far ahead."""

FAR_AT_THE_END_SECONDS = 30 * DAY_SECONDS
"""Where no line behind goes back, a jump of less may be a log that was quiet. After more, not both
sides of it can be kept with the default retention, and the side with more lines is."""


def judged(timed: Iterable[tuple[float, T]]) -> Iterator[tuple[bool, T]]:
    """Each item, in order, and whether its time is a stray."""
    newest: float | None = None
    before: deque[float] = deque(maxlen=NEIGHBOURS)
    behind: deque[tuple[float, T]] = deque()
    source = iter(timed)
    while True:
        while len(behind) <= NEIGHBOURS and (following := next(source, None)) is not None:
            behind.append(following)
        if not behind:
            return
        time, item = behind.popleft()
        # a stray that is no further ahead would move the others by no more than clocks differ
        jumps = newest is None or time > newest + MAX_AHEAD_SECONDS
        stray = jumps and _is_stray(time, before, [other for other, _ in behind])
        if not stray:
            before.append(time)
            newest = time if newest is None else max(newest, time)
        yield stray, item


def _is_stray(time: float, before: Sequence[float], behind: list[float]) -> bool:
    around = sorted([*before, *behind])
    if len(around) < 2:
        return False  # of two times either may be wrong
    middle, lower = around[len(around) // 2], around[len(around) // 4]
    goes_back = behind and sorted(behind)[(len(behind) - 1) // 2] < time - MAX_AHEAD_SECONDS
    far = MAX_AHEAD_SECONDS if goes_back else FAR_AT_THE_END_SECONDS
    return time - middle > max(far, FAR_SPREADS * (middle - lower))

"""Which time the upkeep goes by, and when it may remove something. Pure; times are in seconds.

How old something is goes by the database's clock, which all daemons share. Two guards keep a wrong
clock from removing anything:

1. A daemon whose own clock is more than APART_SECONDS off the database's does no upkeep: one of the
   two is wrong, and it cannot know which.
2. A step ahead of the database's clock counts only after LASTING_SECONDS, so that one which is
   mended soon removes nothing. What is due is announced as long before.
"""

from collections import deque
from collections.abc import Iterable

from attrs import define, field

APART_SECONDS = 120.0
"""How far two clocks may differ. Synchronised clocks differ by less than a second."""

LASTING_SECONDS = 600.0
"""How long a step of the clock must last before it counts, and for how long something must have
been announced and due before it is removed."""


def seconds_ahead(database: float, before: float, after: float) -> float:
    """How far this machine's clock is ahead of the database's; negative where it is behind.

    This machine's clock said ``before`` and ``after`` the question. A database's time between the
    two is no difference, however long the question took.
    """
    return max(before - database, 0.0) - max(database - after, 0.0)


@define
class DatabaseClock:
    """The database's clock, seen against the steady one."""

    _seen: deque[tuple[float, float]] = field(factory=deque)
    """Steady time of each reading, and how far the database's clock was ahead of steady time."""

    def observe(self, now: float, steady: float) -> None:
        """Note that the database's clock said ``now``."""
        self._seen.append((steady, now - steady))
        while len(self._seen) > 1 and self._seen[1][0] <= steady - LASTING_SECONDS:
            self._seen.popleft()

    def settled(self, steady: float) -> float:
        """The time to remove by: the earliest by any reading of the last LASTING_SECONDS."""
        return steady + min(lead for _, lead in self._seen)


@define
class Announcements:
    """What is due to be removed, and since when it has been due (steady time)."""

    _since: dict[str, float] = field(factory=dict)

    def announce(self, due: Iterable[str], steady: float) -> list[str]:
        """Note what is due now, and forget all else; return what was not due before."""
        found = list(due)
        new = [name for name in found if name not in self._since]
        self._since = {name: self._since.get(name, steady) for name in found}
        return new

    def lasted(self, name: str, steady: float) -> bool:
        """Whether it was announced LASTING_SECONDS ago, and has been due ever since."""
        since = self._since.get(name)
        return since is not None and steady - since >= LASTING_SECONDS

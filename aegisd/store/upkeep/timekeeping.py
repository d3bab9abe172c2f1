"""Which time the upkeep goes by, and what it may remove by it. Pure: times, in seconds, come in.

Ages go by the database's clock, which all daemons share. Two guards stand before it. A daemon whose
own clock tells another time leaves the upkeep alone: one of the two is wrong, and who knows which.
And what a clock says counts for removing only after it has said so for a while: a step ahead that
is mended soon removes nothing.
"""

from collections import deque
from collections.abc import Iterable

from attrs import define, field

APART_SECONDS = 120.0
"""How far two clocks may differ: where time is synchronised it is by less than a second."""

LASTING_SECONDS = 600.0
"""How long a clock's step must last, and what is to be removed be announced, before it counts."""


def ahead(database: float, before: float, after: float) -> float:
    """How far our clock is ahead of the database's, which was read between two looks at ours.

    A question that takes long is no difference: only what lies outside of the two looks counts.
    """
    return max(before - database, 0.0) - max(database - after, 0.0)


@define
class Clock:
    """The database's clock, as seen against a steady one."""

    _seen: deque[tuple[float, float]] = field(factory=deque)

    def observe(self, now: float, steady: float) -> None:
        """The database's clock said ``now``."""
        self._seen.append((steady, now - steady))
        while len(self._seen) > 1 and self._seen[1][0] <= steady - LASTING_SECONDS:
            self._seen.popleft()

    def settled(self, steady: float) -> float:
        """The time to remove by: the least that the clock's readings of the last while come to."""
        return steady + min(lead for _, lead in self._seen)


@define
class Announced:
    """What is due to be removed, and since when that is known."""

    _since: dict[str, float] = field(factory=dict)

    def announce(self, due: Iterable[str], steady: float) -> list[str]:
        """Note what is due now, and forget what no longer is; return what is new."""
        found = list(due)
        new = [name for name in found if name not in self._since]
        self._since = {name: self._since.get(name, steady) for name in found}
        return new

    def ripe(self, name: str, steady: float) -> bool:
        """Whether it was announced long enough ago, and due ever since."""
        since = self._since.get(name)
        return since is not None and steady - since >= LASTING_SECONDS

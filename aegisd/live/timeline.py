"""The Timeline: seconds that go on evenly when the wall clock is set.

If the wall clock is set back by an hour, events get timestamps that were there an hour ago. By wall
clock, the windows would show that hour again and count its seconds twice. So the live state counts
in seconds of the line: wall-clock seconds less all steps that the wall clock has made. A step shows
by comparison with a steady clock.
"""

import math

STEP_SECONDS = 0.999
"""If the wall clock moved by so much more or less than the steady one, it was set. If by less, it
drifts or is slewed, and the line follows it. A little less than 1 s, so that a step of a whole
second always counts, however floats are rounded: otherwise a clock that is set back by a second
time and again would take the line along."""


class Timeline:
    """The line. Its seconds are whole, and near those of the wall clock until that is set."""

    def __init__(self) -> None:
        self.wall_ahead = 0
        """Seconds by which the wall clock is ahead of the line: the sum of its steps."""
        self._seen: tuple[float, float] | None = None

    def observe(self, wall: float, steady: float) -> int:
        """Take the time of both clocks, in seconds; return the line's present second.

        ``steady`` is a clock that goes on while the machine sleeps (CLOCK_BOOTTIME).
        """
        if self._seen is not None:
            step = (wall - self._seen[0]) - (steady - self._seen[1])
            if abs(step) >= STEP_SECONDS:
                self.wall_ahead += round(step)
        self._seen = (wall, steady)
        return math.floor(wall) - self.wall_ahead

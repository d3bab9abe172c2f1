"""Puts wall-clock seconds on a line that runs on when the wall clock is set.

Windows are about the last minutes as they were lived. When the clock is set back by an hour,
events bear times that were already there once: by wall clock, the windows would show an hour
ago and count its seconds twice. So the live state counts in seconds of this line: the wall
clock less all the steps it has made, seen against a clock that never steps.
"""

import math

STEP_SECONDS = 0.999
"""A wall clock that moved this much more or less than the steady one was set. What is less is
drift and slewing, and the line follows it. A whole second counts, however its floats are rounded:
a clock that goes back by one time and again would lead the line astray."""


class Timeline:
    """The line's second of a wall-clock time."""

    def __init__(self) -> None:
        self.steps = 0
        """Seconds by which the wall clock was set forward, in all."""
        self._seen: tuple[float, float] | None = None

    def observe(self, wall: float, steady: float) -> int:
        """Take note of both clocks (seconds); return the second that is now.

        ``steady`` never steps and goes on while the machine sleeps (CLOCK_BOOTTIME).
        """
        if self._seen is not None:
            step = (wall - self._seen[0]) - (steady - self._seen[1])
            if abs(step) >= STEP_SECONDS:
                self.steps += round(step)
        self._seen = (wall, steady)
        return math.floor(wall) - self.steps

"""The durations of a block's requests: those that have one, and their bins of the sketch."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Integers, Mask
from aegisd.stats import sketch


@frozen(eq=False)
class Durations:
    """Durations in whole microseconds, and the bins of the sketch that they fall into.

    ``timed`` marks the requests that have a duration; None, the usual case, is all of them.
    """

    timed: Mask | None
    micros: Integers
    bins: NDArray[np.intp]

    @classmethod
    def of(cls, column: Integers) -> "Durations":
        """The durations of a block's column, not empty; ABSENT is a request without one."""
        if column.min() != ABSENT:
            return cls(None, column, sketch.bins_of(column))
        timed = column != ABSENT
        micros = column[timed]
        return cls(timed, micros, sketch.bins_of(micros))

    def where(self, requests: Mask) -> "Durations":
        """The durations of the marked requests."""
        if self.timed is None:
            return Durations(None, self.micros[requests], self.bins[requests])
        kept = requests[self.timed]
        return Durations(self.timed[requests], self.micros[kept], self.bins[kept])

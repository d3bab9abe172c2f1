"""The durations of a block's requests: those that have one, and their bins of the sketch."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Integers, Mask
from aegisd.stats import sketch


@frozen(eq=False)
class Durations:
    """Durations in whole microseconds, and the bins of the sketch that they fall into.

    ``has_duration`` marks the requests of the block that have one; None, the usual case, is all of
    them. ``micros`` and ``bins`` have an item for each of these requests.
    """

    has_duration: Mask | None
    micros: Integers
    bins: NDArray[np.intp]

    @classmethod
    def of(cls, column: Integers) -> "Durations":
        """The durations of a block's column, not empty; ABSENT is a request without one."""
        if column.min() != ABSENT:
            return cls(None, column, sketch.bins_of(column))
        has_duration = column != ABSENT
        micros = column[has_duration]
        return cls(has_duration, micros, sketch.bins_of(micros))

    def where(self, requests: Mask) -> "Durations":
        """The durations of the marked requests."""
        if self.has_duration is None:
            return Durations(None, self.micros[requests], self.bins[requests])
        kept = requests[self.has_duration]
        return Durations(self.has_duration[requests], self.micros[kept], self.bins[kept])

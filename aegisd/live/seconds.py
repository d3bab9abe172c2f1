"""Which seconds the events of a block are of, and counting by them."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Mask
from aegisd.events.units import SECOND_US


@frozen(eq=False)
class Seconds:
    """Seconds of a ``Timeline``, ascending, and for each event which of them is its own.

    Event ``i`` is of ``distinct[row[i]]``; where all are of one second, as bursts mostly are,
    ``row`` is None. Seconds between the first and the last may have no event.
    """

    distinct: Integers
    row: NDArray[np.intp] | None

    @classmethod
    def of(cls, timestamps: Integers, steps: int) -> "Seconds":
        """Those of ``timestamps`` (microseconds since 1970), of which there must be some.

        ``steps`` are the seconds by which the wall clock is ahead of the line.
        """
        first = int(timestamps.min()) // SECOND_US
        last = int(timestamps.max()) // SECOND_US
        if first == last:
            return cls(np.array([first - steps]), None)
        row = (timestamps - first * SECOND_US) // SECOND_US
        if last - first < len(timestamps):  # close together: no need to sort them
            return cls(np.arange(first, last + 1) - steps, row)
        distinct, row = np.unique(row, return_inverse=True)
        return cls(distinct + (first - steps), row.reshape(-1))

    def where(self, events: Mask | None) -> "Seconds":
        """The same seconds for the marked events; None marks all."""
        if self.row is None or events is None:
            return self
        return Seconds(self.distinct, self.row[events])

    def count(self, values: NDArray[np.intp] | Mask, width: int) -> NDArray[np.int64]:
        """How many events of each second have each value, from 0 to ``width`` less one."""
        if self.row is None:
            return np.bincount(values, minlength=width).reshape(1, -1)
        n = len(self.distinct)
        return np.bincount(self.row * width + values, minlength=n * width).reshape(n, -1)

    def sum(self, values: Integers) -> Integers:
        """Each second's sum of its events' values: whole numbers, so exact in any order."""
        if self.row is None:
            return np.array([values.sum()])
        sums = np.zeros(len(self.distinct), np.int64)
        np.add.at(sums, self.row, values)
        return sums

"""Groups of events (those of one second, or of one minute and name), and sums by group.

A group has a code, a whole number: its second, or its minute and name in one. Counting by group is
a few operations over whole arrays, whatever the number of events and groups. Where all events are
of one group, as in most bursts, it is one operation.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Mask

_DENSE = 4
"""Up to so many codes an event, between the least and the greatest, are marked in a table; codes
farther apart are sorted, which takes no memory for what lies between them."""


@frozen(eq=False)
class Groups:
    """The groups' codes, ascending, and the group of each event.

    Event ``i`` is of the group ``codes[index[i]]``. A group may have no event.
    """

    codes: Integers
    index: NDArray[np.intp]

    @classmethod
    def by_code(cls, codes: Integers) -> "Groups":
        """A group for each distinct code of the events, of which there must be some."""
        low = int(codes.min())
        width = int(codes.max()) - low + 1
        if width > _DENSE * len(codes):
            distinct, index = np.unique(codes, return_inverse=True)
            return cls(distinct, index.reshape(-1))
        place = codes - low
        there = np.zeros(width, np.bool_)
        there[place] = True
        index = there.cumsum() - 1
        return cls(np.flatnonzero(there) + low, index[place])

    @classmethod
    def by_time(cls, timestamps: Integers, length: int) -> "Groups":
        """A group for each ``length`` of time; its code is its number since 0.

        Events that lie close together also make groups of the times between them: to look for
        those without an event would cost more than they do. There must be some event.
        """
        first, last = int(timestamps.min()) // length, int(timestamps.max()) // length
        if first == last:
            return cls(np.array([first]), np.zeros(len(timestamps), np.intp))
        numbers = (timestamps - first * length) // length
        if last - first < len(timestamps):
            return cls(np.arange(first, last + 1), numbers)
        distinct, index = np.unique(numbers, return_inverse=True)
        return cls(distinct + first, index.reshape(-1))

    def where(self, events: Mask | None) -> "Groups":
        """The same groups, with the marked events alone; None marks all. Some may become empty."""
        if events is None:
            return self
        if len(self.codes) == 1:
            return Groups(self.codes, self.index[: np.count_nonzero(events)])
        return Groups(self.codes, self.index[events])

    def within(self, codes: Integers) -> "Groups":
        """The same events in groups of ``codes``, which ascend and hold these groups' codes."""
        return Groups(codes, np.searchsorted(codes, self.codes)[self.index])

    def sizes(self) -> NDArray[np.int64]:
        """How many events each group has."""
        return np.bincount(self.index, minlength=len(self.codes))

    def count(self, values: NDArray[np.intp] | Mask, width: int) -> NDArray[np.int64]:
        """A row a group: how many of its events have each value, from 0 to ``width`` less one."""
        n = len(self.codes)
        if n == 1:
            return np.bincount(values, minlength=width).reshape(1, -1)
        return np.bincount(self.index * width + values, minlength=n * width).reshape(n, -1)

    def sum(self, values: Integers) -> Integers:
        """Each group's sum of its events' values: whole numbers, exact in any order."""
        if len(self.codes) == 1:
            return np.array([values.sum()])
        sums = np.zeros(len(self.codes), np.int64)
        np.add.at(sums, self.index, values)
        return sums


def latest_of_each(names: NDArray[np.integer], times: Integers) -> NDArray[np.intp]:
    """The row of each name's latest event, in the order of the names' last rows.

    Of equal times the later row is the later event.
    """
    if not len(names):
        return np.zeros(0, np.intp)
    order = np.lexsort((times, names))  # stable
    is_last = np.append(names[order][1:] != names[order][:-1], True)
    ends = is_last.nonzero()[0]
    last_rows = np.maximum.reduceat(order, np.append(0, ends[:-1] + 1))
    latest: NDArray[np.intp] = order[is_last][last_rows.argsort()]
    return latest

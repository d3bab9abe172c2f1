"""Which names of those that wait, and of those that are stored, rank first. Pure.

Any number of names may wait: of each there are the counters by which names rank, and no more.
"""

from collections.abc import Collection, Iterator, Sequence
from heapq import nsmallest
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.events.block import Integers, Mask, Text
from aegisd.events.counters import OTHER
from aegisd.store.history.cover import Stretch
from aegisd.store.history.figures import Key
from aegisd.store.rollups import EventsByName
from aegisd.store.schema import Kind

Stored = dict[Key, tuple[int, ...]]
"""Names, with their counters in the order in which they rank."""


@frozen(eq=False)
class Ranking:
    """The names of ``named`` within a range, each once.

    ``columns`` has a list for each of the kind's names, ``counters`` one for each it ranks by;
    ``of`` is the place of each of ``named`` in these, -1 outside of the range.
    """

    columns: list[list[str]]
    counters: list[list[int]]
    of: Integers

    @classmethod
    def of_waiting(
        cls, kind: Kind, named: EventsByName | None, stretches: Sequence[Stretch]
    ) -> "Ranking":
        """The names that wait; none where ``named`` is None."""
        if named is None:
            return cls([[] for _ in kind.names], [[] for _ in kind.rank], np.zeros(0, np.int64))
        inside = (stretches[0].start <= named.starts) & (named.starts < stretches[-1].end)
        texts = [Text(text.values, text.index[inside]).distinct() for text in named.names.values()]
        codes = np.zeros(np.count_nonzero(inside), np.int64)
        for text in texts:
            codes = codes * len(text.values) + text.index
        _, firsts, places = np.unique(codes, return_index=True, return_inverse=True)
        of = np.full(len(inside), -1)
        of[inside] = places
        sums = np.zeros((len(kind.rank), len(firsts)), np.int64)
        for added, counter in zip(sums, kind.rank, strict=True):
            np.add.at(added, places, named.counters[counter][inside])
        columns = [[str(text.values[i]) for i in text.index[firsts].tolist()] for text in texts]
        return cls(columns, sums.tolist(), of)

    def first(self, stored: Stored, limit: int) -> list[Key]:
        """The ``limit`` names that rank first, of those that wait and those ``stored``."""
        return [name for *_, name in nsmallest(limit, self._ranks(stored))]

    def _ranks(self, stored: Stored) -> Iterator[tuple[Any, ...]]:
        """What to order each name by, itself at the end."""
        rest = dict(stored)
        none = (0,) * len(self.counters)
        for name, *own in zip(zip(*self.columns, strict=True), *self.counters, strict=True):
            before = rest.pop(name, none)
            yield ({*name} == {OTHER}, *(-a - b for a, b in zip(own, before, strict=True)), name)
        for name, counters in rest.items():
            yield ({*name} == {OTHER}, *(-count for count in counters), name)

    def chosen(self, names: Collection[Key]) -> Mask:
        """Which of ``named`` have one of these names, and are in the range."""
        own = [name in names for name in zip(*self.columns, strict=True)]
        return np.array([*own, False])[self.of]  # -1 is the last

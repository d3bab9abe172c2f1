"""The names of buffered events, ranked together with those in the database. Pure.

There may be any number of names. Of each there are only the counters that names rank by; all other
figures are added up only for the few names that rank first.
"""

from collections.abc import Collection, Iterator, Sequence
from heapq import nsmallest
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.events.block import Integers, Mask, Text
from aegisd.events.counters import OTHER
from aegisd.store.history.cover import Stretch
from aegisd.store.history.sums import Key
from aegisd.store.rollups import EventsByName
from aegisd.store.schema import RollupKind

StoredNames = dict[Key, tuple[int, ...]]
"""Names in the database, with their counters in the order in which they rank."""


@frozen(eq=False)
class BufferedNames:
    """The names of some events within a range, each name once.

    ``columns`` has a list for each of the kind's names, ``counters`` one for each counter it ranks
    by. ``place`` has a number for each group of the events, by minute and name: where its name is
    in these lists, -1 if it lies outside of the range.
    """

    columns: list[list[str]]
    counters: list[list[int]]
    place: Integers

    @classmethod
    def of(
        cls, kind: RollupKind, events: EventsByName | None, stretches: Sequence[Stretch]
    ) -> "BufferedNames":
        """The names of ``events``; none where that is None."""
        if events is None:
            return cls([[] for _ in kind.names], [[] for _ in kind.rank], np.zeros(0, np.int64))
        inside = (stretches[0].start <= events.starts) & (events.starts < stretches[-1].end)
        texts = [Text(text.values, text.index[inside]).distinct() for text in events.names.values()]
        codes = np.zeros(np.count_nonzero(inside), np.int64)
        for text in texts:
            codes = codes * len(text.values) + text.index
        _, firsts, places = np.unique(codes, return_index=True, return_inverse=True)
        place = np.full(len(inside), -1)
        place[inside] = places
        sums = np.zeros((len(kind.rank), len(firsts)), np.int64)
        for added, counter in zip(sums, kind.rank, strict=True):
            np.add.at(added, places, events.counters[counter][inside])
        columns = [[str(text.values[i]) for i in text.index[firsts].tolist()] for text in texts]
        return cls(columns, sums.tolist(), place)

    def rank_with(self, stored: StoredNames, limit: int) -> list[Key]:
        """The ``limit`` names that rank first, of these and those in the database."""
        return [name for *_, name in nsmallest(limit, self._ranks(stored))]

    def _ranks(self, stored: StoredNames) -> Iterator[tuple[Any, ...]]:
        """For each name what it is ordered by, the name itself at the end."""
        rest = dict(stored)
        none = (0,) * len(self.counters)
        for name, *own in zip(zip(*self.columns, strict=True), *self.counters, strict=True):
            before = rest.pop(name, none)
            yield ({*name} == {OTHER}, *(-a - b for a, b in zip(own, before, strict=True)), name)
        for name, counters in rest.items():
            yield ({*name} == {OTHER}, *(-count for count in counters), name)

    def having(self, names: Collection[Key]) -> Mask:
        """Which groups of the events have one of these names, and are in the range."""
        wanted = [name in names for name in zip(*self.columns, strict=True)]
        return np.array([*wanted, False])[self.place]  # -1 is the last

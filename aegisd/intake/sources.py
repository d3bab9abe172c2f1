"""How many events each source sent, and how many of them were lost.

A message's ``seq`` is the number of events that its source sent before. A source has sent, since
its lowest known seq, all events up to the end of the message with the highest one. Those of them
that were not received are lost. If a datagram comes late, the loss shrinks again. A source is known
by its name alone here: datagrams over UDP tell no uid.
"""

import numpy as np
from attrs import define
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Integers
from aegisd.events.flows import Flows
from aegisd.events.units import HOUR_SECONDS

MAX_SOURCES = 1000
SOURCE_SILENCE_SECONDS = HOUR_SECONDS
"""A source that is silent for so long is forgotten: sources are processes, and those end."""

NO_SEQ = int(np.iinfo(np.int64).max)
"""The lowest seq of a source that never sent one."""


@define
class Source:
    """One source. ``first`` is its lowest seq, ``end`` the highest seq plus its events."""

    received: int = 0
    numbered: int = 0  # received in messages with a seq
    first: int = NO_SEQ
    end: int = 0
    last_heard: int = 0  # a steady second

    @property
    def lost(self) -> int:
        """Events sent and not received; repeated datagrams don't make it negative."""
        return max(0, self.end - self.first - self.numbered)


class Sources:
    """The sources heard of lately. Their number is bounded: the one silent longest makes room."""

    def __init__(self) -> None:
        # in the order of last_heard
        self.known: dict[str, Source] = {}

    def add(self, flows: Flows, now: int) -> None:
        """Count the messages of a burst; ``now`` is a steady second."""
        index, counts, seqs = flows.sources.index, flows.counts, flows.seqs
        if not len(index):
            return
        names = flows.sources.values
        numbered = seqs != ABSENT
        received = _sums(index, counts, len(names))
        counted = _sums(index[numbered], counts[numbered], len(names))
        first = np.full(len(names), NO_SEQ)
        np.minimum.at(first, index[numbered], seqs[numbered])
        end = np.zeros(len(names), np.int64)
        np.maximum.at(end, index[numbered], (seqs + counts)[numbered])
        for i in dict.fromkeys(index.tolist()):
            source = self._hear(names[i] or "", now)
            source.received += int(received[i])
            if first[i] != NO_SEQ:
                source.numbered += int(counted[i])
                source.first = int(min(source.first, first[i]))
                source.end = int(max(source.end, end[i]))

    def _hear(self, name: str, now: int) -> Source:
        """The source of this name, which becomes the one last heard of."""
        source = self.known.pop(name, None) or Source()
        if len(self.known) >= MAX_SOURCES:
            del self.known[next(iter(self.known))]
        self.known[name] = source
        source.last_heard = now
        return source

    def forget(self, now: int) -> None:
        """Remove the sources that were silent too long; ``now`` is a steady second."""
        last = now - SOURCE_SILENCE_SECONDS
        for name in [n for n, source in self.known.items() if source.last_heard <= last]:
            del self.known[name]


def _sums(index: NDArray[np.int32], counts: Integers, size: int) -> Integers:
    sums = np.zeros(size, np.int64)
    np.add.at(sums, index, counts)
    return sums

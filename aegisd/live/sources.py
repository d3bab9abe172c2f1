"""What each source sent and what of it never came.

A source counts its events; its messages say how many came before (``seq``). Sent is then the
span from the first message known to the end of the furthest one, lost is what of the span is
missing. A datagram that comes late, out of order, lowers the loss again.
"""

import numpy as np
from attrs import define
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Integers
from aegisd.events.flows import Flows

MAX_SOURCES = 1000
SILENCE_SECONDS = 3600
"""A source that is silent this long is forgotten: it names a process, and processes end."""


NEVER = int(np.iinfo(np.int64).max)
"""Stands for a seq where there was none."""


@define
class Source:
    """One source's sums."""

    received: int = 0
    numbered: int = 0  # received in messages that had a seq
    first: int = NEVER  # the lowest seq
    furthest: int = 0
    heard: int = 0

    @property
    def lost(self) -> int:
        """Events sent and not received; repeated datagrams can't make it negative."""
        return max(0, self.furthest - self.first - self.numbered)


class Sources:
    """The sources heard of lately, bounded: the one silent longest makes room."""

    def __init__(self) -> None:
        # in the order in which they were last heard of: the first is the one silent longest
        self.known: dict[str, Source] = {}

    def add(self, flows: Flows, now: int) -> None:
        """Take note of the messages of a burst; ``now`` is a second that never steps."""
        index, counts, seqs = flows.sources.index, flows.counts, flows.seqs
        if not len(index):
            return
        names = flows.sources.values
        numbered = seqs != ABSENT
        received = _sums(index, counts, len(names))
        counted = _sums(index[numbered], counts[numbered], len(names))
        first = np.full(len(names), NEVER)
        np.minimum.at(first, index[numbered], seqs[numbered])
        furthest = np.zeros(len(names), np.int64)
        np.maximum.at(furthest, index[numbered], (seqs + counts)[numbered])
        for i in dict.fromkeys(index.tolist()):
            source = self._heard(names[i] or "", now)
            source.received += int(received[i])
            if first[i] != NEVER:
                source.numbered += int(counted[i])
                source.first = int(min(source.first, first[i]))
                source.furthest = int(max(source.furthest, furthest[i]))

    def _heard(self, name: str, now: int) -> Source:
        source = self.known.pop(name, None) or Source()
        if len(self.known) >= MAX_SOURCES:
            del self.known[next(iter(self.known))]
        self.known[name] = source
        source.heard = now
        return source

    def forget(self, now: int) -> None:
        """Forget what was silent too long."""
        for name in [n for n, s in self.known.items() if s.heard <= now - SILENCE_SECONDS]:
            del self.known[name]


def _sums(index: NDArray[np.int32], counts: Integers, size: int) -> Integers:
    sums = np.zeros(size, np.int64)
    np.add.at(sums, index, counts)
    return sums

"""Which requests' rows are stored, and for how many requests each of them stands.

Every failure is stored and stands for itself. Of the successes, a share drawn by chance is
stored, and each stands for ``weight`` of them, so that sums of weights estimate the true counts
without bias. Chance is a hash of the request's number in the flow: the same flow, replayed or
cut into other blocks, gives the same rows. It is no fixed step (every tenth), which traffic with
a rhythm of its own would meet always or never.
"""

import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import Block, Text
from aegisd.events.counters import counted

# SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): its
# output number n is a function of n alone.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def draws(first: int, count: int) -> NDArray[np.uint64]:
    """The outputs of SplitMix64 (seed 0) from number ``first`` on, evenly over 64 bits."""
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64) * _STEP
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


class Sampler:
    """Samples request blocks. ``rate`` is the share of successes to store, above 0, at most 1."""

    def __init__(self, rate: float) -> None:
        self.weight = float(np.float32(1 / rate))
        """For how many successes a stored one stands: a number that a ``real`` holds exactly. The
        share that is stored is its reciprocal, so that the two fit each other to the last bit."""
        self._last = np.uint64(int(2**64 / self.weight) - 1)

    def sample(self, block: Block, first: int) -> Block:
        """The requests to store, with their ``weight``; ``first`` numbers the block's first one.

        Numbers count the requests of a flow in the order of its blocks.
        """
        succeeded = counted("succeeded", block.numbers["status_code"])
        kept = ~succeeded | (draws(first, block.size) <= self._last)
        chosen = block.take(kept)
        weight = np.where(succeeded[kept], self.weight, 1.0)
        return Block(
            block.kind,
            chosen.size,
            chosen.numbers | {"weight": weight},
            {name: _needed(text) for name, text in chosen.texts.items()},
        )


def _needed(text: Text) -> Text:
    """``text`` with not more values than rows: others would fill the queue for nothing."""
    if len(text.values) <= len(text.index):
        return text
    return text.used()

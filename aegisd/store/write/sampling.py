"""Which requests' rows are written, and for how many requests each of them stands.

Every failure is written with weight 1. Of the successes a share is written, drawn by chance; each
of them has the weight 1 / share: so sums of weights estimate the true counts without bias.

Chance is a hash of the request's position in the journal. The same requests, replayed or cut into
other blocks, give the same rows. A fixed step (each tenth request) would not do: traffic with a
rhythm of its own would meet it always or never.
"""

import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import Block
from aegisd.events.counters import counted

# SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): its
# output number n is a function of n alone.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def draws(first: int, count: int) -> NDArray[np.uint64]:
    """``count`` outputs of SplitMix64 (seed 0) from number ``first`` on, evenly over 64 bits."""
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64) * _STEP
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


class Sampler:
    """Samples request blocks. ``rate`` is the share of successes to write, above 0, at most 1."""

    def __init__(self, rate: float) -> None:
        self.weight = float(np.float32(1 / rate))
        """For how many successes a written one stands. A column of type real holds it exactly, and
        the share that is written is its reciprocal: the two fit each other to the last bit."""
        self._last = np.uint64(int(2**64 / self.weight) - 1)

    def sample(self, block: Block, position: int) -> Block:
        """The requests to write, with their ``weight``; ``position`` is the first request's."""
        failed = counted("failed", block.numbers["status_code"])
        kept = failed | (draws(position, block.size) <= self._last)
        chosen = block.take(kept)
        weight = np.where(failed[kept], 1.0, self.weight)
        # values that no row has any more would fill the memory that waiting blocks share
        texts = {name: text.compact() for name, text in chosen.texts.items()}
        return Block(block.kind, chosen.size, chosen.numbers | {"weight": weight}, texts)

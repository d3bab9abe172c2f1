"""Requests that wait to be counted together.

A call of numpy costs about as much for one event as for a thousand, and bursts are often small.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from aegisd.events.block import Block, Text

MAX_EVENTS = 8192
"""So many make the calls cheap, and twice as many hardly cheaper. It bounds the time that counting
takes at once, and memory: 26 bytes an event and its texts, at most 2 kB each."""

MAX_BLOCKS = 1024
"""Joining costs time and memory for each block, 2 µs and 1 kB: this bounds both where they are
small."""

NUMBERS = ("timestamp", "status_code", "duration_us")
TEXTS = ("method", "endpoint")
"""The columns that are counted. Others do not wait: their memory is the store's to bound."""


class Waiting:
    """Blocks of requests in the order in which they came."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._size = 0

    def add(self, block: Block) -> bool:
        """Take a block; tell whether no more should wait."""
        numbers = {name: block.numbers[name] for name in NUMBERS}
        texts = {name: block.texts[name] for name in TEXTS}
        self._blocks.append(Block(block.kind, block.size, numbers, texts))
        self._size += block.size
        return self._size >= MAX_EVENTS or len(self._blocks) >= MAX_BLOCKS

    def take(self) -> Block | None:
        """All as one block; a text may be among its values more than once."""
        blocks, self._blocks, self._size = self._blocks, [], 0
        if len(blocks) < 2:
            return blocks[0] if blocks else None
        return Block(
            blocks[0].kind,
            sum(block.size for block in blocks),
            {name: np.concatenate([block.numbers[name] for block in blocks]) for name in NUMBERS},
            {name: _joined([block.texts[name] for block in blocks]) for name in TEXTS},
        )


def _joined(parts: Sequence[Text]) -> Text:
    """All rows. ``Text.concatenate`` finds equal texts as well, which costs more than the rest."""
    values = list(chain.from_iterable(part.values for part in parts))
    sizes = [len(part.index) for part in parts]
    starts = np.cumsum([0, *(len(part.values) for part in parts[:-1])], dtype=np.int32)
    return Text(values, np.concatenate([part.index for part in parts]) + np.repeat(starts, sizes))

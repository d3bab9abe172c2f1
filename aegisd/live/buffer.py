"""Buffers requests that will be counted together.

A call of numpy costs about as much for one event as for a thousand, and bursts are often small.
"""

import numpy as np

from aegisd.events.block import Block, Text

MAX_EVENTS = 8192
"""So many events make numpy's calls cheap; twice as many would hardly be cheaper. This bounds how
long counting takes at once, and memory: 30 bytes an event, and its texts, 2 kB each at most."""

MAX_BLOCKS = 1024
"""To join blocks costs 2 µs and 1 kB each: this bounds both when blocks are small."""

NUMBERS = ("timestamp", "status_code", "duration_us")
TEXTS = ("method", "endpoint", "backend")
"""The columns that are counted. Others are not kept here: the backlog bounds their memory."""


class RequestBuffer:
    """Blocks of requests, in the order of arrival."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether the buffer is at one of its bounds, and must be emptied."""
        return self._size >= MAX_EVENTS or len(self._blocks) >= MAX_BLOCKS

    def add(self, block: Block) -> None:
        """Add what is counted of a block."""
        self._blocks.append(block.only({*NUMBERS, *TEXTS}))
        self._size += block.size

    def take(self) -> Block | None:
        """All requests as one block, None if there are none; a text may stand twice in a column."""
        blocks, self._blocks, self._size = self._blocks, [], 0
        if len(blocks) < 2:
            return blocks[0] if blocks else None
        return Block(
            blocks[0].kind,
            sum(block.size for block in blocks),
            {name: np.concatenate([block.numbers[name] for block in blocks]) for name in NUMBERS},
            {name: Text.joined([block.texts[name] for block in blocks]) for name in TEXTS},
        )

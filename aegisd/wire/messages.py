"""The messages of a burst, side by side in one piece of memory.

So they can be looked at all at once (``scan``), and no object is made for each of them.
"""

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from aegisd.wire.block import Integers

PADDING = bytes(8192)
"""Behind the last message: who walks through a map without looking whether it has an end finds
zeros there. 15 keys and values of up to 289 bytes together fit in, and a word more."""


@frozen(eq=False)
class Messages:
    """Message ``i`` is ``data[starts[i]:ends[i]]``; ``data`` ends with PADDING."""

    data: bytes
    starts: Integers
    ends: Integers

    @classmethod
    def of(cls, messages: Sequence[bytes]) -> "Messages":
        """Put messages side by side."""
        ends = np.cumsum(np.fromiter(map(len, messages), np.int64, len(messages)))
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if messages else ends
        return cls(b"".join([*messages, PADDING]), starts, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, i: int) -> bytes:
        return self.data[self.starts[i] : self.ends[i]]

    @property
    def nbytes(self) -> int:
        """The messages' bytes in all."""
        return int((self.ends - self.starts).sum())

"""What messages say of who sent them, as columns: who numbers each message pays for it little."""

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import frozen

from aegisd.events.block import ABSENT, Integers, Text

MAX_SEQ = 2**62
"""No source gets so far in its life; and a number beyond could not be counted on."""


FlowRow = tuple[int, str, int | None, int]
"""A message's number, source, seq and how many events it holds."""


@frozen(eq=False)
class Flows:
    """A row a message: its number, its source, the events that source sent before, and its own.

    ``seqs`` are ABSENT of sources that don't count. ``sources`` may hold None only for no row.
    """

    messages: Integers
    sources: Text
    seqs: Integers
    counts: Integers

    @classmethod
    def of(cls, rows: Sequence[FlowRow]) -> "Flows":
        """From a tuple a message."""
        if not rows:
            return NO_FLOWS
        messages, sources, seqs, counts = zip(*rows, strict=True)
        return cls(
            _integers(messages),
            Text.of(sources),
            _integers(ABSENT if seq is None else seq for seq in seqs),
            _integers(counts),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Flows"]) -> "Flows":
        """All parts' messages."""
        parts = [part for part in parts if len(part.counts)]
        if len(parts) < 2:
            return parts[0] if parts else NO_FLOWS
        return cls(
            np.concatenate([part.messages for part in parts]),
            Text.concatenate([part.sources for part in parts]),
            np.concatenate([part.seqs for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )


_NONE = np.zeros(0, np.int64)
NO_FLOWS = Flows(_NONE, Text([], np.zeros(0, np.int32)), _NONE, _NONE)


def _integers(values: Iterable[int]) -> Integers:
    return np.fromiter(values, np.int64)

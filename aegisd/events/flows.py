"""Flows: the source and the seq of each message of a burst, as columns.

Columns make it cheap for a gateway to send every event in a message of its own, with its seq.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import frozen

from aegisd.events.block import ABSENT, Integers, Text

MAX_SEQ = 2**62
"""No source sends so many events in its life; and a seq and a count still add up in an int64."""


FlowRow = tuple[int, str, int | None, int]
"""Of one message: its number in the burst, its source, its seq, and how many events it holds."""


@frozen(eq=False)
class Flows:
    """The messages of a burst that name their source: a row each, columns as in ``FlowRow``.

    A seq is ABSENT if the message has none. Each row has a source.
    """

    message_numbers: Integers
    sources: Text
    seqs: Integers
    counts: Integers

    @classmethod
    def of(cls, rows: Sequence[FlowRow]) -> "Flows":
        """Columns of these rows."""
        if not rows:
            return NO_FLOWS
        message_numbers, sources, seqs, counts = zip(*rows, strict=True)
        return cls(
            _integers(message_numbers),
            Text.of(sources),
            _integers(ABSENT if seq is None else seq for seq in seqs),
            _integers(counts),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Flows"]) -> "Flows":
        """The rows of all parts."""
        parts = [part for part in parts if len(part.counts)]
        if len(parts) < 2:
            return parts[0] if parts else NO_FLOWS
        return cls(
            np.concatenate([part.message_numbers for part in parts]),
            Text.concatenate([part.sources for part in parts]),
            np.concatenate([part.seqs for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )


_NONE = np.zeros(0, np.int64)
NO_FLOWS = Flows(_NONE, Text([], np.zeros(0, np.int32)), _NONE, _NONE)


def _integers(values: Iterable[int]) -> Integers:
    return np.fromiter(values, np.int64)

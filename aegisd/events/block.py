"""The Block: a batch of events of one kind, as columns. It is what flows through the daemon.

Numbers are numpy arrays, one value an event: ``timestamp`` in microseconds since 1970 (int64),
durations in whole microseconds (int64), statuses int16, booleans bool, percentages float64,
other integers int64. ``ABSENT`` stands for an absent integer, NaN for an absent percentage.
Text is dictionary-coded: each distinct text once, and an index per event. A batch is never
turned into one Python object per event: that costs more than all else together.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Numbers = NDArray[np.int64] | NDArray[np.int16] | NDArray[np.float64] | NDArray[np.bool_]
Mask = NDArray[np.bool_]

ABSENT = int(np.iinfo(np.int64).min)
"""An integer that the event did not carry."""

STRING_OVERHEAD_BYTES = 56  # of a Python str beside its characters
BLOCK_OVERHEAD_BYTES = 2560  # of a request block's arrays and dicts; most of a block of one event


@frozen(eq=False)
class Text:
    """A dictionary-coded text column.

    Row ``i`` is ``values[index[i]]``; None is an absent text. Values may repeat, and may be
    pointed to by no row.
    """

    values: Sequence[str | None]
    index: NDArray[np.int32]

    @classmethod
    def constant(cls, value: str | None, size: int) -> "Text":
        """The same text in every row."""
        return cls([value], np.zeros(size, np.int32))

    @classmethod
    def of(cls, rows: Sequence[str | None]) -> "Text":
        """Code a text per row; each distinct one is kept once."""
        values = list(dict.fromkeys(rows))
        if len(values) == 1:
            return cls(values, np.zeros(len(rows), np.int32))
        codes = dict(zip(values, range(len(values)), strict=True))
        return cls(values, np.fromiter(map(codes.__getitem__, rows), np.int32, len(rows)))

    @classmethod
    def coded(cls, values: Sequence[str | None], index: NDArray[np.int32]) -> "Text":
        """Row ``i`` is ``values[index[i]]``; of values that repeat, each is kept once."""
        distinct = cls.of(values)
        if len(distinct.values) == len(values):
            return cls(values, index)
        return cls(distinct.values, distinct.index.take(index))

    @classmethod
    def concatenate(cls, parts: Sequence["Text"]) -> "Text":
        """All parts' rows, in order; each text is kept once."""
        values: list[str | None] = []
        index = np.concatenate([part.index for part in parts])
        start = 0
        for part in parts:
            end = start + len(part.index)
            index[start:end] += len(values)
            values += part.values
            start = end
        return cls.coded(values, index)

    def used(self) -> "Text":
        """The same rows, and only the values that they have."""
        used, index = np.unique(self.index, return_inverse=True)
        return Text([self.values[i] for i in used.tolist()], index.astype(np.int32))

    def rows(self) -> list[str | None]:
        """A text per row."""
        values = self.values
        return [values[i] for i in self.index.tolist()]

    def row(self, i: int) -> str | None:
        """The text of row ``i``."""
        return self.values[int(self.index[i])]

    def map(self, change: Callable[[str], str | None]) -> "Text":
        """Each distinct text changed; absent ones stay absent."""
        return Text([None if v is None else change(v) for v in self.values], self.index)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, about."""
        held = sum(map(len, filter(None, self.values)))
        return held + STRING_OVERHEAD_BYTES * len(self.values) + self.index.nbytes


@frozen(eq=False)
class Block:
    """``size`` events of one kind."""

    kind: str
    size: int
    numbers: dict[str, Numbers] = field(factory=dict)
    texts: dict[str, Text] = field(factory=dict)

    def take(self, rows: Mask) -> "Block":
        """The events that ``rows`` (a boolean an event) marks."""
        return Block(
            self.kind,
            int(np.count_nonzero(rows)),
            {name: column[rows] for name, column in self.numbers.items()},
            {name: Text(text.values, text.index[rows]) for name, text in self.texts.items()},
        )

    def part(self, start: int, stop: int) -> "Block":
        """The events from one number to another; nothing is copied."""
        rows = slice(start, stop)
        return Block(
            self.kind,
            len(range(self.size)[rows]),
            {name: column[rows] for name, column in self.numbers.items()},
            {name: Text(text.values, text.index[rows]) for name, text in self.texts.items()},
        )

    def parts(self, size: int) -> "list[Block]":
        """The events in blocks of at most ``size``."""
        if self.size <= size:
            return [self]
        return [self.part(start, start + size) for start in range(0, self.size, size)]

    def bounded(self, size: int) -> "Iterator[Block]":
        """The events in blocks, none of which has a text column of more than ``size`` values."""
        if all(len(text.values) <= size for text in self.texts.values()):
            yield self
            return
        for part in self.parts(size):
            texts = {name: text.used() for name, text in part.texts.items()}
            yield Block(part.kind, part.size, part.numbers, texts)

    def ordered(self, order: NDArray[np.intp]) -> "Block":
        """The same events in another order: ``order`` has each event's number once."""
        return Block(
            self.kind,
            self.size,
            {name: column[order] for name, column in self.numbers.items()},
            {name: Text(text.values, text.index[order]) for name, text in self.texts.items()},
        )

    def only(self, names: Collection[str]) -> "Block":
        """The same events with some of their columns."""
        return Block(
            self.kind,
            self.size,
            {name: column for name, column in self.numbers.items() if name in names},
            {name: text for name, text in self.texts.items() if name in names},
        )

    def with_text(self, name: str, text: Text) -> "Block":
        """The same block with one text column set."""
        return Block(self.kind, self.size, self.numbers, self.texts | {name: text})

    @property
    def nbytes(self) -> int:
        """Bytes in memory, about: what queues are bounded by."""
        numbers = sum(column.nbytes for column in self.numbers.values())
        texts = sum(text.nbytes for text in self.texts.values())
        return BLOCK_OVERHEAD_BYTES + numbers + texts


def concatenate(blocks: Iterable[Block]) -> list[Block]:
    """One block for each kind that ``blocks`` hold, their events in order."""
    kinds: dict[str, list[Block]] = {}
    for block in blocks:
        kinds.setdefault(block.kind, []).append(block)
    return [_join(same) if len(same) > 1 else same[0] for same in kinds.values()]


def _join(blocks: list[Block]) -> Block:
    first = blocks[0]
    return Block(
        first.kind,
        sum(block.size for block in blocks),
        {name: np.concatenate([b.numbers[name] for b in blocks]) for name in first.numbers},
        {name: Text.concatenate([b.texts[name] for b in blocks]) for name in first.texts},
    )

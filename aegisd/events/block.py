"""The Block: events of one kind, as columns. All packages hand events on in this form.

Number columns are numpy arrays with one value an event. Timestamps (microseconds since 1970),
durations (whole microseconds), statuses and other integers are int64, booleans are bool,
percentages are float64.
``ABSENT`` stands for an absent integer, NaN for an absent percentage.

Text columns are dictionary-coded: a list of texts, and for each event an index into it.

Events are never turned into one Python object each: that would cost more than everything else.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Numbers = NDArray[np.int64] | NDArray[np.int16] | NDArray[np.float64] | NDArray[np.bool_]
Mask = NDArray[np.bool_]

ABSENT = int(np.iinfo(np.int64).min)
"""Stands for an integer that the event did not have."""

STRING_OVERHEAD_BYTES = 56  # a Python str takes these beside its characters
BLOCK_OVERHEAD_BYTES = 2560  # a request block's arrays and dicts: most of a block of one event


@frozen(eq=False)
class Text:
    """A dictionary-coded text column.

    The text of row ``i`` is ``values[index[i]]``; None is an absent text. A value may stand twice,
    and may be the text of no row: ``distinct`` and ``compact`` mend that where it costs.
    """

    values: Sequence[str | None]
    index: NDArray[np.int32]

    @classmethod
    def constant(cls, value: str | None, size: int) -> "Text":
        """The same text in every row."""
        return cls([value], np.zeros(size, np.int32))

    @classmethod
    def of(cls, rows: Sequence[str | None]) -> "Text":
        """A column of these texts, one a row; each value stands once."""
        values = list(dict.fromkeys(rows))
        if len(values) == 1:
            return cls(values, np.zeros(len(rows), np.int32))
        codes = dict(zip(values, range(len(values)), strict=True))
        return cls(values, np.fromiter(map(codes.__getitem__, rows), np.int32, len(rows)))

    @classmethod
    def joined(cls, parts: Sequence["Text"]) -> "Text":
        """All parts' rows, in order; a value of two parts stands twice."""
        values = list(chain.from_iterable(part.values for part in parts))
        starts = np.cumsum([0, *(len(part.values) for part in parts[:-1])], dtype=np.int32)
        sizes = [len(part.index) for part in parts]
        index = np.concatenate([part.index for part in parts])
        return cls(values, index + np.repeat(starts, sizes))

    @classmethod
    def concatenate(cls, parts: Sequence["Text"]) -> "Text":
        """All parts' rows, in order; each value stands once.

        To find the equal values costs more than everything else: see ``joined``.
        """
        return cls.joined(parts).distinct()

    def distinct(self) -> "Text":
        """The same rows; each value stands once."""
        distinct = Text.of(self.values)
        if len(distinct.values) == len(self.values):
            return self
        return Text(distinct.values, distinct.index.take(self.index))

    def used(self) -> "Text":
        """The same rows, without the values that no row has."""
        used, index = np.unique(self.index, return_inverse=True)
        return Text([self.values[i] for i in used.tolist()], index.astype(np.int32))

    def compact(self) -> "Text":
        """The same rows, with no more values than rows.

        A part of a large block has all its values: they would be held, sent and looked at for
        nothing.
        """
        return self if len(self.values) <= len(self.index) else self.used()

    def rows(self) -> list[str | None]:
        """The text of each row."""
        values = self.values
        return [values[i] for i in self.index.tolist()]

    def row(self, i: int) -> str | None:
        """The text of row ``i``."""
        return self.values[int(self.index[i])]

    def map(self, change: Callable[[str], str | None]) -> "Text":
        """Change each value; absent texts stay absent."""
        return Text([None if v is None else change(v) for v in self.values], self.index)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, roughly."""
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
        """The marked events."""
        return Block(
            self.kind,
            int(np.count_nonzero(rows)),
            {name: column[rows] for name, column in self.numbers.items()},
            {name: Text(text.values, text.index[rows]) for name, text in self.texts.items()},
        )

    def part(self, start: int, stop: int) -> "Block":
        """The events from ``start`` to before ``stop``; nothing is copied."""
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

    def with_few_values(self, size: int) -> "Iterator[Block]":
        """The events in blocks whose text columns have at most ``size`` values each."""
        if all(len(text.values) <= size for text in self.texts.values()):
            yield self
            return
        for part in self.parts(size):
            texts = {name: text.used() for name, text in part.texts.items()}
            yield Block(part.kind, part.size, part.numbers, texts)

    def ordered(self, order: NDArray[np.intp]) -> "Block":
        """The same events in another order: first event ``order[0]``, and so on."""
        return Block(
            self.kind,
            self.size,
            {name: column[order] for name, column in self.numbers.items()},
            {name: Text(text.values, text.index[order]) for name, text in self.texts.items()},
        )

    def only(self, names: Collection[str]) -> "Block":
        """The same events with the columns of these names alone."""
        return Block(
            self.kind,
            self.size,
            {name: column for name, column in self.numbers.items() if name in names},
            {name: text for name, text in self.texts.items() if name in names},
        )

    def with_text(self, name: str, text: Text) -> "Block":
        """The same block with one text column added or replaced."""
        return Block(self.kind, self.size, self.numbers, self.texts | {name: text})

    @property
    def nbytes(self) -> int:
        """Bytes in memory, roughly: what is buffered is bounded by this."""
        numbers = sum(column.nbytes for column in self.numbers.values())
        texts = sum(text.nbytes for text in self.texts.values())
        return BLOCK_OVERHEAD_BYTES + numbers + texts


def concatenate(blocks: Iterable[Block]) -> list[Block]:
    """One block for each kind among ``blocks``, with its events in order."""
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

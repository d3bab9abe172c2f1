"""COPY's binary format: columns as bytes, without a Python object for any value.

The format (PostgreSQL manual, COPY, "Binary Format"): a header; for each row the number of its
fields, then for each field its length and its bytes, big-endian, or a length of -1 for NULL; at the
end -1 in place of a number of fields.

There are two kinds of columns. The fields of a *varying* one (``Column``) differ in length from row
to row. The fields of a *fixed* one (``Octets``, a row of bytes for each field) all have one length.

Up to ``CHUNK_ROWS`` rows are laid out together in one buffer. The sums of the fields' lengths say
where each field begins there. Each column is then stored in words of 8 bytes, for all rows at once.
A word may reach past its field, over bytes that belong to the next ones. Two rules make that safe:

1. Columns are stored from left to right: what a word has overwritten is stored after it.
2. Each row ends with its fixed columns, together at least 8 bytes. They are stored as one, and
   their last word ends where the row ends: nothing reaches into the next row.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Text
from aegisd.store.schema import Partition

Octets = NDArray[np.uint8]

WORD = 8
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)  # no flags, no extension
COUNT_BYTES = 2  # of a row's number of fields
CHUNK_ROWS = 4096
"""Rows that are laid out together: about 500 kB, which a core's own cache holds."""

LONG_BYTES = 128
"""Columns of longer fields on average, sketches mostly, are joined rather than stored by words."""

LENGTH = struct.Struct(">i")
NULL = LENGTH.pack(-1)
END = struct.pack(">h", -1)

POSTGRES_EPOCH = 946_684_800_000_000
"""2000-01-01, in microseconds since 1970: Postgres counts from there."""


@frozen(eq=False)
class Column:
    """A varying column's fields, lengths included, as the stream has them.

    Row i's field is ``octets[starts[i]:starts[i] + lengths[i]]``. ``octets`` has at least seven
    more bytes after the last field.
    """

    octets: Octets
    starts: Integers
    lengths: Integers

    def part(self, rows: slice) -> "Column":
        """The column of some of the rows."""
        return Column(self.octets, self.starts[rows], self.lengths[rows])

    def fields(self) -> list[bytes | memoryview]:
        """Each row's field."""
        octets = self.octets.data
        ends = (self.starts + self.lengths).tolist()
        return [octets[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)]


@frozen(eq=False)
class TableRows:
    """Rows of one table; ``chunks`` gives them as COPY takes them, in its binary format."""

    table: str
    columns: tuple[str, ...]
    size: int
    nbytes: int  # of the fields
    partitions: frozenset[Partition]  # that the rows need
    chunks: Callable[[], Iterator[memoryview]]

    @classmethod
    def of(
        cls,
        table: str,
        size: int,
        varying: Mapping[str, Column],
        fixed: Mapping[str, Octets],
        partitions: frozenset[Partition] = frozenset(),
    ) -> "TableRows":
        """The rows of these columns. A row's fixed fields are 8 bytes together, at least."""
        columns, last = list(varying.values()), list(fixed.values())
        nbytes = sum(int(column.lengths.sum()) for column in columns) + sum(f.size for f in last)
        chunks = partial(_chunks, columns, last)
        return cls(table, (*varying, *fixed), size, nbytes, partitions, chunks)


# columns


def text_column(text: Text) -> Column:
    """A varying column of texts, NULL for None. Each distinct text is encoded once.

    Half a surrogate pair is encoded as it is: Postgres refuses it.
    """
    encoded = _encoded(text.values)
    heads = list(map(LENGTH.pack, map(len, encoded)))
    for i, value in enumerate(text.values) if None in text.values else ():
        if value is None:
            heads[i] = NULL
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded)) + LENGTH.size
    starts = lengths.cumsum() - lengths
    fields = chain.from_iterable(zip(heads, encoded, strict=True))
    octets = np.frombuffer(b"".join([*fields, bytes(WORD)]), np.uint8)
    return Column(octets, starts[text.index], lengths[text.index])


def binary_column(octets: Octets, lengths: Integers) -> Column:
    """A varying column of byte strings, side by side in ``octets``; each has an even length."""
    whole = lengths + LENGTH.size
    starts = whole.cumsum() - whole
    size = int(whole.sum())
    fields = np.zeros(size + WORD, np.uint8)
    words = fields.view(">u2")  # of two bytes
    words[starts // 2], words[starts // 2 + 1] = lengths >> 16, lengths & 0xFFFF
    own = np.ones(size // 2, np.bool_)
    own[starts // 2] = own[starts // 2 + 1] = False
    words[: len(own)][own] = octets.view(">u2")
    return Column(fields, starts, whole)


def nullable_column(values: NDArray[Any], null: NDArray[np.bool_]) -> Column:
    """A varying column of numbers in the width of their type, NULL where ``null`` is true."""
    rows = fixed_column(values)
    size, width = rows.shape
    octets = np.zeros(rows.size + WORD, np.uint8)
    octets[: rows.size] = rows.reshape(-1)
    octets[: rows.size].reshape(rows.shape)[null, : LENGTH.size] = 0xFF
    lengths = np.where(null, LENGTH.size, width)
    return Column(octets, np.arange(size, dtype=np.int64) * width, lengths)


def fixed_column(values: NDArray[Any]) -> Octets:
    """A fixed column of numbers in the width of their type; none of them is NULL."""
    width = values.dtype.itemsize
    swapped = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(">"), copy=False))
    own = swapped.view(np.uint8).reshape(len(values), width)
    return np.concatenate([_repeated(LENGTH.pack(width), len(values)), own], axis=1)


def constant_column(value: str | None, size: int) -> Octets:
    """A fixed column of one text, or of NULL, in all rows."""
    return _repeated(_field(value), size)


def _encoded(values: Sequence[str | None]) -> list[bytes]:
    """Texts in UTF-8, b"" for None. They are encoded at once, joined by NUL, which none has."""
    encoded = "\0".join([value or "" for value in values]).encode("utf-8", "surrogatepass")
    parts = encoded.split(b"\0")
    if len(parts) == len(values):
        return parts
    return [(value or "").encode("utf-8", "surrogatepass") for value in values]


def _field(text: str | None) -> bytes:
    if text is None:
        return NULL
    value = text.encode("utf-8", "surrogatepass")
    return LENGTH.pack(len(value)) + value


def _repeated(value: bytes, size: int) -> Octets:
    return np.broadcast_to(np.frombuffer(value, np.uint8), (size, len(value)))


# the stream


def _chunks(columns: Sequence[Column], fixed: Sequence[Octets]) -> Iterator[memoryview]:
    """The stream, in chunks. A row's fields: one of each varying column, one of each fixed one."""
    count = struct.pack(">h", len(columns) + len(fixed))
    # each row ends with the next row's number of fields
    tail = np.concatenate([*fixed, _repeated(count, len(fixed[0]))], axis=1)
    yield memoryview(SIGNATURE + count)
    for start in range(0, len(tail), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        chunk = _chunk([column.part(rows) for column in columns], tail[rows])
        if start + CHUNK_ROWS >= len(tail):
            chunk[-COUNT_BYTES:] = END
        yield chunk


def _chunk(columns: Sequence[Column], tail: Octets) -> memoryview:
    if any(int(column.lengths.sum()) > LONG_BYTES * len(tail) for column in columns):
        return _joined(columns, tail)
    lengths = sum((column.lengths for column in columns), start=np.full(len(tail), tail.shape[1]))
    ends = lengths.cumsum()
    buffer = np.empty(int(ends[-1]) + WORD, np.uint8)
    at = ends - lengths
    for column in columns:
        _store(buffer, at, column)
        at += column.lengths
    _store_tail(buffer, at, tail)
    return buffer[:-WORD].data


def _joined(columns: Sequence[Column], tail: Octets) -> memoryview:
    """The same chunk, joined field by field: quicker where the fields are long."""
    width = tail.shape[1]
    ends = tail.tobytes()
    fields = [column.fields() for column in columns]
    fields.append([ends[at : at + width] for at in range(0, len(ends), width)])
    return memoryview(bytearray().join(chain.from_iterable(zip(*fields, strict=True))))


def _words(octets: Octets) -> NDArray[np.uint64]:
    """The bytes as overlapping words: one begins at each byte."""
    return np.ndarray((len(octets) - WORD + 1,), np.uint64, octets, strides=(1,))


def _store(buffer: Octets, at: Integers, column: Column) -> None:
    """Store a column's fields where ``at`` says, by words; the last word may reach too far."""
    source, target = _words(column.octets), _words(buffer)
    starts, rows = column.starts, at
    lengths = column.lengths
    longest = int(lengths.max())
    for k in range(0, longest, WORD):
        if k:
            longer = lengths > k
            starts, rows, lengths = starts[longer], rows[longer], lengths[longer]
        target[rows + k] = source[starts + k]


def _store_tail(buffer: Octets, at: Integers, tail: Octets) -> None:
    """Store each row's end; the last word overlaps the one before, and ends with the row."""
    target = _words(buffer)
    width = tail.shape[1]
    source = _words(np.ascontiguousarray(tail).reshape(-1))
    starts = np.arange(len(tail)) * width
    for k in [*range(0, width - WORD, WORD), width - WORD]:
        target[at + k] = source[starts + k]

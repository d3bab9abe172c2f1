"""Writes columns in the binary format of COPY, without a Python object for any value.

The format (PostgreSQL manual, COPY, "Binary Format"): a header; for each row the number of its
fields, and for each field its length and its bytes, big-endian, or a length of -1 for NULL; at
the end -1 in place of a number of fields.

All rows are laid out at once: the lengths of their fields add up to where each field stands in
one buffer, and every field of a column is stored there in words of eight bytes. A word may reach
beyond its field, over bytes of those behind it: so columns are stored from left to right. That
nothing reaches into the next row, each row ends with columns whose fields are all of one length,
which are stored as one, and end where the row does.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
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
COUNT_BYTES = 2  # of a row's fields
CHUNK_ROWS = 4096
"""Rows that are laid out together: some 500 kB, which a core's own cache holds."""

LONG_BYTES = 128
"""Fields that are longer than this on average, sketches mostly, are joined rather than stored."""

LENGTH = struct.Struct(">i")
NULL = LENGTH.pack(-1)
END = struct.pack(">h", -1)


@frozen(eq=False)
class Column:
    """A column's fields, lengths included, as they stand in the stream.

    Row i's field is ``octets[starts[i]:starts[i] + lengths[i]]``; behind the last one in
    ``octets`` are at least seven bytes more.
    """

    octets: Octets
    starts: Integers
    lengths: Integers

    def part(self, rows: slice) -> "Column":
        """Of some of the rows."""
        return Column(self.octets, self.starts[rows], self.lengths[rows])

    def fields(self) -> list[bytes | memoryview]:
        """Each row's field."""
        octets = self.octets.data
        ends = (self.starts + self.lengths).tolist()
        return [octets[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)]


def texts(text: Text) -> Column:
    """A text column, NULL for None. Each distinct text is encoded once.

    What is no Unicode is Postgres' to refuse.
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


def numbers(values: NDArray[Any], null: NDArray[np.bool_]) -> Column:
    """A column of numbers in their own width, NULL where ``null`` is true."""
    rows = fixed(values)
    size, width = rows.shape
    octets = np.zeros(rows.size + WORD, np.uint8)
    octets[: rows.size] = rows.reshape(-1)
    octets[: rows.size].reshape(rows.shape)[null, : LENGTH.size] = 0xFF
    lengths = np.where(null, LENGTH.size, width)
    return Column(octets, np.arange(size, dtype=np.int64) * width, lengths)


def fixed(values: NDArray[Any]) -> Octets:
    """The fields of numbers that are never NULL, in their own width: a row of bytes each."""
    width = values.dtype.itemsize
    swapped = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(">"), copy=False))
    own = swapped.view(np.uint8).reshape(len(values), width)
    return np.concatenate([_repeated(LENGTH.pack(width), len(values)), own], axis=1)


def constant(value: str | None, size: int) -> Octets:
    """The fields of a text that is the same in all rows: a row of bytes each."""
    return _repeated(_field(value), size)


def nbytes(columns: Sequence[Column], last: Sequence[Octets]) -> int:
    """How many bytes ``binary`` gives, about."""
    return sum(int(column.lengths.sum()) for column in columns) + sum(each.size for each in last)


def binary(columns: Sequence[Column], last: Sequence[Octets]) -> Iterator[memoryview]:
    """The stream, in chunks: a field of each of ``columns``, then one of each of ``last``.

    ``last`` are fields of one length each, together of eight bytes at the least.
    """
    count = struct.pack(">h", len(columns) + len(last))
    # each row ends with the next one's number of fields
    tail = np.concatenate([*last, _repeated(count, len(last[0]))], axis=1)
    yield memoryview(SIGNATURE + count)
    for start in range(0, len(tail), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        chunk = _chunk([column.part(rows) for column in columns], tail[rows])
        if start + CHUNK_ROWS >= len(tail):
            chunk[-COUNT_BYTES:] = END
        yield chunk


def _encoded(values: Sequence[str | None]) -> list[bytes]:
    """Texts as they are stored, b"" for None; all at once, as NUL is in none of them."""
    encoded = "\0".join([value or "" for value in values]).encode("utf-8", "surrogatepass")
    parts = encoded.split(b"\0")
    if len(parts) == len(values):
        return parts
    return [(value or "").encode("utf-8", "surrogatepass") for value in values]


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
    """The same field by field: the quicker way where these are long."""
    width = tail.shape[1]
    ends = tail.tobytes()
    fields = [column.fields() for column in columns]
    fields.append([ends[at : at + width] for at in range(0, len(ends), width)])
    return memoryview(bytearray().join(chain.from_iterable(zip(*fields, strict=True))))


def _field(text: str | None) -> bytes:
    if text is None:
        return NULL
    value = text.encode("utf-8", "surrogatepass")
    return LENGTH.pack(len(value)) + value


def _repeated(value: bytes, size: int) -> Octets:
    return np.broadcast_to(np.frombuffer(value, np.uint8), (size, len(value)))


def _words(octets: Octets) -> NDArray[np.uint64]:
    """The memory as overlapping words, one from each byte on."""
    return np.ndarray((len(octets) - WORD + 1,), np.uint64, octets, strides=(1,))


def _store(buffer: Octets, at: Integers, column: Column) -> None:
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
    """Store rows of bytes; the last word overlaps the one before, and ends with them."""
    target = _words(buffer)
    width = tail.shape[1]
    source = _words(np.ascontiguousarray(tail).reshape(-1))
    starts = np.arange(len(tail)) * width
    for k in [*range(0, width - WORD, WORD), width - WORD]:
        target[at + k] = source[starts + k]


POSTGRES_EPOCH = 946_684_800_000_000
"""2000-01-01, in microseconds since 1970: from there on Postgres counts."""


@frozen(eq=False)
class TableRows:
    """Rows of one table. ``chunks`` gives them as COPY takes them, in its binary format."""

    table: str
    columns: tuple[str, ...]
    size: int
    nbytes: int  # as they are sent
    partitions: frozenset[Partition]
    chunks: Callable[[], Iterator[memoryview]]

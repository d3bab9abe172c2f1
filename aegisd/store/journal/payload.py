"""The payload of a record: blocks of events as bytes, format 1.

It is a MessagePack list of blocks, each ``[kind, size, numbers, texts]``:

- ``numbers`` maps names to ``[type, bytes]``, the type in numpy's letters, little-endian. A column
  with the same value in all rows has the bytes of one value.
- ``texts`` maps names to ``[values, type, bytes]``: the distinct texts (nil where absent), and an
  index a row in the smallest of u1, u2 and i4. A column of one text has no index.

Columns of microseconds are stored under their names on the wire, which end in ``_ms``. Every later
release reads this format; tests/store/journal/test_formats.py pins the bytes.
"""

from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import Block, Numbers, Text
from aegisd.events.protocol import KINDS

FORMAT = 1

MAX_EVENTS = 2**24
"""In a stored block: ``unpack_blocks`` refuses more, so ``pack_blocks`` cuts larger ones. What one
burst decodes to is not a hundredth of it."""

_OWN_NAMES = {"duration_ms": "duration_us", "response_time_ms": "response_time_us"}
"""Stored names of columns, and their names in a ``Block``."""

_STORED_NAMES = {own: stored for stored, own in _OWN_NAMES.items()}


def pack_blocks(blocks: Sequence[Block]) -> bytes:
    """Blocks of any size as a payload."""
    return join_packed([pack_block(part) for block in blocks for part in block.parts(MAX_EVENTS)])


def pack_block(block: Block) -> bytes:
    """A block of at most MAX_EVENTS as bytes, for ``join_packed``."""
    packed: bytes = msgpack.packb(
        [
            block.kind,
            block.size,
            {_STORED_NAMES.get(n, n): _pack_numbers(column) for n, column in block.numbers.items()},
            {name: _pack_text(text) for name, text in block.texts.items()},
        ]
    )
    return packed


def join_packed(packed: Sequence[bytes]) -> bytes:
    """Packed blocks as a payload."""
    return b"".join([msgpack.Packer().pack_array_header(len(packed)), *packed])


def unpack_blocks(payload: bytes) -> list[Block]:
    """The blocks of a payload. Raises ValueError where the bytes are no payload of format 1."""
    try:
        return [
            Block(
                kind,
                _checked_size(kind, size),
                {_OWN_NAMES.get(n, n): _unpack_numbers(size, *c) for n, c in numbers.items()},
                {name: _unpack_text(size, *text) for name, text in texts.items()},
            )
            for kind, size, numbers, texts in msgpack.unpackb(payload, strict_map_key=False)
        ]
    except Exception as error:  # any bytes may be in a file: none of them may end the daemon
        raise ValueError(f"no payload of format {FORMAT}: {error}") from error


def _checked_size(kind: str, size: int) -> int:
    if kind not in KINDS or not 0 <= size <= MAX_EVENTS:
        raise ValueError(f"{size} events of kind {kind}")
    return size


def _pack_numbers(column: Numbers) -> tuple[str, bytes]:
    little = column.astype(column.dtype.newbyteorder("<"), copy=False)
    data = little.tobytes()
    width = little.itemsize
    one = data[:width]  # comparing bytes is quickest, and takes NaN as equal to NaN
    return little.dtype.str, one if data == one * len(little) else data


def _unpack_numbers(size: int, type_: str, data: bytes) -> Any:
    column = np.frombuffer(data, type_)
    if column.dtype.kind not in "bif":
        raise ValueError(f"a column of type {type_}")
    column = column.astype(column.dtype.newbyteorder("="), copy=False)
    return np.full(size, column[0]) if len(column) < size else _of_size(column, size)


def _pack_text(text: Text) -> tuple[list[str | None], str, bytes]:
    values = list(text.values)
    if len(values) == 1:
        return values, "", b""
    if len(values) <= 2**8:
        return values, "<u1", text.index.astype(np.uint8).tobytes()
    type_ = "<u2" if len(values) <= 2**16 else "<i4"
    return values, type_, text.index.astype(type_).tobytes()


def _unpack_text(size: int, values: list[str | None], type_: str, data: bytes) -> Text:
    if not all(value is None or isinstance(value, str) for value in values):
        raise ValueError("a text's value is no text")
    if not type_:
        return Text.constant(values[0], size)
    index = _of_size(np.frombuffer(data, type_), size).astype(np.int32)
    if size and not 0 <= int(index.min()) <= int(index.max()) < len(values):
        raise ValueError("a text's index points past its values")
    return Text(values, index)


def _of_size(column: NDArray[Any], size: int) -> NDArray[Any]:
    if len(column) != size:
        raise ValueError(f"a column of {len(column)} in a block of {size}")
    return column

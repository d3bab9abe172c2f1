"""What a payload of the journal holds: the blocks of a burst, as bytes.

Format 1 is MessagePack: a list of blocks, each ``[kind, size, numbers, texts]``. A column of
numbers is ``[type, bytes]`` in numpy's letters, little-endian; of one value where that stands for
all rows. A text is ``[values, type, bytes]``, its index in as few bytes as the values need, none
where there is only one value. Later releases read it for as long as a journal may hold it.
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
"""In a block, as ``unpack`` takes them. ``pack`` cuts larger ones, so that it takes all of what was
written. Decoding makes none of a hundredth of that."""


_OWN = {"duration_ms": "duration_us", "response_time_ms": "response_time_us"}
"""Columns whose name in format 1 is another: it says milliseconds, and means microseconds."""

_STORED = {own: stored for stored, own in _OWN.items()}


def pack(blocks: Sequence[Block]) -> bytes:
    """The blocks as bytes."""
    return joined([pack_block(part) for block in blocks for part in block.parts(MAX_EVENTS)])


def pack_block(block: Block) -> bytes:
    """A block of at most MAX_EVENTS as bytes, to be ``joined``."""
    packed: bytes = msgpack.packb(
        [
            block.kind,
            block.size,
            {_STORED.get(n, n): _pack_numbers(column) for n, column in block.numbers.items()},
            {name: _pack_text(text) for name, text in block.texts.items()},
        ]
    )
    return packed


def joined(packed: Sequence[bytes]) -> bytes:
    """Packed blocks as a payload."""
    return b"".join([msgpack.Packer().pack_array_header(len(packed)), *packed])


def unpack(data: bytes) -> list[Block]:
    """The blocks that ``pack`` made bytes of. ValueError where they are others."""
    try:
        return [
            Block(
                kind,
                _checked_size(kind, size),
                {_OWN.get(n, n): _unpack_numbers(size, *column) for n, column in numbers.items()},
                {name: _unpack_text(size, *text) for name, text in texts.items()},
            )
            for kind, size, numbers, texts in msgpack.unpackb(data, strict_map_key=False)
        ]
    except Exception as error:  # whatever stands there: bytes that are no payload end no daemon
        raise ValueError(f"no payload of format {FORMAT}: {error}") from error


def _checked_size(kind: str, size: int) -> int:
    if kind not in KINDS or not 0 <= size <= MAX_EVENTS:
        raise ValueError(f"{size} events of kind {kind}")
    return size


def _pack_numbers(column: Numbers) -> tuple[str, bytes]:
    little = column.astype(column.dtype.newbyteorder("<"), copy=False)
    data = little.tobytes()
    width = little.itemsize
    # one value stands for all rows: bytes tell so soonest, NaN included
    one = data[:width]
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
        raise ValueError("a text that is none")
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

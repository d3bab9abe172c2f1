"""Finds where the values of a message begin and end, without building them.

What the values are is not checked here: ``wire/checks`` does that, once they are columns.

The first bytes are those of the table "Formats" in the MessagePack specification.
"""

from collections.abc import Generator
from typing import Any

import msgpack

STEP_VALUES = 8192
"""Python skips so many values in a step: 1 to 2 ms."""


class Values:
    """Finds one value of a message after the other.

    msgpack skips a value in C, but gives up if it is nested too deep. Then Python skips it, and
    ``deep`` is true until the next value.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at
        self.deep = False
        self._reader, self._from = self._reader_here(), at

    def _reader_here(self) -> Any:
        """An Unpacker of what lies behind the last value; ``_from`` is where it began."""
        reader = msgpack.Unpacker(max_buffer_size=max(1, len(self._data)))
        reader.feed(memoryview(self._data)[self._at :])
        return reader

    def next(self) -> Generator[None, None, slice]:
        """The place of the next value. It stops at -1 if the value has no end in the message."""
        start = self._at
        try:
            self._reader.skip()
            self._at = self._from + self._reader.tell()
            self.deep = False
        except (msgpack.UnpackException, ValueError):
            self._at = yield from end_of(self._data, start)
            self.deep = True
            if self._at >= 0:
                self._reader, self._from = self._reader_here(), self._at
        return slice(start, self._at)


def is_map(tag: int) -> bool:
    """Whether a value with this first byte is a map."""
    return 0x80 <= tag <= 0x8F or tag in (0xDE, 0xDF)


def array_header(data: bytes, at: int) -> tuple[int, int] | None:
    """Length of the array at ``at``, and where its first item starts; None if it is no array."""
    tag = data[at]
    if 0x90 <= tag <= 0x9F:
        return tag & 0x0F, at + 1
    if tag in (0xDC, 0xDD):
        width = 2 if tag == 0xDC else 4
        return int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
    return None


def map_header(data: bytes) -> tuple[int, int] | None:
    """Number of pairs of a map, and where its first key starts; None if ``data`` is no map."""
    tag = data[0]
    if 0x80 <= tag <= 0x8F:
        return tag & 0x0F, 1
    if tag in (0xDE, 0xDF):
        width = 2 if tag == 0xDE else 4
        return int.from_bytes(data[1 : 1 + width], "big"), 1 + width
    return None


def _shape(tag: int) -> tuple[int, int, int]:
    """What follows a first byte: a number of bytes, the width of a length, values per item.

    A length counts bytes if the third number is 0, else items: of 1 value in arrays, 2 in maps.
    A number of bytes below 0 means that no value begins so.
    """
    if tag <= 0x7F or tag >= 0xE0:  # small integers
        return 0, 0, 0
    fixed = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
    fixed |= {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
    fixed |= {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
    if tag in fixed:
        return fixed[tag], 0, 0
    if 0xA0 <= tag <= 0xBF:  # short text
        return tag & 0x1F, 0, 0
    sized = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
    extended = {0xC7: 1, 0xC8: 2, 0xC9: 4}
    if tag in sized:
        return 0, sized[tag], 0
    if tag in extended:
        return 1, extended[tag], 0  # a type byte follows the length
    if tag in (0xDC, 0xDD):
        return 0, 2 if tag == 0xDC else 4, 1
    if tag in (0xDE, 0xDF):
        return 0, 2 if tag == 0xDE else 4, 2
    return -1, 0, 0  # 0xC1, never used; small arrays and maps are the caller's


_SHAPES = [_shape(tag) for tag in range(256)]


def end_of(data: bytes, at: int) -> Generator[None, None, int]:
    """Where the value at ``at`` ends; -1 if it does not end, or is no MessagePack.

    This needs no recursion: it counts how many values must still come.
    """
    size = len(data)
    owed = 1
    steps = 0
    while owed:
        # each takes one byte or more, so a header that declares too many ends the search at once
        if owed > size - at:
            return -1
        steps += 1
        if steps % STEP_VALUES == 0:
            yield
        tag = data[at]
        at += 1
        owed -= 1
        if 0x80 <= tag <= 0x9F:
            owed += (tag & 0x0F) * (2 if tag <= 0x8F else 1)
            continue
        extra, width, unit = _SHAPES[tag]
        if extra < 0 or at + width > size:
            return -1
        length = int.from_bytes(data[at : at + width], "big") if width else 0
        at += width + extra
        if unit:
            owed += length * unit
        else:
            at += length
    return at if at <= size else -1

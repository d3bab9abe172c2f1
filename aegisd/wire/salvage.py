"""Finds the readable events in a message that could not be unpacked whole.

One event with a list for a key, or nested too deep, makes msgpack refuse the message it
travels in. Here the message is cut at its events' boundaries, and each is unpacked on its own.
Boundaries need no recursion: skipping a value is counting how many values are still owed.
A message whose end is missing has no boundaries and stays one reject.
"""

from typing import Any, Final

import msgpack

UNREADABLE: Final = object()
"""Stands where an event was that can't be read."""

SUSPICIOUS_BYTES = 1024  # below this, msgpack allocates little whatever the headers declare


def unpack(data: bytes) -> Any:
    """One value; ``ValueError`` and ``TypeError`` where it can't be read.

    Invalid UTF-8 comes as lone surrogates. Lengths are bounded by msgpack by ``data``'s own.
    Keys that are no text may come as one, None: see ``_key``.
    """
    try:
        return msgpack.unpackb(data, unicode_errors="surrogateescape")
    except msgpack.UnpackException:  # a ValueError too
        raise
    except ValueError:
        return msgpack.unpackb(
            data, object_pairs_hook=_map, unicode_errors="surrogateescape", strict_map_key=False
        )


def _map(pairs: list[tuple[Any, Any]]) -> dict[str | None, Any]:
    return {_key(key): value for key, value in pairs}


def _key(key: object) -> str | None:
    """A key as it is kept: None where it is no text, since none of those names anything.

    Who sends numbers or timestamps can choose their hashes, and as keys that all have the same
    they would take minutes to become a dict. The hashes of texts and binary are random.
    """
    if type(key) in (list, dict):
        raise TypeError("a key that is a container")
    return key if type(key) is str else None


def unpack_message(data: bytes) -> Any:
    """A message; what in it can't be read is UNREADABLE, alone or in a list of events."""
    try:
        if len(data) > SUSPICIOUS_BYTES:
            _refuse_hollow(data)
        return unpack(data)
    except (ValueError, TypeError, MemoryError):
        return _salvage(data)


def _refuse_hollow(data: bytes) -> None:
    """Refuse a message that ends before what it declares, before msgpack makes room for that.

    It makes room for each array when it meets the header: a thousand nested headers that each
    declare 65,000 values stall the daemon for a tenth of a second. Skipping makes no room.
    """
    reader = msgpack.Unpacker(max_buffer_size=len(data))
    reader.feed(data)
    try:
        reader.skip()
    except msgpack.OutOfData:
        raise ValueError("truncated") from None


def _salvage(data: bytes) -> Any:
    try:
        if not data or end_of(data, 0) != len(data):
            return UNREADABLE
        array = _array_header(data, 0)
        return _envelope(data) if array is None else _items(data, *array)
    except (ValueError, TypeError, IndexError):
        return UNREADABLE


def _envelope(data: bytes) -> Any:
    """A map whose ``events`` are salvaged and all else is readable."""
    header = _map_header(data)
    if header is None:
        return UNREADABLE
    pairs, offset = header
    message: dict[Any, Any] = {}
    for _ in range(pairs):
        start = end_of(data, offset)
        key = unpack(data[offset:start])
        offset = end_of(data, start)
        array = _array_header(data, start) if key == "events" else None
        message[_key(key)] = unpack(data[start:offset]) if array is None else _items(data, *array)
    return message if "events" in message else UNREADABLE


def _items(data: bytes, count: int, offset: int) -> list[Any]:
    items = []
    for _ in range(count):
        end = end_of(data, offset)
        items.append(_item(data[offset:end]))
        offset = end
    return items


def _item(data: bytes) -> Any:
    try:
        return unpack(data)
    except (ValueError, TypeError, MemoryError):
        return UNREADABLE


def _array_header(data: bytes, offset: int) -> tuple[int, int] | None:
    """Length of the array at ``offset``, and where its first item starts."""
    tag = data[offset]
    if 0x90 <= tag <= 0x9F:
        return tag & 0x0F, offset + 1
    if tag in (0xDC, 0xDD):
        width = 2 if tag == 0xDC else 4
        return int.from_bytes(data[offset + 1 : offset + 1 + width], "big"), offset + 1 + width
    return None


def _map_header(data: bytes) -> tuple[int, int] | None:
    tag = data[0]
    if 0x80 <= tag <= 0x8F:
        return tag & 0x0F, 1
    if tag in (0xDE, 0xDF):
        width = 2 if tag == 0xDE else 4
        return int.from_bytes(data[1 : 1 + width], "big"), 1 + width
    return None


def _shape(tag: int) -> tuple[int, int, int]:
    """How a value with this tag goes on: bytes that follow, width of a length, values a unit.

    From the format's table in the MessagePack specification. A length counts bytes where the
    last number is 0, else items (1 for arrays, 2 for maps).
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


def end_of(data: bytes, offset: int) -> int:
    """Where the value at ``offset`` ends; -1 where it doesn't, or is no MessagePack."""
    size = len(data)
    owed = 1
    while owed:
        # every owed value takes a byte at the least, so a hollow header ends the search at once
        if owed > size - offset:
            return -1
        tag = data[offset]
        offset += 1
        owed -= 1
        if 0x80 <= tag <= 0x9F:
            owed += (tag & 0x0F) * (2 if tag <= 0x8F else 1)
            continue
        extra, width, unit = _SHAPES[tag]
        if extra < 0 or offset + width > size:
            return -1
        length = int.from_bytes(data[offset : offset + width], "big") if width else 0
        offset += width + extra
        if unit:
            owed += length * unit
        else:
            offset += length
    return offset if offset <= size else -1

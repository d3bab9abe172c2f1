"""Opens one message in the careful way, in steps none of which takes long.

A small message is unpacked by msgpack at once. One that msgpack refuses (a list for a key, a value
nested too deep), and any large one, is cut at its values' boundaries. Values of unknown keys are
passed over; a list or a map where a field is expected is not looked into; and what can't be read
costs only the event it stands in. A message whose end is missing has no boundaries and is
UNREADABLE as a whole.

``opening`` yields: ``Whole`` (a message), or a ``Head`` and then its events, list by list, and
None wherever it has worked for a while. Whoever drives it may do other things between two steps.
"""

from collections.abc import Generator, Iterator
from typing import Any, Final

import msgpack
from attrs import frozen
from msgspec.msgpack import Decoder

from aegisd.wire.protocol import ENVELOPE_KEYS, KINDS, MAX_ROWS, aliases

UNREADABLE: Final = object()
"""Stands where an event was, or a message, that can't be read."""

LARGE_BYTES = 16 * 1024
"""From here on a message is opened in steps. Smaller ones take a few milliseconds at the worst."""

SUSPICIOUS_BYTES = 1024  # below this, msgpack allocates little whatever the headers declare

STEP_EVENTS = 1024
STEP_BYTES = 64 * 1024
"""Of the events that are handed over together."""

STEP_VALUES = 8192
"""Values that Python passes over in a step: one or two milliseconds."""

_NAMES = ENVELOPE_KEYS.union(*map(aliases, KINDS))
"""All keys that mean something somewhere."""

_TOO_MANY: Final[list[Any]] = [None] * (MAX_ROWS + 1)
"""Stands for a column of more values than any message has rows."""

_scalars = Decoder(list[str | int | float | bool | None]).decode
"""Reads a usual column, and builds nothing that is nested in one."""


@frozen
class Whole:
    """A message, unpacked; or UNREADABLE."""

    message: Any


@frozen
class Head:
    """A message of ``count`` events, which follow. ``envelope`` is None where it is a list."""

    envelope: dict[Any, Any] | None
    count: int


Step = Whole | Head | list[Any] | None


def opening(data: bytes) -> Iterator[Step]:
    """Open a message. It may be driven to its end, or be left."""
    if len(data) <= LARGE_BYTES:
        try:
            if len(data) > SUSPICIOUS_BYTES:
                _refuse_hollow(data)
            message = unpack(data)
        except (ValueError, TypeError, MemoryError):
            pass
        else:
            yield Whole(message)
            return
    yield from _steps(data)


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


def _steps(data: bytes) -> Iterator[Step]:
    """Open a message by its boundaries."""
    whole = yield from _Values(data).next()
    if whole.stop != len(data):
        yield Whole(UNREADABLE)
        return
    array = _array_header(data, 0)
    if array is not None:
        yield Head(None, array[0])
        yield from _items(data, *array)
        return
    if not _is_map(data[0]):
        yield Whole(None)  # no message, whatever it is
        return
    try:
        message, events = yield from _pairs(data)
    except (ValueError, TypeError):
        yield Whole(UNREADABLE)
        return
    if events is None:
        yield Whole(message)
    else:
        yield Head(message, events[0])
        yield from _items(data, *events)


def _items(data: bytes, count: int, at: int) -> Iterator[Step]:
    """The events of a list, by and by."""
    values = _Values(data, at)
    events: list[Any] = []
    first = at
    for _ in range(count):
        place = yield from values.next()
        item = data[place]
        events.append((yield from _item(item)))
        if len(events) == STEP_EVENTS or place.stop - first >= STEP_BYTES:
            yield events
            events, first = [], place.stop
    if events:
        yield events


def _item(data: bytes) -> Generator[None, None, Any]:
    """One event of a list."""
    try:
        if len(data) <= LARGE_BYTES:
            return unpack(data)
    except (ValueError, TypeError, MemoryError):
        pass
    try:
        event, _ = yield from _pairs(data)
    except (ValueError, TypeError):
        return UNREADABLE
    return event


_Pairs = tuple[dict[Any, Any], tuple[int, int] | None]


def _pairs(data: bytes) -> Generator[None, None, _Pairs]:
    """A map, and the length and place of its ``events``. ValueError, TypeError where it is none."""
    header = _map_header(data)
    if header is None:
        raise ValueError("no map")
    pairs, at = header
    values = _Values(data, at)
    message: dict[Any, Any] = {}
    events = None
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        place = yield from values.next()
        if values.deep and key != "events":
            raise ValueError("nested too deep")
        if key == "events":
            events = _array_header(data, place.start)
        if key == "columns" and _is_map(data[place.start]):
            message[key] = yield from _columns(data[place])
        else:
            message[key] = _scalar(data[place]) if key in _NAMES else None
    return message, events


def _columns(data: bytes) -> Generator[None, None, dict[Any, Any]]:
    """The columns of a message; what is nested deeper than a column's values is not looked into."""
    pairs, at = _map_header(data) or (0, 0)
    values = _Values(data, at)
    found: dict[Any, Any] = {}
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        column = data[(yield from values.next())]
        if key not in _NAMES:
            found[key] = None
        elif _is_map(column[0]):
            found[key] = yield from _dictionary(column)
        else:
            found[key] = yield from _list(column)
    return found


def _dictionary(data: bytes) -> Generator[None, None, dict[Any, Any]]:
    pairs, at = _map_header(data) or (0, 0)
    values = _Values(data, at)
    found: dict[Any, Any] = {}
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        place = yield from values.next()
        if key in ("values", "index"):
            found[key] = yield from _list(data[place])
    return found


def _list(data: bytes) -> Generator[None, None, Any]:
    """A list of scalars, or a scalar."""
    array = _array_header(data, 0)
    if array is None:
        return _scalar(data)
    count, at = array
    if count > MAX_ROWS:
        return _TOO_MANY
    try:
        return _scalars(data)
    except (ValueError, RecursionError):
        yield
    values = _Values(data, at)
    found = []
    for number in range(count):
        found.append(_scalar(data[(yield from values.next())]))
        if number % STEP_VALUES == STEP_VALUES - 1:
            yield
    return found


def _scalar(data: bytes) -> Any:
    """A value; an empty list or map for one that belongs nowhere here. ValueError as ``unpack``."""
    if _is_map(data[0]):
        return {}
    return unpack(data) if _array_header(data, 0) is None else []


class _Values:
    """Where the values of a message begin and end, one after the other.

    msgpack passes over a value in C, and gives up where it is nested too deep; then Python does,
    and the value is ``deep``.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at
        self.deep = False
        self._reader, self._from = self._made(), at

    def _made(self) -> Any:
        reader = msgpack.Unpacker(max_buffer_size=max(1, len(self._data)))
        reader.feed(memoryview(self._data)[self._at :])
        return reader

    def next(self) -> Generator[None, None, slice]:
        """The next value's place; of what has no end, one that stops nowhere in the message."""
        start = self._at
        try:
            self._reader.skip()
            self._at = self._from + self._reader.tell()
            self.deep = False
        except (msgpack.UnpackException, ValueError):
            self._at = yield from end_of(self._data, start)
            self.deep = True
            if self._at >= 0:
                self._reader, self._from = self._made(), self._at
        return slice(start, self._at)


def _is_map(tag: int) -> bool:
    return 0x80 <= tag <= 0x8F or tag in (0xDE, 0xDF)


def _array_header(data: bytes, at: int) -> tuple[int, int] | None:
    """Length of the array at ``at``, and where its first item starts."""
    tag = data[at]
    if 0x90 <= tag <= 0x9F:
        return tag & 0x0F, at + 1
    if tag in (0xDC, 0xDD):
        width = 2 if tag == 0xDC else 4
        return int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
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


def end_of(data: bytes, at: int) -> Generator[None, None, int]:
    """Where the value at ``at`` ends; -1 where it doesn't, or is no MessagePack.

    It needs no recursion: passing over a value is counting how many values are still owed.
    """
    size = len(data)
    owed = 1
    steps = 0
    while owed:
        # every owed value takes a byte at the least, so a hollow header ends the search at once
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

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

from aegisd.events.protocol import ENVELOPE_KEYS, KINDS, MAX_ROWS, aliases
from aegisd.wire.careful.values import STEP_VALUES, Values, array_header, is_map, map_header

UNREADABLE: Final = object()
"""Stands where an event was, or a message, that can't be read."""

LARGE_BYTES = 16 * 1024
"""From here on a message is opened in steps. Smaller ones take a few milliseconds at the worst."""

SUSPICIOUS_BYTES = 1024  # below this, msgpack allocates little whatever the headers declare

STEP_EVENTS = 1024
STEP_BYTES = 64 * 1024
"""Of the events that are handed over together."""

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
    whole = yield from Values(data).next()
    if whole.stop != len(data):
        yield Whole(UNREADABLE)
        return
    array = array_header(data, 0)
    if array is not None:
        yield Head(None, array[0])
        yield from _items(data, *array)
        return
    if not is_map(data[0]):
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
    values = Values(data, at)
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
    header = map_header(data)
    if header is None:
        raise ValueError("no map")
    pairs, at = header
    values = Values(data, at)
    message: dict[Any, Any] = {}
    events = None
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        place = yield from values.next()
        if values.deep and key != "events":
            raise ValueError("nested too deep")
        if key == "events":
            events = array_header(data, place.start)
        if key == "columns" and is_map(data[place.start]):
            message[key] = yield from _columns(data[place])
        else:
            message[key] = _scalar(data[place]) if key in _NAMES else None
    return message, events


def _columns(data: bytes) -> Generator[None, None, dict[Any, Any]]:
    """The columns of a message; what is nested deeper than a column's values is not looked into."""
    pairs, at = map_header(data) or (0, 0)
    values = Values(data, at)
    found: dict[Any, Any] = {}
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        column = data[(yield from values.next())]
        if key not in _NAMES:
            found[key] = None
        elif is_map(column[0]):
            found[key] = yield from _dictionary(column)
        else:
            found[key] = yield from _list(column)
    return found


def _dictionary(data: bytes) -> Generator[None, None, dict[Any, Any]]:
    pairs, at = map_header(data) or (0, 0)
    values = Values(data, at)
    found: dict[Any, Any] = {}
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        place = yield from values.next()
        if key in ("values", "index"):
            found[key] = yield from _list(data[place])
    return found


def _list(data: bytes) -> Generator[None, None, Any]:
    """A list of scalars, or a scalar."""
    array = array_header(data, 0)
    if array is None:
        return _scalar(data)
    count, at = array
    if count > MAX_ROWS:
        return _TOO_MANY
    try:
        return _scalars(data)
    except (ValueError, RecursionError):
        yield
    values = Values(data, at)
    found = []
    for number in range(count):
        found.append(_scalar(data[(yield from values.next())]))
        if number % STEP_VALUES == STEP_VALUES - 1:
            yield
    return found


def _scalar(data: bytes) -> Any:
    """A value; an empty list or map for one that belongs nowhere here. ValueError as ``unpack``."""
    if is_map(data[0]):
        return {}
    return unpack(data) if array_header(data, 0) is None else []

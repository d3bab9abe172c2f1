"""Unpacks one message of any bytes, in steps that are all short.

1. A small message that msgpack can unpack is unpacked at once.
2. A large message, or one that msgpack can't unpack (a list as a key, values nested too deep), is
   cut where its values begin and end, and they are unpacked one by one. Values of unknown keys are
   skipped. Lists and maps where a field should be are not looked into. If an event can't be read,
   only that event is lost.
3. A message that is truncated, has bytes behind its value, or is nested too deep to be cut is
   UNREADABLE as a whole.

``open_message`` yields either a ``WholeMessage``, or a ``MessageStart`` and then the events in
lists. It yields None when it has worked for a while: the caller may do other things between steps.
"""

from collections.abc import Generator, Iterator
from typing import Any, Final

import msgpack
from attrs import frozen
from msgspec.msgpack import Decoder

from aegisd.events.protocol import ENVELOPE_KEYS, KINDS, MAX_ROWS, aliases
from aegisd.wire.careful.boundaries import STEP_VALUES, Values, array_header, is_map, map_header

UNREADABLE: Final = object()
"""Stands for a message, or an event in it, that can't be read."""

LARGE_BYTES = 16 * 1024
"""Longer messages are opened in steps. Shorter ones take a few milliseconds at worst."""

SUSPICIOUS_BYTES = 1024  # up to here msgpack allocates little, whatever the headers declare

STEP_EVENTS = 1024
STEP_BYTES = 64 * 1024
"""A list of events that is yielded ends at one of these."""

_NAMES = ENVELOPE_KEYS.union(*map(aliases, KINDS))
"""All keys that mean something in some place."""

_TOO_MANY: Final[list[Any]] = [None] * (MAX_ROWS + 1)
"""Stands for a column of more values than a message may have rows."""

_scalars = Decoder(list[str | int | float | bool | None]).decode
"""Reads a usual column in C; it raises where values are nested."""


@frozen
class WholeMessage:
    """An unpacked message, or UNREADABLE."""

    message: Any


@frozen
class MessageStart:
    """A message of ``count`` events, which follow. ``message`` has the other keys; None: a list."""

    message: dict[Any, Any] | None
    count: int


Step = WholeMessage | MessageStart | list[Any] | None


def open_message(data: bytes) -> Iterator[Step]:
    """Open a message; the caller may stop at any step."""
    if len(data) <= LARGE_BYTES:
        try:
            if len(data) > SUSPICIOUS_BYTES:
                _raise_if_truncated(data)
            message = unpack(data)
        except (ValueError, TypeError, MemoryError):
            pass
        else:
            yield WholeMessage(message)
            return
    yield from _open_by_values(data)


def unpack(data: bytes) -> Any:
    """One value. Raises ``ValueError`` or ``TypeError`` if it can't be read.

    Invalid UTF-8 becomes lone surrogates. msgpack raises for lengths beyond that of ``data``. Keys
    that are no text may become None: see ``_key``.
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
    """A key as it is kept: None if it is no text, since no such key names anything.

    A sender can choose numbers or timestamps that all have the same hash: as keys they would take
    minutes to become a dict. The hashes of texts and binary are randomized.
    """
    if type(key) in (list, dict):
        raise TypeError("a key that is a container")
    return key if type(key) is str else None


def _raise_if_truncated(data: bytes) -> None:
    """Raise ValueError if a message is shorter than its headers declare.

    msgpack allocates each array when it meets the header: a thousand nested headers that each
    declare 65,000 values would stall the daemon for 0.1 s. Skipping allocates nothing.
    """
    reader = msgpack.Unpacker(max_buffer_size=len(data))
    reader.feed(data)
    try:
        reader.skip()
    except msgpack.OutOfData:
        raise ValueError("truncated") from None


def _open_by_values(data: bytes) -> Iterator[Step]:
    """Open a message value by value."""
    whole = yield from Values(data).next()
    if whole.stop != len(data):
        yield WholeMessage(UNREADABLE)
        return
    array = array_header(data, 0)
    if array is not None:
        yield MessageStart(None, array[0])
        yield from _read_events(data, *array)
        return
    if not is_map(data[0]):
        yield WholeMessage(None)  # no message, whatever it is
        return
    try:
        message, events = yield from _read_map(data)
    except (ValueError, TypeError):
        yield WholeMessage(UNREADABLE)
        return
    if events is None:
        yield WholeMessage(message)
    else:
        yield MessageStart(message, events[0])
        yield from _read_events(data, *events)


def _read_events(data: bytes, count: int, at: int) -> Iterator[Step]:
    """The ``count`` events of the list whose first item is at ``at``."""
    values = Values(data, at)
    events: list[Any] = []
    first = at
    for _ in range(count):
        place = yield from values.next()
        item = data[place]
        events.append((yield from _read_event(item)))
        if len(events) == STEP_EVENTS or place.stop - first >= STEP_BYTES:
            yield events
            events, first = [], place.stop
    if events:
        yield events


def _read_event(data: bytes) -> Generator[None, None, Any]:
    """One event of a list."""
    try:
        if len(data) <= LARGE_BYTES:
            return unpack(data)
    except (ValueError, TypeError, MemoryError):
        pass
    try:
        event, _ = yield from _read_map(data)
    except (ValueError, TypeError):
        return UNREADABLE
    return event


_Map = tuple[dict[Any, Any], tuple[int, int] | None]
"""A map's keys except ``events``, and the number and the place of its events."""


def _read_map(data: bytes) -> Generator[None, None, _Map]:
    """A message or event that is a map. Raises ValueError or TypeError if it can't be read."""
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
            message[key] = yield from _read_columns(data[place])
        else:
            message[key] = _scalar(data[place]) if key in _NAMES else None
    return message, events


def _read_columns(data: bytes) -> Generator[None, None, dict[Any, Any]]:
    """The columns of a message; what is nested in a column's values is not looked into."""
    pairs, at = map_header(data) or (0, 0)
    values = Values(data, at)
    found: dict[Any, Any] = {}
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        column = data[(yield from values.next())]
        if key not in _NAMES:
            found[key] = None
        elif is_map(column[0]):
            found[key] = yield from _read_coded(column)
        else:
            found[key] = yield from _read_values(column)
    return found


def _read_coded(data: bytes) -> Generator[None, None, dict[Any, Any]]:
    """A dictionary-coded column: its ``values`` and its ``index``."""
    pairs, at = map_header(data) or (0, 0)
    values = Values(data, at)
    found: dict[Any, Any] = {}
    for _ in range(pairs):
        key = _key(_scalar(data[(yield from values.next())]))
        place = yield from values.next()
        if key in ("values", "index"):
            found[key] = yield from _read_values(data[place])
    return found


def _read_values(data: bytes) -> Generator[None, None, Any]:
    """A list of scalars, or one scalar."""
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
    """A scalar. A list or a map, which belongs nowhere here, becomes an empty one."""
    if is_map(data[0]):
        return {}
    return unpack(data) if array_header(data, 0) is None else []

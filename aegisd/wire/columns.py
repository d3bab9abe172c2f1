"""Checks one field of many events at once, and makes its column.

Each reader takes the raw values of one field (as msgpack gave them, None where an event had
none) and returns the column; what is wrong it marks in ``Faults``. The first pass is over the
set of the values' types, in C: only where something unusual is among them does a loop look at
each value.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from aegisd.wire.block import ABSENT, Integers, Mask, Numbers, Text
from aegisd.wire.protocol import (
    MAX_AHEAD_SECONDS,
    MAX_DURATION_MS,
    MAX_PERCENT,
    MILLISECONDS_ABOVE,
    Field,
    FieldType,
    Reason,
)

Raw = Sequence[object]

MICROSECONDS = 1_000_000
MAX_INT64 = 2**63 - 1
REPLACEMENT = "\ufffd"


class Faults:
    """Which of ``size`` events are faulty, and why; an event's first fault stays."""

    def __init__(self, size: int) -> None:
        self._code = np.zeros(size, np.int16)
        self._names: list[tuple[Reason, str]] = []

    def mark(self, rows: Mask, reason: Reason, field: str) -> None:
        """Mark the rows that have no fault yet."""
        fresh = rows & (self._code == 0)
        if fresh.any():
            self._names.append((reason, field))
            self._code[fresh] = len(self._names)

    @property
    def all(self) -> Mask:
        """Every row."""
        return np.ones(len(self._code), np.bool_)

    @property
    def good(self) -> Mask | None:
        """The rows without a fault, or None when that is all of them."""
        return self._code == 0 if self._names else None

    def groups(self) -> list[tuple[Reason, str, Integers]]:
        """Reason, field and rows of each kind of fault."""
        return [
            (reason, field, np.flatnonzero(self._code == code))
            for code, (reason, field) in enumerate(self._names, 1)
        ]


class Clock:
    """The times that events of one burst may bear, in microseconds since 1970."""

    def __init__(self, now: int, max_age: int) -> None:
        self.now = now
        self.earliest = now - max_age
        self.latest = now + MAX_AHEAD_SECONDS * MICROSECONDS


def mark_missing(field: Field, raw: Raw, faults: Faults) -> None:
    """Mark the events whose required field is nil."""
    if None in raw:
        faults.mark(_mask(v is None for v in raw), Reason.MISSING_FIELD, field.name)


def read(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Numbers | Text:
    """The column of one field, from a raw value an event."""
    return _READERS[field.type](field, raw, faults, clock)


def absent(field: Field, size: int, clock: Clock) -> Numbers | Text:
    """The column of a field that no event has: now for the timestamp."""
    match field.type:
        case FieldType.TEXT | FieldType.CHOICE:
            return Text.constant(None, size)
        case FieldType.PERCENT:
            return np.full(size, np.nan)
        case FieldType.TIMESTAMP:
            return np.full(size, clock.now, np.int64)
        case _:
            return np.full(size, ABSENT, np.int64)


def clean(text: str, limit: int) -> str:
    """``text`` as it is kept: NUL and what was not UTF-8 as U+FFFD, at most ``limit`` bytes.

    Bytes that were not UTF-8 arrive as lone surrogates (msgpack's ``surrogateescape``).
    """
    whole = text.replace("\0", REPLACEMENT).encode("utf-8", "surrogateescape")
    mended = whole.decode("utf-8", "replace").encode()
    return mended[:limit].decode("utf-8", "ignore")  # ignore: a character cut in two


def _mask(rows: Iterable[bool]) -> Mask:
    return np.fromiter(rows, np.bool_)


def _types(raw: Raw) -> set[type]:
    return set(map(type, raw))


def _mark_types(raw: Raw, allowed: tuple[type, ...], field: Field, faults: Faults) -> None:
    wrong = _mask(v is not None and type(v) not in allowed for v in raw)
    faults.mark(wrong, Reason.BAD_TYPE, field.name)


def _nones(raw: Raw) -> Mask:
    return _mask(v is None for v in raw)


def _floats(raw: Raw, field: Field, faults: Faults) -> tuple[NDArray[np.float64], Mask | None]:
    """Ints and floats as float64, and where they are absent."""
    if _types(raw) <= {int, float}:
        return np.array(raw, np.float64), None
    _mark_types(raw, (int, float), field, faults)
    values = [v if type(v) in (int, float) else 0.0 for v in raw]
    return np.array(values, np.float64), _nones(raw)


def _integers(low: int, high: int) -> "Reader":
    def reader(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Integers:
        del clock
        none: Mask | None = None
        if _types(raw) <= {int}:
            values: list[Any] = list(raw)
        else:
            _mark_types(raw, (int,), field, faults)
            none = _nones(raw)
            values = [v if type(v) is int else low for v in raw]
        try:
            column = np.array(values, np.int64)
            outside = (column < low) | (column > high)
        except OverflowError:  # MessagePack's unsigned 64 bits
            outside = _mask(not low <= v <= high for v in values)
            inside = [low if out else v for out, v in zip(outside, values, strict=True)]
            column = np.array(inside, np.int64)
        if outside.any():
            faults.mark(outside, Reason.OUT_OF_RANGE, field.name)
        if none is not None:
            column[none] = ABSENT
        return column

    return reader


def _duration(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Integers:
    del clock
    values, none = _floats(raw, field, faults)
    inside = (values >= 0) & (values <= MAX_DURATION_MS)  # false for NaN
    if not inside.all():
        faults.mark(~inside, Reason.OUT_OF_RANGE, field.name)
        values[~inside] = 0
    column: Integers = np.rint(values * 1000).astype(np.int64)
    if none is not None:
        column[none] = ABSENT
    return column


def _percent(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Numbers:
    del clock
    values, none = _floats(raw, field, faults)
    inside = (values >= 0) & (values <= MAX_PERCENT)
    if not inside.all():
        faults.mark(~inside, Reason.OUT_OF_RANGE, field.name)
    if none is not None:
        values[none] = np.nan
    return values


def _timestamp(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Integers:
    if not _types(raw) <= {int, float}:
        raw = [_seconds(v) for v in raw]
    values, none = _floats(raw, field, faults)
    scale = np.where(values > MILLISECONDS_ABOVE, 1e3, 1e6)
    with np.errstate(over="ignore"):
        micros = values * scale
    if none is not None:
        micros[none] = clock.now
    inside = (micros >= clock.earliest) & (micros <= clock.latest)
    if not inside.all():
        faults.mark(~inside, Reason.OUT_OF_RANGE, field.name)
        micros[~inside] = clock.now
    column: Integers = np.rint(micros).astype(np.int64)
    return column


def _seconds(value: object) -> object:
    if isinstance(value, msgpack.Timestamp):
        if value.seconds > MILLISECONDS_ABOVE:
            return math.inf  # never milliseconds
        return float(value.seconds + value.nanoseconds * 1e-9)
    return value


def _boolean(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Numbers:
    del clock
    if not _types(raw) <= {bool}:
        _mark_types(raw, (bool,), field, faults)
        raw = [v is True for v in raw]
    return np.array(raw, np.bool_)


def _texts(raw: Raw, field: Field, faults: Faults) -> Text:
    if not _types(raw) <= {str, type(None)}:
        _mark_types(raw, (str,), field, faults)
        raw = [v if isinstance(v, str) else None for v in raw]
    return Text.of(raw)  # type: ignore[arg-type] # only str and None are left


def _text(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Text:
    del clock
    return _texts(raw, field, faults)


def _choice(field: Field, raw: Raw, faults: Faults, clock: Clock) -> Text:
    del clock
    text = _texts(raw, field, faults)
    known = np.array([v is None or v in field.choices for v in text.values], np.bool_)
    if not known.all():
        faults.mark(~known[text.index], Reason.OUT_OF_RANGE, field.name)
    return text


def tidy(text: Text, limit: int) -> tuple[Text, int]:
    """The text column as it is kept, and how many of its rows had to be altered."""
    values = [v for v in text.values if v is not None]
    joined = "".join(values)
    longest = max(map(len, values), default=0)
    if longest <= limit and joined.isascii() and "\0" not in joined:
        return text, 0
    kept = [None if v is None else clean(v, limit) for v in text.values]
    changed = np.array([a != b for a, b in zip(text.values, kept, strict=True)], np.bool_)
    return Text(kept, text.index), int(np.count_nonzero(changed[text.index]))


Reader = Callable[[Field, Raw, Faults, Clock], Numbers | Text]

_READERS: dict[FieldType, Reader] = {
    FieldType.TEXT: _text,
    FieldType.CHOICE: _choice,
    FieldType.STATUS: _integers(0, 999),
    FieldType.DURATION: _duration,
    FieldType.TIMESTAMP: _timestamp,
    FieldType.BOOLEAN: _boolean,
    FieldType.INTEGER: _integers(-MAX_INT64, MAX_INT64),
    FieldType.COUNT: _integers(0, MAX_INT64),
    FieldType.PERCENT: _percent,
}

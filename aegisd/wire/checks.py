"""Checks the values of one field, of many events at once, and makes their column.

Both ways of decoding use it: ``careful`` for raw values, ``quick`` for arrays of numbers. msgspec
has checked those already, except that timestamps are in range.

``read_column`` takes raw values as msgpack gave them, None for an event without the field.
``check_numbers`` takes an array of numbers. Both mark faulty values in ``Faults``, and
put something harmless in their place.

The first look is at the set of the values' types, which C builds. Only if an unusual type is in
it does Python look at each value.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Integers, Mask, Numbers, Text
from aegisd.events.protocol import (
    MAX_AHEAD_SECONDS,
    MAX_DURATION_MS,
    MAX_PERCENT,
    MAX_STATUS,
    MILLISECONDS_ABOVE,
    Field,
    FieldType,
    Reason,
)
from aegisd.events.units import MILLISECOND_US, SECOND_US

Raw = Sequence[object]
Floats = NDArray[np.float64]

MAX_INT64 = 2**63 - 1

_RANGES: dict[FieldType, tuple[float, float]] = {
    FieldType.STATUS: (0, MAX_STATUS),
    FieldType.INTEGER: (-MAX_INT64, MAX_INT64),
    FieldType.COUNT: (0, MAX_INT64),
    FieldType.DURATION: (0, MAX_DURATION_MS),
    FieldType.PERCENT: (0, MAX_PERCENT),
}


class Faults:
    """Which of ``size`` events are faulty, and why: these are rejected, for their first fault."""

    def __init__(self, size: int) -> None:
        self._code = np.zeros(size, np.int16)  # 0 is no fault, i the i-th of _names
        self._names: list[tuple[Reason, str]] = []

    def mark(self, rows: Mask, reason: Reason, field: str) -> None:
        """Mark ``rows``, except those that have a fault already."""
        fresh = rows & (self._code == 0)
        if fresh.any():
            self._names.append((reason, field))
            self._code[fresh] = len(self._names)

    def mark_all(self, reason: Reason, field: str) -> None:
        """Mark every row, except those that have a fault already."""
        self.mark(np.ones(len(self._code), np.bool_), reason, field)

    @property
    def faultless(self) -> Mask | None:
        """The rows without a fault; None if all rows are faultless."""
        return self._code == 0 if self._names else None

    def by_reason(self) -> list[tuple[Reason, str, Integers]]:
        """The faulty rows, for each reason and field."""
        return [
            (reason, field, np.flatnonzero(self._code == code))
            for code, (reason, field) in enumerate(self._names, 1)
        ]


class TimeLimits:
    """The timestamps that the events of one burst may have, in microseconds since 1970.

    ``now`` is the timestamp of an event that has none.
    """

    def __init__(self, now: int, max_age: int) -> None:
        self.now = now
        self.earliest = now - max_age
        self.latest = now + MAX_AHEAD_SECONDS * SECOND_US


def mark_missing(field: Field, raw: Raw, faults: Faults) -> None:
    """Mark the events that lack this required field."""
    if None in raw:
        faults.mark(_nones(raw), Reason.MISSING_FIELD, field.name)


def read_column(field: Field, raw: Raw, faults: Faults, limits: TimeLimits) -> Numbers | Text:
    """The column of raw values, one an event."""
    match field.type:
        case FieldType.TEXT:
            return _texts(raw, field, faults)
        case FieldType.CHOICE:
            return _choices(raw, field, faults)
        case FieldType.BOOLEAN:
            return _booleans(raw, field, faults)
        case FieldType.STATUS | FieldType.INTEGER | FieldType.COUNT:
            integers, none = _integers(raw, field, faults)
            return check_numbers(field, integers, faults, limits, none)
        case _:
            floats, none = _floats(raw, field, faults)
            return check_numbers(field, floats, faults, limits, none)


def check_numbers(
    field: Field, values: NDArray[Any], faults: Faults, limits: TimeLimits, none: Mask | None = None
) -> Integers | Floats:
    """The column of numbers, one an event: int64 for integers, float64 for others.

    ``none`` marks the events without the field; what stands there in ``values`` does not matter.
    ``values`` is overwritten.
    """
    if field.type is FieldType.TIMESTAMP:
        values = _microseconds(values)
    low, high = _RANGES.get(field.type, (limits.earliest, limits.latest))
    if none is not None:
        values[none] = low
    outside = _outside(values, low, high)
    if outside is not None:
        faults.mark(outside, Reason.OUT_OF_RANGE, field.name)
        values[outside] = low
    if field.type is FieldType.DURATION:
        values *= MILLISECOND_US
    column: Integers | Floats = values
    if field.type in (FieldType.DURATION, FieldType.TIMESTAMP):  # now in microseconds
        column = np.rint(values, out=values).astype(np.int64)
    if none is not None:
        column[none] = _absent_value(field, limits)
    return column


def timestamps_out_of_range(timestamps: Floats, limits: TimeLimits) -> Mask | None:
    """Which timestamps are out of range; None if none is. NaN is an absent timestamp."""
    none = np.isnan(timestamps)
    if int(np.count_nonzero(none)) == len(none):
        return None
    micros = _microseconds(timestamps.copy())
    micros[none] = limits.now
    return _outside(micros, limits.earliest, limits.latest)


def absent_column(field: Field, size: int, limits: TimeLimits) -> Numbers | Text:
    """The column of a field that no event has."""
    if field.type in (FieldType.TEXT, FieldType.CHOICE):
        return Text.constant(None, size)
    if field.type is FieldType.PERCENT:
        return np.full(size, np.nan)
    return np.full(size, _absent_value(field, limits), np.int64)


def _absent_value(field: Field, limits: TimeLimits) -> float:
    """What stands for an absent number. An absent timestamp is now."""
    match field.type:
        case FieldType.PERCENT:
            return math.nan
        case FieldType.TIMESTAMP:
            return limits.now
        case _:
            return ABSENT


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
    """Ints and floats as float64, and which events have none."""
    if _types(raw) <= {int, float}:
        return np.array(raw, np.float64), None
    if field.type is FieldType.TIMESTAMP:
        raw = [_seconds(v) for v in raw]
    _mark_types(raw, (int, float), field, faults)
    values = [v if type(v) in (int, float) else 0.0 for v in raw]
    return np.array(values, np.float64), _nones(raw)


def _integers(raw: Raw, field: Field, faults: Faults) -> tuple[Integers, Mask | None]:
    """Ints as int64, and which events have none."""
    none: Mask | None = None
    values: list[Any] = list(raw)
    if not _types(raw) <= {int}:
        _mark_types(raw, (int,), field, faults)
        none = _nones(raw)
        values = [v if type(v) is int else 0 for v in raw]
    try:
        return np.array(values, np.int64), none
    except OverflowError:  # MessagePack's unsigned 64 bits
        faults.mark(_mask(v > MAX_INT64 for v in values), Reason.OUT_OF_RANGE, field.name)
        return np.array([min(v, MAX_INT64) for v in values], np.int64), none


def _outside(values: Integers | Floats, low: float, high: float) -> Mask | None:
    """Which values are below ``low``, above ``high`` or NaN; None if none is."""
    if not values.size or (np.minimum.reduce(values) >= low and np.maximum.reduce(values) <= high):
        return None
    outside: Mask = ~((values >= low) & (values <= high))
    return outside


def _microseconds(values: Floats) -> Floats:
    """Timestamps in microseconds; they come in seconds or milliseconds."""
    if _outside(values, 0, MILLISECONDS_ABOVE) is None:
        values *= SECOND_US
        return values
    scale = np.where(values > MILLISECONDS_ABOVE, MILLISECOND_US, SECOND_US)
    with np.errstate(over="ignore"):
        return values * scale


def _seconds(value: object) -> object:
    if isinstance(value, msgpack.Timestamp):
        if value.seconds > MILLISECONDS_ABOVE:
            return math.inf  # never milliseconds
        return float(value.seconds + value.nanoseconds * 1e-9)
    return value


def _booleans(raw: Raw, field: Field, faults: Faults) -> Numbers:
    if not _types(raw) <= {bool}:
        _mark_types(raw, (bool,), field, faults)
        raw = [v is True for v in raw]
    return np.array(raw, np.bool_)


def _texts(raw: Raw, field: Field, faults: Faults) -> Text:
    if not _types(raw) <= {str, type(None)}:
        _mark_types(raw, (str,), field, faults)
        raw = [v if isinstance(v, str) else None for v in raw]
    return Text.of(raw)  # type: ignore[arg-type] # only str and None are left


def _choices(raw: Raw, field: Field, faults: Faults) -> Text:
    text = _texts(raw, field, faults)
    known = np.array([v is None or v in field.choices for v in text.values], np.bool_)
    if not known.all():
        faults.mark(~known[text.index], Reason.OUT_OF_RANGE, field.name)
    return text

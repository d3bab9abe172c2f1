"""The forms in which a column comes in a ``columns`` message.

A list of a value a row; one value for all rows; binary numbers; or a dictionary: values, and a
binary index a row. ``form_of`` finds a column's form and refuses what can't be a column of so
many rows. Columns of the same form, from many messages, are then joined and checked at once:
that costs little more than one alone. What a field takes is decided in ``columns``, for all
forms and for events alike.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Mask, Numbers, Text
from aegisd.events.protocol import Field, FieldType, Reason
from aegisd.wire.careful import columns
from aegisd.wire.careful.columns import Clock, Faults


class Refused(Exception):
    """A message is rejected as a whole."""

    def __init__(self, reason: Reason, field: str) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


@frozen(eq=False)
class Listed:
    """A raw value a row."""

    values: list[Any]

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Mark the rows whose value is nil."""
        columns.mark_missing(field, self.values, faults)

    def read(self, field: Field, faults: Faults, clock: Clock) -> Numbers | Text:
        """The column of the field."""
        return columns.read(field, self.values, faults, clock)


@frozen(eq=False)
class Packed:
    """A number a row; where the field's NaN is absent, it is here too."""

    values: NDArray[Any]

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Nothing: of required numbers each row has one."""

    def read(self, field: Field, faults: Faults, clock: Clock) -> Numbers | Text:
        """The column of the field."""
        if self.values.dtype.kind != "f":
            return columns.check(field, self.values.astype(np.int64), faults, clock)
        values = self.values.astype(np.float64)
        none: Mask | None = None
        if field.type is not FieldType.TIMESTAMP and np.isnan(np.minimum.reduce(values)):
            none = np.isnan(values)
        return columns.check(field, values, faults, clock, none)


@frozen(eq=False)
class Coded:
    """Raw values, and which of them each row has; ``past`` marks rows that point past them."""

    values: list[Any]
    index: NDArray[np.int32]
    past: Mask | None = None

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Mark the rows whose value is nil."""
        if None in self.values:
            rows = np.array([value is None for value in self.values], np.bool_)[self.index]
            if self.past is not None:
                rows &= ~self.past
            faults.mark(rows, Reason.MISSING_FIELD, field.name)

    def read(self, field: Field, faults: Faults, clock: Clock) -> Numbers | Text:
        """The column of the field; each value is checked once, for all rows that have it."""
        if self.past is not None:
            faults.mark(self.past, Reason.OUT_OF_RANGE, field.name)
        if field.type is FieldType.TEXT and _are_texts(self.values):
            return Text(self.values, self.index)
        own = Faults(len(self.values))
        column = columns.read(field, self.values, own, clock)
        for reason, name, values in own.groups():
            wrong = np.zeros(len(self.values), np.bool_)
            wrong[values] = True
            faults.mark(wrong[self.index], reason, name)
        if isinstance(column, Text):
            return Text(column.values, column.index.take(self.index))
        return column.take(self.index)


Column = Listed | Packed | Coded

_TEXTS = frozenset({str, type(None)})


def _are_texts(values: Sequence[Any]) -> bool:
    return _TEXTS.issuperset(map(type, values))


@frozen(eq=False)
class Form:
    """A form, in binary ones with the type of the numbers. Equal forms are the same object.

    ``join`` makes one column of some; ``part`` cuts one, before it is joined, to some of its rows.
    """

    join: Callable[[Sequence[Any], list[int], Any], Column]
    part: Callable[[Any, int, int, Any], Any]
    dtype: np.dtype[Any] | None = None


def _listed(parts: Sequence[list[Any]], sizes: list[int], dtype: None) -> Column:
    return Listed(parts[0] if len(parts) == 1 else list(chain.from_iterable(parts)))


def _packed(parts: Sequence[bytes], sizes: list[int], dtype: np.dtype[Any]) -> Column:
    return Packed(np.frombuffer(b"".join(parts), dtype))


def _constants(parts: Sequence[Any], sizes: list[int], dtype: None) -> Column:
    if len(parts) == 1 or _same_texts(parts, parts[:1]):
        return Coded([parts[0]], np.zeros(sum(sizes), np.int32))
    return _distinct(list(parts), np.repeat(np.arange(len(parts), dtype=np.int32), sizes))


def _coded(
    parts: Sequence[tuple[list[Any], bytes]], sizes: list[int], dtype: np.dtype[Any]
) -> Column:
    joined = _joined(parts, sizes, dtype)
    if len(joined.values) <= len(joined.index):
        return joined
    # each value is looked at, here and wherever texts are: no more of them than there are rows
    used = Text(joined.values, joined.index).used()
    return Coded(list(used.values), used.index, joined.past)


def _joined(
    parts: Sequence[tuple[list[Any], bytes]], sizes: list[int], dtype: np.dtype[Any]
) -> Coded:
    dictionaries = [values for values, _ in parts]
    values = dictionaries[0]
    index = np.frombuffer(b"".join([index for _, index in parts]), dtype)
    if len(parts) == 1 or _same_texts(dictionaries, values):
        if np.maximum.reduce(index) < len(values):
            return Coded(values, index.astype(np.int32))
        past = index >= len(values)
        return Coded([*values, None], np.minimum(index, len(values)).astype(np.int32), past)
    lengths = list(map(len, dictionaries))
    starts = np.repeat(np.array([0, *accumulate(lengths[:-1])], np.int32), sizes)
    values = list(chain.from_iterable(dictionaries))
    if np.maximum.reduce(index) < min(lengths):
        return _distinct(values, index + starts)
    past = index >= np.repeat(lengths, sizes)
    return _distinct([*values, None], np.where(past, len(values), index + starts), past)


def _same_texts(parts: Sequence[Any], texts: Sequence[Any]) -> bool:
    """Whether all parts equal the first, whose texts these are; they often do.

    What is no text is not compared: 1 equals True and is yet another value, and comparing what
    is nested deeply recurses.
    """
    return _are_texts(texts) and parts.count(parts[0]) == len(parts)


def _distinct(values: list[Any], index: NDArray[Any], past: Mask | None = None) -> Coded:
    """Join dictionaries: messages share most of their texts, and each is kept once."""
    index = index.astype(np.int32, copy=False)
    if not _are_texts(values):
        return Coded(values, index, past)
    text = Text.coded(values, index)
    return Coded(list(text.values), text.index, past)


def _rows_listed(column: list[Any], start: int, stop: int, dtype: None) -> list[Any]:
    return column[start:stop]


def _rows_packed(column: bytes, start: int, stop: int, dtype: np.dtype[Any]) -> bytes:
    return column[start * dtype.itemsize : stop * dtype.itemsize]


def _rows_constant(column: Any, start: int, stop: int, dtype: None) -> Any:
    return column


def _rows_coded(
    column: tuple[list[Any], bytes], start: int, stop: int, dtype: np.dtype[Any]
) -> tuple[list[Any], bytes]:
    values, index = column
    return values, _rows_packed(index, start, stop, dtype)


Widths = dict[int, Form]
"""Binary forms by the bytes of a number."""

LISTED = Form(_listed, _rows_listed)
CONSTANT = Form(_constants, _rows_constant)
CODED: Widths = {width: Form(_coded, _rows_coded, np.dtype(f"<u{width}")) for width in (1, 2, 4)}

_U2 = {2: Form(_packed, _rows_packed, np.dtype("<u2"))}
_INTEGERS = {width: Form(_packed, _rows_packed, np.dtype(f"<i{width}")) for width in (4, 8)}
_FLOATS = {width: Form(_packed, _rows_packed, np.dtype(f"<f{width}")) for width in (4, 8)}
_DOUBLES = {8: _FLOATS[8]}

_PACKED: dict[FieldType, Widths] = {
    FieldType.STATUS: _U2,
    FieldType.DURATION: _FLOATS,
    FieldType.TIMESTAMP: _DOUBLES,
    FieldType.INTEGER: _INTEGERS,
    FieldType.COUNT: _INTEGERS,
    FieldType.PERCENT: _FLOATS,
}


def packed_forms(field: Field) -> Widths:
    """The forms in which the field may come as binary numbers; none for what is no number."""
    return _PACKED.get(field.type, {})


def form_of(field: Field, packed: Widths, column: object, size: int) -> tuple[Form, Any]:
    """A column's form, and what of it is joined; ``packed`` are the field's ``packed_forms``.

    Raises ``Refused`` if it can't be a column of ``size`` rows.
    """
    if type(column) is bytes:
        if not packed:
            raise Refused(Reason.BAD_TYPE, field.name)
        return _binary(field, packed, column, size), column
    if type(column) is dict:
        values, index = column.get("values"), column.get("index")
        if type(values) is not list or type(index) is not bytes:
            raise Refused(Reason.BAD_TYPE, field.name)
        return _binary(field, CODED, index, size), (values, index)
    if type(column) is list:
        if len(column) != size:
            raise Refused(Reason.MALFORMED, field.name)
        return LISTED, column
    return CONSTANT, column


def _binary(field: Field, forms: Widths, binary: bytes, size: int) -> Form:
    width, rest = divmod(len(binary), size) if size else (min(forms), len(binary))
    form = forms.get(width)
    if rest or form is None:
        raise Refused(Reason.MALFORMED, field.name)
    return form

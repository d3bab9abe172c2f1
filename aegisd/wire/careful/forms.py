"""The forms in which a column comes in a ``columns`` message.

1. LISTED: a list with a value a row.
2. CONSTANT: one value for all rows.
3. Packed: numbers in binary, in the widths that the field's type allows.
4. CODED: a dictionary, that is a list of values, and in binary an index into it a row.

``form_of`` finds the form of a column, and rejects what can't be a column of so many rows. Then
columns of the same form, from many messages, are joined to one ``Column`` and checked at once: that
costs little more than one message alone. Which values a field takes is decided in ``wire/checks``,
as for events that come one by one.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Mask, Numbers, Text
from aegisd.events.protocol import Field, FieldType, Reason
from aegisd.wire import checks
from aegisd.wire.checks import Faults, TimeLimits


class TableRejected(Exception):
    """The whole message is to be rejected."""

    def __init__(self, reason: Reason, field: str) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


@frozen(eq=False)
class Listed:
    """A joined column: a raw value a row."""

    values: list[Any]

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Mark the rows that lack the field."""
        checks.mark_missing(field, self.values, faults)

    def read(self, field: Field, faults: Faults, limits: TimeLimits) -> Numbers | Text:
        """The field's column for the block."""
        return checks.read_column(field, self.values, faults, limits)


@frozen(eq=False)
class Packed:
    """A joined column: a number a row. NaN is an absent number, except for timestamps."""

    values: NDArray[Any]

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Mark nothing: the required numbers are integers, and each row has one."""

    def read(self, field: Field, faults: Faults, limits: TimeLimits) -> Numbers | Text:
        """The field's column for the block."""
        if self.values.dtype.kind != "f":
            return checks.check_numbers(field, self.values.astype(np.int64), faults, limits)
        values = self.values.astype(np.float64)
        none: Mask | None = None
        if field.type is not FieldType.TIMESTAMP and np.isnan(np.minimum.reduce(values)):
            none = np.isnan(values)
        return checks.check_numbers(field, values, faults, limits, none)


@frozen(eq=False)
class Coded:
    """A joined column: raw values, and an index into them a row.

    ``past`` marks the rows whose index pointed past the values.
    """

    values: list[Any]
    index: NDArray[np.int32]
    past: Mask | None = None

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Mark the rows that lack the field."""
        if None in self.values:
            rows = np.array([value is None for value in self.values], np.bool_)[self.index]
            if self.past is not None:
                rows &= ~self.past
            faults.mark(rows, Reason.MISSING_FIELD, field.name)

    def read(self, field: Field, faults: Faults, limits: TimeLimits) -> Numbers | Text:
        """The field's column for the block; each value is checked once, for all its rows."""
        if self.past is not None:
            faults.mark(self.past, Reason.OUT_OF_RANGE, field.name)
        if field.type is FieldType.TEXT and _are_texts(self.values):
            return Text(self.values, self.index)
        own = Faults(len(self.values))
        column = checks.read_column(field, self.values, own, limits)
        for reason, name, values in own.by_reason():
            wrong = np.zeros(len(self.values), np.bool_)
            wrong[values] = True
            faults.mark(wrong[self.index], reason, name)
        if isinstance(column, Text):
            return Text(column.values, column.index.take(self.index))
        return column.take(self.index)


Column = Listed | Packed | Coded
"""One field of all rows that are checked at once."""

_TEXTS = frozenset({str, type(None)})


def _are_texts(values: Sequence[Any]) -> bool:
    return _TEXTS.issuperset(map(type, values))


@frozen(eq=False)
class Form:
    """How columns of one form are joined; binary forms differ by their numbers' type, too.

    ``join`` makes one ``Column`` of several messages' columns. ``part`` cuts one message's column
    to some of its rows. Two columns have the same form if and only if it is the same object.
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
    # a value that no row has must be neither checked nor cleaned
    text = Text(joined.values, joined.index).compact()
    return Coded(list(text.values), text.index, joined.past)


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
    """Whether all parts equal the first one, which holds ``texts``; they often do.

    Only texts are compared: 1 equals True and is another value, and comparing nested values
    recurses.
    """
    return _are_texts(texts) and parts.count(parts[0]) == len(parts)


def _distinct(values: list[Any], index: NDArray[Any], past: Mask | None = None) -> Coded:
    """Joined dictionaries. Messages share most of their texts: each is kept once."""
    index = index.astype(np.int32, copy=False)
    if not _are_texts(values):
        return Coded(values, index, past)
    text = Text(values, index).distinct()
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
"""Binary forms, by the number of bytes that a number takes."""

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
    """The binary forms that a field's numbers may have; none for other fields."""
    return _PACKED.get(field.type, {})


def form_of(field: Field, packed: Widths, column: object, size: int) -> tuple[Form, Any]:
    """A column's form, and the part of it that is joined.

    ``packed`` are the field's ``packed_forms``. Raises ``TableRejected`` if ``column`` can't be a
    column of ``size`` rows.
    """
    if type(column) is bytes:
        if not packed:
            raise TableRejected(Reason.BAD_TYPE, field.name)
        return _binary(field, packed, column, size), column
    if type(column) is dict:
        values, index = column.get("values"), column.get("index")
        if type(values) is not list or type(index) is not bytes:
            raise TableRejected(Reason.BAD_TYPE, field.name)
        return _binary(field, CODED, index, size), (values, index)
    if type(column) is list:
        if len(column) != size:
            raise TableRejected(Reason.MALFORMED, field.name)
        return LISTED, column
    return CONSTANT, column


def _binary(field: Field, forms: Widths, binary: bytes, size: int) -> Form:
    width, rest = divmod(len(binary), size) if size else (min(forms), len(binary))
    form = forms.get(width)
    if rest or form is None:
        raise TableRejected(Reason.MALFORMED, field.name)
    return form

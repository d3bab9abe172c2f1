"""Reads a ``columns`` message: many events of one kind that come as columns already.

Each column has one of four forms: a list of a value a row, one value for all rows, binary
numbers, or a dictionary of values and a binary index a row. ``open_table`` finds the forms and
refuses a message whose columns don't fit its rows; ``Table.read`` checks the values, of a
dictionary each once. What a field takes is decided in ``columns``, for all forms alike.
"""

import math
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.wire import columns
from aegisd.wire.block import Block, Mask, Numbers, Text
from aegisd.wire.columns import Clock, Faults
from aegisd.wire.protocol import KINDS, Field, FieldType, Reason, aliases

_ALIASES = {kind: aliases(kind) for kind in KINDS}

Widths = dict[int, np.dtype[Any]]

_FLOATS: Widths = {4: np.dtype("<f4"), 8: np.dtype("<f8")}
_INTEGERS: Widths = {4: np.dtype("<i4"), 8: np.dtype("<i8")}
_WIDTHS: dict[FieldType, Widths] = {
    FieldType.TIMESTAMP: {8: np.dtype("<f8")},
    FieldType.DURATION: _FLOATS,
    FieldType.PERCENT: _FLOATS,
    FieldType.STATUS: {2: np.dtype("<u2")},
    FieldType.INTEGER: _INTEGERS,
    FieldType.COUNT: _INTEGERS,
}
"""The types that may come as binary numbers, and as what by the bytes of a number."""

_INDEXES: Widths = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}

_NAN_IS_ABSENT = (FieldType.DURATION, FieldType.PERCENT)


class Refused(Exception):
    """The message is rejected as a whole."""

    def __init__(self, reason: Reason, field: str) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


@frozen(eq=False)
class Listed:
    """A raw value a row."""

    values: list[Any]

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Mark the rows without a value."""
        columns.mark_missing(field, self.values, faults)

    def read(self, field: Field, faults: Faults, clock: Clock) -> Numbers | Text:
        """The column."""
        return columns.read(field, self.values, faults, clock)


@frozen(eq=False)
class Packed:
    """A number a row."""

    values: NDArray[Any]

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """No number is missing where one is required: only optional ones may be NaN."""

    def read(self, field: Field, faults: Faults, clock: Clock) -> Numbers | Text:
        """The column."""
        if self.values.dtype.kind != "f":
            return columns.check(field, self.values.astype(np.int64), faults, clock)
        values = self.values.astype(np.float64)
        none: Mask | None = None
        if field.type in _NAN_IS_ABSENT and math.isnan(np.minimum.reduce(values, initial=0)):
            none = np.isnan(values)
        return columns.check(field, values, faults, clock, none)


@frozen(eq=False)
class Coded:
    """Raw values, and which of them is each row's; ``past`` marks the rows that have none."""

    values: list[Any]
    index: NDArray[np.int32]
    past: Mask | None

    def mark_missing(self, field: Field, faults: Faults) -> None:
        """Mark the rows whose value is nil."""
        if None in self.values:
            rows = np.array([value is None for value in self.values], np.bool_)[self.index]
            if self.past is not None:
                rows &= ~self.past
            faults.mark(rows, Reason.MISSING_FIELD, field.name)

    def read(self, field: Field, faults: Faults, clock: Clock) -> Numbers | Text:
        """The column. Each value is checked once; its faults are those of the rows it has."""
        if self.past is not None:
            faults.mark(self.past, Reason.OUT_OF_RANGE, field.name)
        own = Faults(len(self.values))
        column = columns.read(field, self.values, own, clock)
        for reason, name, faulty in own.groups():
            faults.mark(np.isin(self.index, faulty), reason, name)
        if isinstance(column, Text):
            return Text(column.values, column.index[self.index])
        return column[self.index]


Form = Listed | Packed | Coded


@frozen(eq=False)
class Table:
    """``size`` events of one kind, in the forms they came in; the other fields are absent."""

    kind: str
    size: int
    forms: dict[str, Form]

    def read(self, clock: Clock) -> tuple[Block, Faults]:
        """The events' block, and what is wrong with which of them."""
        faults = Faults(self.size)
        for field in KINDS[self.kind]:
            if not field.required:
                continue
            if field.name not in self.forms:
                faults.mark(faults.all, Reason.MISSING_FIELD, field.name)
                return Block(self.kind, self.size), faults
            self.forms[field.name].mark_missing(field, faults)
        numbers: dict[str, Numbers] = {}
        texts: dict[str, Text] = {}
        for field in KINDS[self.kind]:
            form = self.forms.get(field.name)
            if form is None:
                column = columns.absent(field, self.size, clock)
            else:
                column = form.read(field, faults, clock)
            if isinstance(column, Text):
                texts[field.name] = column
            else:
                numbers[field.name] = column
        return Block(self.kind, self.size, numbers, texts), faults


def open_table(kind: str, size: int, table: object) -> Table:
    """The columns of ``size`` events; ``kind`` is theirs unless ``table`` names one.

    Raises ``Refused`` for an unknown kind and for a column that can't be one of ``size`` rows.
    """
    if type(table) is not dict:
        raise Refused(Reason.MALFORMED, "columns")
    own = table.get("kind")
    if own is not None:
        kind = own
    if type(kind) is not str:
        raise Refused(Reason.BAD_TYPE, "kind")
    if kind not in KINDS:
        raise Refused(Reason.UNKNOWN_KIND, "kind")
    names = _ALIASES[kind]
    given = {names[name]: column for name, column in table.items() if name in names}
    forms = {
        field.name: _form(field, given[field.name], size)
        for field in KINDS[kind]
        if given.get(field.name) is not None
    }
    return Table(kind, size, forms)


def _form(field: Field, column: object, size: int) -> Form:
    if type(column) is bytes:
        if field.type not in _WIDTHS:
            raise Refused(Reason.BAD_TYPE, field.name)
        return Packed(_numbers(field, column, size, _WIDTHS[field.type]))
    if type(column) is dict:
        return _coded(field, column, size)
    if type(column) is list:
        if len(column) != size:
            raise Refused(Reason.MALFORMED, field.name)
        return Listed(column)
    return Coded([column], np.zeros(size, np.int32), None)


def _coded(field: Field, column: dict[Any, Any], size: int) -> Coded:
    values, binary = column.get("values"), column.get("index")
    if type(values) is not list or type(binary) is not bytes:
        raise Refused(Reason.BAD_TYPE, field.name)
    index = _numbers(field, binary, size, _INDEXES)
    if not size or np.maximum.reduce(index) < len(values):
        return Coded(values, index.astype(np.int32), None)
    past = index >= len(values)
    return Coded([*values, None], np.where(past, len(values), index).astype(np.int32), past)


def _numbers(field: Field, binary: bytes, size: int, widths: Widths) -> NDArray[Any]:
    width, rest = divmod(len(binary), size) if size else (min(widths), len(binary))
    if rest or width not in widths:
        raise Refused(Reason.MALFORMED, field.name)
    return np.frombuffer(binary, widths[width])

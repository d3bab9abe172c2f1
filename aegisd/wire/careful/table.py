"""Reads ``columns`` messages: many events of one kind that come as columns already.

``open_table`` finds what a message's columns are and refuses it where they don't fit its rows.
``read_tables`` then checks the values: those of messages of one make, with the same columns in
the same forms, at once.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.events.block import Block, Integers, Numbers, Text
from aegisd.events.protocol import KINDS, FieldType, Reason, aliases
from aegisd.wire.careful.columns import Clock, Faults, absent
from aegisd.wire.careful.forms import LISTED, Form, Refused, form_of, packed_forms

MAX_READ_ROWS = 32_768
"""Read at once: some milliseconds, in which nothing else runs. More at once is hardly cheaper."""

MAX_LISTED_ROWS = 8192
"""The same where a column is a list, each value of which is looked at."""

_PLACES = {
    kind: {
        name: place
        for place, field in enumerate(fields)
        for name, meant in aliases(kind).items()
        if meant == field.name
    }
    for kind, fields in KINDS.items()
}
"""Of each kind, the fields' numbers in the protocol's order, by every name they have."""

_TEXTS = (FieldType.TEXT, FieldType.CHOICE)

_FIELDS = {kind: [(field, packed_forms(field)) for field in KINDS[kind]] for kind in KINDS}


@frozen(eq=False)
class Table:
    """``size`` events of one kind: of each of its fields the column's form, and the column."""

    kind: str
    size: int
    forms: tuple[Form | None, ...]  # None where no event has the field
    columns: list[Any]

    def part(self, start: int, stop: int) -> "Table":
        """The events from one number to another."""
        if (start, stop) == (0, self.size):
            return self
        columns = [
            None if form is None else form.part(column, start, stop, form.dtype)
            for form, column in zip(self.forms, self.columns, strict=True)
        ]
        return Table(self.kind, stop - start, self.forms, columns)


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
    fields, places = _FIELDS[kind], _PLACES[kind]
    columns: list[Any] = [None] * len(fields)
    for name, column in table.items():
        place = places.get(name)
        if place is not None:
            columns[place] = column
    forms: list[Form | None] = [None] * len(fields)
    for place, column in enumerate(columns):
        if column is not None:
            forms[place], columns[place] = form_of(*fields[place], column, size)
    return Table(kind, size, tuple(forms), columns)


def read_tables(
    tables: Iterable[tuple[Table, int]], clock: Clock
) -> Iterator[tuple[Block, Faults, Integers]]:
    """Blocks, what is wrong with which of their events, and the events' positions.

    Each table comes with the position of its first event.
    """
    alike: dict[tuple[str, tuple[Form | None, ...]], list[tuple[Table, int]]] = {}
    for table, start in tables:
        alike.setdefault((table.kind, table.forms), []).append((table, start))
    for (_, forms), group in alike.items():
        for some in _bounded(group, MAX_LISTED_ROWS if LISTED in forms else MAX_READ_ROWS):
            block, faults = _read([table for table, _ in some], clock)
            positions = [np.arange(start, start + table.size) for table, start in some]
            yield block, faults, positions[0] if len(positions) == 1 else np.concatenate(positions)


def _bounded(tables: list[tuple[Table, int]], most: int) -> Iterator[list[tuple[Table, int]]]:
    """Runs of tables of at most so many rows; a larger table comes in pieces."""
    run: list[tuple[Table, int]] = []
    rows = 0
    for table, start in tables:
        for first in range(0, table.size, most):
            piece = table.part(first, min(first + most, table.size))
            if run and rows + piece.size > most:
                yield run
                run, rows = [], 0
            run.append((piece, start + first))
            rows += piece.size
    if run:
        yield run


@np.errstate(invalid="ignore")  # a signalling NaN is a NaN: refused, without a warning
def _read(tables: list[Table], clock: Clock) -> tuple[Block, Faults]:
    """One block of tables of one kind and the same forms."""
    kind, forms = tables[0].kind, tables[0].forms
    sizes = [table.size for table in tables]
    size = sum(sizes)
    faults = Faults(size)
    parts = zip(*(table.columns for table in tables), strict=True)
    joined = [
        None if form is None else form.join(columns, sizes, form.dtype)
        for form, columns in zip(forms, parts, strict=True)
    ]
    for field, column in zip(KINDS[kind], joined, strict=True):
        if not field.required:
            continue
        if column is None:
            faults.mark(faults.all, Reason.MISSING_FIELD, field.name)
            return Block(kind, size), faults
        column.mark_missing(field, faults)
    numbers: dict[str, Numbers] = {}
    texts: dict[str, Text] = {}
    nothing = Text.constant(None, size)  # one for all fields: most texts are absent
    for field, column in zip(KINDS[kind], joined, strict=True):
        if column is not None:
            made = column.read(field, faults, clock)
        else:
            made = nothing if field.type in _TEXTS else absent(field, size, clock)
        if isinstance(made, Text):
            texts[field.column] = made
        else:
            numbers[field.column] = made
    return Block(kind, size, numbers, texts), faults

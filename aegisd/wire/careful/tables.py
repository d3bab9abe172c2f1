"""Reads ``columns`` messages: many events of one kind that come as columns already.

``open_table`` finds the form of each column, and rejects a message whose columns don't have ``n``
rows. ``read_tables`` checks the values: those of all tables with the same columns in the same forms
at once.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.events.block import Block, Integers, Numbers, Text
from aegisd.events.protocol import KINDS, FieldType, Reason, aliases
from aegisd.wire.careful.forms import LISTED, Form, TableRejected, form_of, packed_forms
from aegisd.wire.checks import Faults, TimeLimits, absent_column

MAX_READ_ROWS = 32_768
"""So many are read at once: that takes some milliseconds, in which nothing else runs. More at once
would hardly be cheaper."""

MAX_LISTED_ROWS = 8192
"""The same if a column is a list, since Python looks at each of its values."""

_PLACES = {
    kind: {
        name: place
        for place, field in enumerate(fields)
        for name, meant in aliases(kind).items()
        if meant == field.name
    }
    for kind, fields in KINDS.items()
}
"""For each kind: the place of each field in the protocol's order, by all names of the field."""

_TEXTS = (FieldType.TEXT, FieldType.CHOICE)

_FIELDS = {kind: [(field, packed_forms(field)) for field in KINDS[kind]] for kind in KINDS}


@frozen(eq=False)
class Table:
    """``size`` events of one kind, as one message has them.

    ``columns`` are as they were sent, a field each in the protocol's order; ``forms`` are their
    forms. Both are None for a field that the message does not have.
    """

    kind: str
    size: int
    forms: tuple[Form | None, ...]
    columns: list[Any]

    def part(self, start: int, stop: int) -> "Table":
        """The events from ``start`` to before ``stop``."""
        if (start, stop) == (0, self.size):
            return self
        columns = [
            None if form is None else form.part(column, start, stop, form.dtype)
            for form, column in zip(self.forms, self.columns, strict=True)
        ]
        return Table(self.kind, stop - start, self.forms, columns)


def open_table(kind: str, size: int, table: object) -> Table:
    """The table of ``size`` events that a message's ``columns`` are.

    ``kind`` is the kind of the events unless ``table`` names another. Raises ``TableRejected`` for
    an unknown kind, and for a column that can't have ``size`` rows.
    """
    if type(table) is not dict:
        raise TableRejected(Reason.MALFORMED, "columns")
    own = table.get("kind")
    if own is not None:
        kind = own
    if type(kind) is not str:
        raise TableRejected(Reason.BAD_TYPE, "kind")
    if kind not in KINDS:
        raise TableRejected(Reason.UNKNOWN_KIND, "kind")
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
    tables: Iterable[tuple[Table, int]], limits: TimeLimits
) -> Iterator[tuple[Block, Faults, Integers]]:
    """Blocks, the faults of their events, and the events' positions.

    With each table comes the position of its first event.
    """
    alike: dict[tuple[str, tuple[Form | None, ...]], list[tuple[Table, int]]] = {}
    for table, start in tables:
        alike.setdefault((table.kind, table.forms), []).append((table, start))
    for (_, forms), group in alike.items():
        for run in _runs(group, MAX_LISTED_ROWS if LISTED in forms else MAX_READ_ROWS):
            block, faults = _read([table for table, _ in run], limits)
            positions = [np.arange(start, start + table.size) for table, start in run]
            yield block, faults, positions[0] if len(positions) == 1 else np.concatenate(positions)


def _runs(tables: list[tuple[Table, int]], max_rows: int) -> Iterator[list[tuple[Table, int]]]:
    """The tables in runs of at most ``max_rows`` rows; a larger table comes in parts."""
    run: list[tuple[Table, int]] = []
    rows = 0
    for table, start in tables:
        for first in range(0, table.size, max_rows):
            part = table.part(first, min(first + max_rows, table.size))
            if run and rows + part.size > max_rows:
                yield run
                run, rows = [], 0
            run.append((part, start + first))
            rows += part.size
    if run:
        yield run


@np.errstate(invalid="ignore")  # a signalling NaN is a NaN: rejected, without a warning
def _read(tables: list[Table], limits: TimeLimits) -> tuple[Block, Faults]:
    """One block of all tables, which have the same kind and forms."""
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
            faults.mark_all(Reason.MISSING_FIELD, field.name)
            return Block(kind, size), faults
        column.mark_missing(field, faults)
    numbers: dict[str, Numbers] = {}
    texts: dict[str, Text] = {}
    no_text = Text.constant(None, size)  # one for all fields: most texts are absent
    for field, column in zip(KINDS[kind], joined, strict=True):
        if column is not None:
            made = column.read(field, faults, limits)
        else:
            made = no_text if field.type in _TEXTS else absent_column(field, size, limits)
        if isinstance(made, Text):
            texts[field.column] = made
        else:
            numbers[field.column] = made
    return Block(kind, size, numbers, texts), faults

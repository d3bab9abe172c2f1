"""Columns hold what the same events hold in a list, whatever their form and their messages."""

import math
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_events import FIELDS, NOW, accepted, decode, events, faults, pack, rows, sort
from tables import binary, coded
from wire.test_decode_bad_input import packed, values

from aegisd.events.protocol import BACKEND, KINDS, SYSTEM, Field, FieldType, camel_case
from aegisd.wire.decode import Decoded

INTEGERS = (FieldType.STATUS, FieldType.INTEGER, FieldType.COUNT)
NAN_IS_ABSENT = (FieldType.DURATION, FieldType.PERCENT)

kinds = st.sampled_from(list(KINDS))


def packable(field: Field, cells: list[Any]) -> list[str]:
    """The binary types that hold these values exactly."""
    if field.type in INTEGERS and all(type(cell) is int for cell in cells):
        if field.type is FieldType.STATUS:
            return ["<u2"]
        small = all(-(2**31) <= cell < 2**31 for cell in cells)
        return ["<i8", "<i4"] if small else ["<i8"]
    floats = [float(c) if type(c) in (int, float) else c for c in cells]
    if field.type is FieldType.TIMESTAMP and all(type(c) is float for c in floats):
        return ["<f8"]
    if field.type in NAN_IS_ABSENT and all(c is None or type(c) is float for c in floats):
        exact = all(c is None or float(np.float32(c)) == c for c in floats)
        return ["<f8", "<f4"] if exact else ["<f8"]
    return []


@st.composite
def columns_of(draw: st.DrawFn, field: Field, cells: list[Any]) -> Any:
    """These values as a column of any form that can hold them."""
    forms = ["list", "dictionary", *packable(field, cells)]
    same = all(type(cell) is type(cells[0]) and cell == cells[0] for cell in cells)
    if same:
        forms.append("constant")
    form = draw(st.sampled_from(forms))
    if form == "list":
        return cells
    if form == "constant":
        return cells[0]
    if form == "dictionary":
        extra = draw(st.lists(st.sampled_from([None, 5, "x", {}, cells[0]]), max_size=3))
        order = draw(st.permutations(range(len(cells))))
        turned = [cells[i] for i in order]
        index = [len(extra) + order.index(i) for i in range(len(cells))]
        return coded([*extra, *turned], index, draw(st.sampled_from(["<u1", "<u2", "<u4"])))
    return binary([math.nan if cell is None else cell for cell in cells], form)


@st.composite
def tables_of(draw: st.DrawFn, kind: str, held: list[dict[str, Any]]) -> dict[str, Any]:
    """These events as a ``columns`` message."""
    pairs: list[tuple[Any, Any]] = []
    for field in KINDS[kind]:
        cells = [event.get(field.name, event.get(camel_case(field.name))) for event in held]
        if any(cell is not None for cell in cells) or draw(st.booleans()):
            name = draw(st.sampled_from([field.name, camel_case(field.name)]))
            pairs.append((name, draw(columns_of(field, cells))))
    if draw(st.booleans()):
        pairs.append(("x", [1]))
    columns = dict(draw(st.permutations(pairs)))
    return {"kind": kind, "n": len(held), "columns": columns}


@st.composite
def alike(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """Valid events of one kind."""
    kind = draw(kinds)
    held = draw(st.lists(events((kind,)), min_size=1, max_size=6))
    return kind, [event for event, _ in held]


def outcome(decoded: Decoded) -> Any:
    """All that was decoded; only reports of which the latest counts have an order."""
    held = rows(decoded.blocks)
    if not any(row["kind"] in (BACKEND, SYSTEM) for row in held):
        held = sort(held)
    return held, faults(decoded), decoded.altered, decoded.starts.tolist()


@given(st.data(), alike())
@settings(max_examples=120)
def test_columns_hold_what_the_events_of_a_list_hold(
    data: st.DataObject, held: tuple[str, list[dict[str, Any]]]
) -> None:
    message = data.draw(tables_of(*held))
    assert outcome(decode(message)) == outcome(decode(held[1]))


@given(st.data(), alike())
@settings(max_examples=150)
def test_rows_are_the_same_however_they_are_put_into_messages(
    data: st.DataObject, held: tuple[str, list[dict[str, Any]]]
) -> None:
    kind, sent = held
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent)), max_size=3)) | {0, len(sent)})
    messages = [data.draw(tables_of(kind, sent[a:b])) for a, b in pairwise(cuts)]
    assert outcome(decode(*messages))[:3] == outcome(decode(sent))[:3]


ODD: list[Any] = [None, True, 0, -1, 200, 1000, 2**64 - 1, -(2**63), 1.5, math.nan, math.inf]
ODD += ["", "healthy", "open", "\0", "x" * 3000, b"", b"ab", [], {}, [[]]]
ODD += [NOW, msgpack.Timestamp(NOW)]
odd = st.sampled_from(ODD)


@st.composite
def cells_of(draw: st.DrawFn, kind: str, field: Field, size: int) -> list[Any]:
    """Values for a field, some of them wrong."""
    good = FIELDS[kind][field.name].map(lambda pair: pair[0])
    return draw(st.lists(good | good | good | odd, min_size=size, max_size=size))


@given(st.data(), kinds, st.integers(1, 5))
@settings(max_examples=120)
def test_values_have_the_same_faults_in_columns_as_in_events(
    data: st.DataObject, kind: str, size: int
) -> None:
    cells = {field.name: data.draw(cells_of(kind, field, size)) for field in KINDS[kind]}
    held = [{name: column[i] for name, column in cells.items()} for i in range(size)]
    listed = outcome(decode({"kind": kind, "events": held}))
    as_lists = {"kind": kind, "n": size, "columns": cells}
    as_dictionaries = {
        "kind": kind,
        "n": size,
        "columns": {name: coded(column, list(range(size))) for name, column in cells.items()},
    }
    assert outcome(decode(as_lists)) == listed
    assert outcome(decode(as_dictionaries)) == listed


@st.composite
def anything(draw: st.DrawFn, kind: str, field: Field, size: int) -> Any:
    """A column that may be right in all, or in nothing."""
    form = draw(st.sampled_from(["list", "list", "constant", "binary", "dictionary", "any"]))
    length = size + draw(st.sampled_from([0] * 12 + [1, -1]))
    if form == "list":
        return draw(cells_of(kind, field, max(0, length)))
    if form == "constant":
        return draw(cells_of(kind, field, 1))[0]
    if form == "binary":
        width = draw(st.sampled_from([1, 2, 4, 8]))
        return draw(st.binary(min_size=max(0, length * width), max_size=max(0, length * width)))
    if form == "dictionary":
        dictionary = draw(cells_of(kind, field, draw(st.integers(0, 3))))
        index = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
        return coded(dictionary, index, draw(st.sampled_from(["<u1", "<u2", "<u4"])))
    return draw(odd | values)


@st.composite
def any_tables(draw: st.DrawFn) -> dict[str, Any]:
    """A ``columns`` message, right in parts."""
    kind, size = draw(kinds), draw(st.integers(0, 4))
    columns = {}
    for field in KINDS[kind]:
        if field.required or draw(st.booleans()):
            columns[field.name] = draw(anything(kind, field, size))
    context = draw(st.sampled_from([{}, {}, {"source": "s", "seq": 3}, {"v": 2}, {"kind": "?"}]))
    return {"kind": kind, "n": size, "columns": columns} | context


@given(st.lists(any_tables(), min_size=1, max_size=6))
@settings(max_examples=150)
def test_messages_read_together_give_the_same_as_each_alone(messages: list[Any]) -> None:
    sent = [packed(message) for message in messages]
    together = decode(*sent)
    alone = [decode(message) for message in sent]
    starts = np.cumsum([0] + [int(decoded.starts[-1]) for decoded in alone])
    assert together.starts.tolist() == starts.tolist()
    assert faults(together) == [
        (position + start, reason, field)
        for decoded, start in zip(alone, starts.tolist(), strict=False)
        for position, reason, field in faults(decoded)
    ]
    assert sort(rows(together.blocks)) == sort(
        [row for decoded in alone for row in rows(decoded.blocks)]
    )
    assert together.altered == sum(decoded.altered for decoded in alone)


@given(st.lists(st.tuples(values, values), max_size=3))
@settings(max_examples=120)
def test_any_values_become_events_or_rejects(sent: list[tuple[Any, Any]]) -> None:
    decode(*(packed({"n": n, "columns": columns}) for n, columns in sent))
    decode(*(packed({"n": 1, "columns": columns}) for _, columns in sent))
    decode(*(packed({"n": 1, "columns": {"method": a, "path": b}}) for a, b in sent))


@given(st.data(), alike())
@settings(max_examples=150)
def test_flipped_byte_gives_events_or_rejects(
    data: st.DataObject, held: tuple[str, list[dict[str, Any]]]
) -> None:
    message = bytearray(pack(data.draw(tables_of(*held))))
    for place in data.draw(st.lists(st.integers(0, len(message) - 1), min_size=1, max_size=3)):
        message[place] = data.draw(st.integers(0, 255))
    good = held[1][0]
    assert accepted(decode(good, bytes(message), good)) >= 2

"""Entries of the journal: what is packed comes back, and no bytes do harm."""

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import decoded_by, events, open_decoder, rows, texts
from store.databases import NODE, NOON, block

from aegisd.events.block import ABSENT, Block, Text, concatenate
from aegisd.events.protocol import BACKEND, KINDS, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.store.journal.payload import MAX_EVENTS, pack, unpack
from aegisd.store.write.rows import table_rows
from aegisd.wire.careful.tables import MAX_READ_ROWS

NUMBERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    REQUEST: {
        "timestamp": st.integers(0, 2**62),
        "status_code": st.integers(0, 999),
        "duration_us": st.one_of(st.just(ABSENT), st.integers(0, 2**53)),
    },
    RATE_LIMIT: {
        "timestamp": st.integers(0, 2**62),
        "allowed": st.booleans(),
        "remaining": st.integers(ABSENT, 2**63 - 1),
        "limit": st.integers(ABSENT, 2**63 - 1),
    },
    BACKEND: {"timestamp": st.integers(0, 2**62), "response_time_us": st.integers(ABSENT, 2**53)},
    SYSTEM: {
        "timestamp": st.integers(0, 2**62),
        "active_connections": st.integers(0, 2**63 - 1),
        "cpu_percent": st.one_of(st.just(float("nan")), st.floats(0, 1e6)),
        "memory_bytes": st.integers(ABSENT, 2**63 - 1),
        "open_files": st.integers(ABSENT, 2**63 - 1),
    },
}
TYPES = {"status_code": np.int16, "allowed": np.bool_, "cpu_percent": np.float64}
TEXTS = {
    REQUEST: ("method", "path", "endpoint", "backend", "client_ip", "error_message"),
    RATE_LIMIT: ("key",),
    BACKEND: ("backend_name", "status", "circuit_breaker"),
    SYSTEM: ("source",),
}


@st.composite
def text_columns(draw: st.DrawFn, size: int) -> Text:
    """Values may repeat, be absent, and be pointed to by no row."""
    values = draw(st.lists(st.none() | texts(64), min_size=1, max_size=5))
    index = draw(st.lists(st.integers(0, len(values) - 1), min_size=size, max_size=size))
    return Text(values, np.array(index, np.int32))


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    kind = draw(st.sampled_from(sorted(KINDS)))
    size = draw(st.integers(0, 6))
    numbers = {}
    for name, values in NUMBERS[kind].items():
        column = [draw(values)] * size  # one value for all rows
        if draw(st.booleans()):
            column = draw(st.lists(values, min_size=size, max_size=size))
        numbers[name] = np.array(column, TYPES.get(name, np.int64))
    return Block(kind, size, numbers, {name: draw(text_columns(size)) for name in TEXTS[kind]})


def assert_same(unpacked: list[Block], packed: list[Block]) -> None:
    assert rows(unpacked) == rows(packed)
    assert [(b.kind, b.size) for b in unpacked] == [(b.kind, b.size) for b in packed]
    for one, other in zip(unpacked, packed, strict=True):
        assert one.numbers.keys() == other.numbers.keys()
        assert one.texts.keys() == other.texts.keys()
        for name, column in one.numbers.items():
            assert column.dtype == other.numbers[name].dtype
            assert len(column) == one.size
        for text in one.texts.values():
            assert text.index.dtype == np.int32
            assert len(text.index) == one.size


@given(st.lists(blocks(), max_size=4))
def test_what_is_packed_comes_back(held: list[Block]) -> None:
    assert_same(unpack(pack(held)), held)


@given(st.lists(events(), min_size=1, max_size=6))
def test_what_was_decoded_comes_back(sent: list[tuple[Any, Any]]) -> None:
    message = msgpack.packb([event for event, _ in sent])
    held = decoded_by(open_decoder(), [message]).blocks
    assert_same(unpack(pack(held)), held)


@given(st.lists(blocks(), max_size=3), st.data())
def test_parts_of_blocks_are_packed_as_they_are(held: list[Block], data: st.DataObject) -> None:
    parts = [b.part(data.draw(st.integers(0, b.size)), b.size) for b in held]
    assert_same(unpack(pack(parts)), parts)


@given(st.lists(blocks(), max_size=4))
def test_what_comes_back_makes_the_same_rows_for_the_database(held: list[Block]) -> None:
    """The columns that come back can't be written to: nothing on the way may want to."""

    def copied(found: list[Block]) -> list[bytes]:
        made = [table_rows(each, NODE) for each in concatenate(found) if each.size]
        return [b"".join(map(bytes, table.chunks())) for table in made]

    sane = [b for b in held if b.size]
    for each in sane:
        each.numbers["timestamp"][:] = NOON
    assert copied(unpack(pack(sane))) == copied(sane)


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 65_535, 65_536, 65_537])
def test_an_index_has_room_for_all_values(count: int) -> None:
    values = [f"/{i}" for i in range(count)]
    held = block("backend", [{}] * count).with_text(
        "backend_name", Text(values, np.arange(count, dtype=np.int32)[::-1])
    )
    (back,) = unpack(pack([held]))
    assert back.texts["backend_name"].rows() == values[::-1]


def test_what_is_the_same_in_all_rows_takes_the_room_of_one() -> None:
    few, many = (len(pack([block("request", [{}] * n)])) for n in (300, 60_000))
    assert many - few < 10


GOOD = msgpack.unpackb(pack([block("system", [{"source": "a"}, {"source": None}])]))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_entry_are_told(data: bytes) -> None:
    assert_harmless(data)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=20)
    | st.sampled_from(["<i8", "|b1", "O", "V9", "<U1000000000", *KINDS]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(anything)
def test_other_messagepack_is_told(value: Any) -> None:
    assert_harmless(msgpack.packb(value))


@given(st.integers(0, 3), anything)
def test_a_block_of_which_a_part_is_something_else_is_told(place: int, value: Any) -> None:
    (whole,) = GOOD
    assert_harmless(msgpack.packb([[*whole[:place], value, *whole[place + 1 :]]]))


@given(st.sampled_from(sorted(GOOD[0][2])), anything)
def test_a_column_that_is_something_else_is_told(name: str, value: Any) -> None:
    kind, size, numbers, held = GOOD[0]
    assert_harmless(msgpack.packb([[kind, size, numbers | {name: value}, held]]))
    assert_harmless(msgpack.packb([[kind, size, numbers, held | {"source": value}]]))


@pytest.mark.parametrize(
    "text",
    [
        [[1], "", b""],
        [["a", b"b"], "<u1", b"\0\1"],
        [["a", "b"], "<u1", b"\0\2"],
        [["a", "b"], "<i4", b"\0\0\0\0\xff\xff\xff\xff"],
        [["a", "b"], "<u1", b"\0"],
        [[], "", b""],
    ],
)
def test_a_text_that_is_something_else_is_told(text: Any) -> None:
    kind, size, numbers, _ = GOOD[0]
    with pytest.raises(ValueError, match="no payload of format 1"):
        unpack(msgpack.packb([[kind, size, numbers, {"source": text}]]))


@given(st.data())
def test_an_entry_with_a_changed_byte_is_told_or_read(data: st.DataObject) -> None:
    whole = bytearray(pack([block("request", [{"path": "/a"}, {"path": "/b"}])]))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert_harmless(bytes(whole))
    assert_harmless(bytes(whole[:place]))


@pytest.mark.parametrize("size", [-1, MAX_EVENTS + 1, 2**63, 1.5, "2", None])
def test_a_size_that_none_has_is_told(size: Any) -> None:
    kind, _, _, _ = GOOD[0]
    constant = ["<i8", bytes(8)]
    with pytest.raises(ValueError, match="no payload of format 1"):
        unpack(msgpack.packb([[kind, size, {"timestamp": constant}, {}]]))


def assert_harmless(data: bytes) -> None:
    """Bytes give blocks whose every row can be looked at, or a ValueError."""
    try:
        found = unpack(data)
    except ValueError:
        return
    for each in found:
        assert each.kind in KINDS
        for column in each.numbers.values():
            assert len(column) == each.size
        for text in each.texts.values():
            assert len(text.rows()) == each.size
            assert all(value is None or isinstance(value, str) for value in text.rows())


def test_what_is_packed_is_always_taken_back_however_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aegisd.store.journal.payload.MAX_EVENTS", 3)
    sent = [{"method": "GET", "path": f"/{i}", "status_code": 200} for i in range(10)]
    (block,) = decoded_by(open_decoder(), [msgpack.packb(sent)]).blocks
    held = unpack(pack([block]))
    assert [part.size for part in held] == [3, 3, 3, 1]
    assert rows(held) == rows([block])


def test_nothing_that_is_decoded_is_larger_than_an_entry_may_hold() -> None:
    assert 2 * MAX_READ_ROWS < MAX_EVENTS

"""Payloads: packed blocks are unpacked equal, and no bytes raise more than ValueError."""

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import decoded_by, events, keep_all_decoder, rows, texts
from store.databases import NODE, NOON, block

from aegisd.events.block import ABSENT, Block, Text, concatenate
from aegisd.events.protocol import BACKEND, KINDS, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.store.journal.payload import MAX_EVENTS, pack_blocks, unpack_blocks
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
def test_packed_blocks_are_unpacked_equal(held: list[Block]) -> None:
    assert_same(unpack_blocks(pack_blocks(held)), held)


@given(st.lists(events(), min_size=1, max_size=6))
def test_decoded_blocks_are_unpacked_equal(sent: list[tuple[Any, Any]]) -> None:
    message = msgpack.packb([event for event, _ in sent])
    held = decoded_by(keep_all_decoder(), [message]).blocks
    assert_same(unpack_blocks(pack_blocks(held)), held)


@given(st.lists(blocks(), max_size=3), st.data())
def test_parts_of_blocks_are_unpacked_equal(held: list[Block], data: st.DataObject) -> None:
    parts = [b.part(data.draw(st.integers(0, b.size)), b.size) for b in held]
    assert_same(unpack_blocks(pack_blocks(parts)), parts)


@given(st.lists(blocks(), max_size=4))
def test_unpacked_blocks_make_the_same_rows_for_the_database(held: list[Block]) -> None:
    """Unpacked columns are read-only: nothing on the way to the rows may write to them."""

    def copied(found: list[Block]) -> list[bytes]:
        made = [table_rows(each, NODE) for each in concatenate(found) if each.size]
        return [b"".join(map(bytes, table.chunks())) for table in made]

    sane = [b for b in held if b.size]
    for each in sane:
        each.numbers["timestamp"][:] = NOON
    assert copied(unpack_blocks(pack_blocks(sane))) == copied(sane)


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 65_535, 65_536, 65_537])
def test_index_of_any_number_of_values_is_unpacked_equal(count: int) -> None:
    values = [f"/{i}" for i in range(count)]
    held = block("backend", [{}] * count).with_text(
        "backend_name", Text(values, np.arange(count, dtype=np.int32)[::-1])
    )
    (back,) = unpack_blocks(pack_blocks([held]))
    assert back.texts["backend_name"].rows() == values[::-1]


def test_constant_columns_take_the_room_of_one_row() -> None:
    few, many = (len(pack_blocks([block("request", [{}] * n)])) for n in (300, 60_000))
    assert many - few < 10


GOOD = msgpack.unpackb(pack_blocks([block("system", [{"source": "a"}, {"source": None}])]))


@given(st.binary(max_size=200))
def test_other_bytes_raise_value_error_at_most(data: bytes) -> None:
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
def test_other_messagepack_raises_value_error_at_most(value: Any) -> None:
    assert_harmless(msgpack.packb(value))


@given(st.integers(0, 3), anything)
def test_block_with_another_part_raises_value_error_at_most(place: int, value: Any) -> None:
    (whole,) = GOOD
    assert_harmless(msgpack.packb([[*whole[:place], value, *whole[place + 1 :]]]))


@given(st.sampled_from(sorted(GOOD[0][2])), anything)
def test_block_with_another_column_raises_value_error_at_most(name: str, value: Any) -> None:
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
def test_malformed_text_raises(text: Any) -> None:
    kind, size, numbers, _ = GOOD[0]
    with pytest.raises(ValueError, match="no payload of format 1"):
        unpack_blocks(msgpack.packb([[kind, size, numbers, {"source": text}]]))


@given(st.data())
def test_payload_with_a_changed_byte_raises_value_error_at_most(data: st.DataObject) -> None:
    whole = bytearray(pack_blocks([block("request", [{"path": "/a"}, {"path": "/b"}])]))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert_harmless(bytes(whole))
    assert_harmless(bytes(whole[:place]))


@pytest.mark.parametrize("size", [-1, MAX_EVENTS + 1, 2**63, 1.5, "2", None])
def test_impossible_size_raises(size: Any) -> None:
    kind, _, _, _ = GOOD[0]
    constant = ["<i8", bytes(8)]
    with pytest.raises(ValueError, match="no payload of format 1"):
        unpack_blocks(msgpack.packb([[kind, size, {"timestamp": constant}, {}]]))


def assert_harmless(data: bytes) -> None:
    """The bytes are unpacked to blocks whose every row can be read, or raise ValueError."""
    try:
        found = unpack_blocks(data)
    except ValueError:
        return
    for each in found:
        assert each.kind in KINDS
        for column in each.numbers.values():
            assert len(column) == each.size
        for text in each.texts.values():
            assert len(text.rows()) == each.size
            assert all(value is None or isinstance(value, str) for value in text.rows())


def test_block_beyond_the_limit_is_packed_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aegisd.store.journal.payload.MAX_EVENTS", 3)
    sent = [{"method": "GET", "path": f"/{i}", "status_code": 200} for i in range(10)]
    (block,) = decoded_by(keep_all_decoder(), [msgpack.packb(sent)]).blocks
    held = unpack_blocks(pack_blocks([block]))
    assert [part.size for part in held] == [3, 3, 3, 1]
    assert rows(held) == rows([block])


def test_decoded_blocks_stay_within_the_limit() -> None:
    assert 2 * MAX_READ_ROWS < MAX_EVENTS

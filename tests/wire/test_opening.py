import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walking import end_of

from aegisd.wire.careful.opening import UNREADABLE, MessageStart, WholeMessage, open_message

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
    | st.builds(msgpack.Timestamp, st.integers(-(2**40), 2**40), st.integers(0, 10**9 - 1))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)


def unpack_message(data: bytes) -> Any:
    """The message that is opened; a large one put together again."""
    message: Any = None
    for step in open_message(data):
        if isinstance(step, WholeMessage):
            message = step.message
        elif isinstance(step, MessageStart):
            message = [] if step.message is None else step.message | {"events": []}
        elif step is not None:
            (message if type(message) is list else message["events"]).extend(step)
    return message


def boundaries(data: bytes) -> list[int]:
    """Where msgpack's own reader says that the values in ``data`` end."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(data)
    return [unpacker.tell() for _ in unpacker]


@given(st.lists(values, min_size=1, max_size=4))
@settings(max_examples=100)
def test_values_end_where_msgpack_says(held: list[object]) -> None:
    data = b"".join(map(msgpack.packb, held))
    offset, ends = 0, []
    while offset < len(data):
        offset = end_of(data, offset)
        ends.append(offset)
    assert ends == boundaries(data)


@given(values)
@settings(max_examples=100)
def test_value_cut_off_has_no_end(value: object) -> None:
    data = msgpack.packb(value)
    assert {end_of(data[:end], 0) for end in range(len(data))} == {-1}


@given(st.binary(max_size=60))
@settings(max_examples=500)
def test_any_bytes_end_where_msgpack_says_or_not_at_all(data: bytes) -> None:
    end = end_of(data, 0)
    try:
        expected = boundaries(data)
    except (ValueError, TypeError):  # a key or a text that msgpack can't unpack, or 0xC1
        return
    assert end == (expected[0] if expected else -1)


@pytest.mark.parametrize("tag", range(256))
def test_every_tag_ends_where_msgpack_says(tag: int) -> None:
    data = bytes([tag]) + bytes(40)
    if tag == 0xC1:
        assert end_of(data, 0) == -1
        return
    skipping = msgpack.Unpacker(strict_map_key=False)
    skipping.feed(data)
    skipping.skip()
    assert end_of(data, 0) == skipping.tell()


def test_end_of_a_deeply_nested_value_is_found() -> None:
    deep = b"\x91" * 100_000 + b"\xc0"
    assert end_of(deep + b"\xc0", 0) == len(deep)
    assert unpack_message(b"\x92" + deep + b"\x05") == [UNREADABLE, 5]


def test_envelope_that_msgpack_cannot_unpack_is_opened_value_by_value() -> None:
    bad = b"\x81\x90\x01"
    assert unpack_message(b"\x82\xa1v\x01\xa6events\x92" + bad + b"\x05") == {
        "v": 1,
        "events": [UNREADABLE, 5],
    }
    assert unpack_message(b"\x82\xa1v" + bad + b"\xa6events\x90") == {"v": {}, "events": []}
    assert unpack_message(b"\x81\xa1v" + bad) == {"v": {}}
    assert unpack_message(b"\x82\xa1x" + bad + b"\xa1n\x05") == {"x": None, "n": 5}
    assert unpack_message(b"\x82\xa1v\xc7\x03\xff\x00\x00\x00\xa6events\x90") is UNREADABLE
    assert unpack_message(b"\x81" + bad) is UNREADABLE
    assert unpack_message(b"") is UNREADABLE


TUPLE_PRIMES = 11400714785074694791, 14029467366897019727, 2870177450012600261  # tupleobject.c


def turned(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) % 2**64


def timestamps_of_one_hash(count: int) -> list[msgpack.Timestamp]:
    """CPython's hash of a tuple, backwards: seconds for each number of nanoseconds."""
    first, second, start = TUPLE_PRIMES
    undo_first, undo_second = pow(first, -1, 2**64), pow(second, -1, 2**64)
    made: list[msgpack.Timestamp] = []
    nanoseconds = 0
    while len(made) < count:
        nanoseconds += 1
        before = turned(-undo_first % 2**64, 33) - nanoseconds * second
        seconds = (turned(before * undo_first % 2**64, 33) - start) * undo_second % 2**64
        if seconds < 2**61 - 1:  # an integer below that is its own hash
            made.append(msgpack.Timestamp(seconds, nanoseconds))
    return made


def test_keys_that_all_have_the_same_hash_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(msgpack.Timestamp, "__eq__", lambda _, other: compared.append(other))
    keys = timestamps_of_one_hash(100)
    assert len(set(map(hash, keys))) == 1
    pairs = b"".join(msgpack.packb(key) + b"\xc0" for key in keys)
    message = b"\xde" + struct.pack(">H", 101) + b"\xa1n\x05" + pairs
    event = b"\xde" + struct.pack(">H", 102) + message[3:] + b"\x81\x90\x01\xc0"
    assert unpack_message(message) == {"n": 5, None: None}
    assert unpack_message(b"\x92" + message + event) == [{"n": 5, None: None}, UNREADABLE]
    assert unpack_message(
        message[:2] + b"\x66" + message[3:] + b"\xa6events\x91" + b"\x81\x90\x01"
    ) == {
        "n": 5,
        None: None,
        "events": [UNREADABLE],
    }
    assert [other for other in compared if type(other) is msgpack.Timestamp] == []


@pytest.mark.parametrize("key", [0, -1, 2**64 - 1, 1.5, None, True, b"a", msgpack.ExtType(5, b"")])
def test_keys_that_are_no_text_name_nothing(key: object) -> None:
    message = msgpack.packb({"a": {5: 1, key: 2}, 7: 3, "b": 4})
    assert unpack_message(message) == {"a": {None: 2}, None: 3, "b": 4}


def test_lists_that_declare_more_than_they_hold_take_no_memory() -> None:
    hollow = b"\xdc\x80\x00" * 500 + bytes(40_000)
    tracemalloc.start()
    try:
        assert unpack_message(hollow) is UNREADABLE
        assert tracemalloc.get_traced_memory()[1] < 4 * len(hollow)
    finally:
        tracemalloc.stop()

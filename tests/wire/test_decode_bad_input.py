import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_events import (
    GOOD,
    accepted,
    decode,
    decoded_by,
    faults,
    flows,
    keep_all_decoder,
    only,
    pack,
    rows,
)

GOOD_EVENT = pack(GOOD["request"])
MALFORMED = (0, "malformed", "")

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
scalars |= st.text(max_size=5) | st.binary(max_size=5)
scalars |= st.sampled_from(["kind", "events", "columns", "source", "seq", "method", "request"])
hashable = scalars | st.tuples(scalars)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=4),
    max_leaves=12,
)


def packed(value: object) -> bytes:
    return msgpack.packb(value, unicode_errors="surrogatepass")


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


def lists_of(*events: bytes) -> bytes:
    return b"\xdd" + len(events).to_bytes(4, "big") + b"".join(events)


def envelope_of(*events: bytes) -> bytes:
    return b"\x82\xa1v\x01\xa6events" + lists_of(*events)


UNREADABLE = {
    "a list for a key": b"\x81\x90\x01",
    "a map for a key": b"\x81\x80\x01",
    "a list for a key beside good ones": GOOD_EVENT.replace(b"\x83", b"\x84", 1) + b"\x91\x01\xc0",
    "lists too deep": nested(5000),
    "maps too deep": b"\x81\xa1x" * 3000 + b"\xc0",
    "an unknown key with lists too deep": b"\x84" + GOOD_EVENT[1:] + b"\xa1x" + nested(3000),
    "an unknown key with lists a little too deep": b"\x84"
    + GOOD_EVENT[1:]
    + b"\xa1x"
    + nested(1200),
    "a timestamp of a wrong length": b"\x81\xa9timestamp\xc7\x03\xff\x00\x00\x00",
    "a timestamp of too many nanoseconds": b"\xd7\xff" + b"\xff" * 8,
}


IGNORED = {
    "lists as deep as they may be": nested(990),
    "a timestamp of a wrong length": b"\xc7\x03\xff\x00\x00\x00",
    "a list for a key": b"\x81\x90\x01",
    "text that is none": b"\xa2\xff\xfe",
}


@pytest.mark.parametrize("value", IGNORED.values(), ids=IGNORED)
def test_value_of_an_unknown_key_is_ignored(value: bytes) -> None:
    event = b"\x84" + GOOD_EVENT[1:] + b"\xa1x" + value
    for message in (event, lists_of(GOOD_EVENT, event), envelope_of(event)):
        decoded = decode(message)
        assert faults(decoded) == []
        assert rows(decoded.blocks)[-1] == only(GOOD["request"])


@given(st.lists(st.binary(max_size=200), max_size=8))
@settings(max_examples=150)
def test_any_bytes_become_events_or_rejects(messages: list[bytes]) -> None:
    decoded = decode(*messages)
    assert accepted(decoded) + len(faults(decoded)) == decoded.starts[-1]
    assert len(decoded.starts) == len(messages) + 1


@given(st.lists(values, max_size=5))
@settings(max_examples=150)
def test_any_values_become_events_or_rejects(messages: list[object]) -> None:
    decode(*map(packed, messages))
    decode(packed(messages))
    decode(packed({"events": messages}))
    decode(packed({"events": [GOOD["request"] | {"path": m} for m in messages]}))


@given(st.data(), st.sampled_from(list(GOOD.values())))
@settings(max_examples=150)
def test_flipped_byte_gives_events_or_rejects(
    data: st.DataObject, event: dict[str, object]
) -> None:
    message = bytearray(pack({"source": "s", "seq": 0, "events": [event, event]}))
    for place in data.draw(st.lists(st.integers(0, len(message) - 1), min_size=1, max_size=3)):
        message[place] = data.draw(st.integers(0, 255))
    decoded = decode(event, bytes(message), event)
    assert accepted(decoded) >= 2


@pytest.mark.parametrize(
    "message",
    [
        pack(GOOD["request"]),
        pack(list(GOOD.values()) * 3),
        pack({"v": 1, "source": "s", "seq": 5, "events": list(GOOD.values())}),
    ],
)
def test_truncated_message_is_one_reject(message: bytes) -> None:
    for end in range(len(message)):
        decoded = decode(GOOD["request"], message[:end], GOOD["request"])
        assert faults(decoded) == [(1, "malformed", "")]
        assert (accepted(decoded), flows(decoded)) == (2, [])


def test_bytes_behind_a_message_make_it_one_reject() -> None:
    for extra in (b"\xc0", b"\x00", GOOD_EVENT, b"\xc1"):
        assert faults(decode(GOOD_EVENT + extra)) == [MALFORMED]


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_event_is_the_only_reject(bad: bytes) -> None:
    assert faults(decode(bad)) == [MALFORMED]
    for message in (
        lists_of(GOOD_EVENT, bad, GOOD_EVENT),
        b"\x93" + GOOD_EVENT + bad + GOOD_EVENT,
        b"\xdc\x00\x03" + GOOD_EVENT + bad + GOOD_EVENT,
        envelope_of(GOOD_EVENT, bad, GOOD_EVENT),
    ):
        decoded = decode(message)
        assert faults(decoded) == [(1, "malformed", "")]
        assert rows(decoded.blocks) == [only(GOOD["request"])] * 2


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_event_leaves_kind_and_source_of_its_envelope(bad: bytes) -> None:
    header = b"\x84\xa6source\xa1s\xa3seq\x07\xa4kind\xa6system\xa6events"
    decoded = decode(header + b"\x92" + bad + pack({"active_connections": 1}))
    assert [row["source"] for row in rows(decoded.blocks)] == ["s"]
    assert flows(decoded) == [("s", 7, 2)]


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_message_leaves_the_others_of_its_burst(bad: bytes) -> None:
    decoded = decode(GOOD_EVENT, bad, lists_of(GOOD_EVENT))
    assert faults(decoded) == [(1, "malformed", "")]
    assert accepted(decoded) == 2


@pytest.mark.parametrize("tag", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
@pytest.mark.parametrize("length", [2**16, 2**31, 2**32 - 1])
def test_huge_declared_lengths_take_no_memory_and_are_one_reject(tag: bytes, length: int) -> None:
    header = tag + length.to_bytes(4, "big")
    for message in (header, header + b"\xc0" * 9, header * 200, b"\x91" + header + bytes(2000)):
        assert faults(decode(message)) == [MALFORMED]


def test_nested_hollow_lists_are_one_reject() -> None:
    assert faults(decode(b"\xdc\xff\xff" * 30_000)) == [MALFORMED]
    assert faults(decode(b"\xdd\x00\x0f\xff\xff" * 20_000)) == [MALFORMED]


def test_message_with_many_bytes_like_headers_is_read() -> None:
    event = GOOD["request"] | {"x": b"\xdc\xdd" * 2000}
    assert accepted(decode([event, event])) == 2


def test_million_empty_maps_are_a_million_rejects() -> None:
    decoded = decoded_by(keep_all_decoder(0), [lists_of(*[b"\x80"] * 1_000_000)], 0)
    assert {(str(r.reason), r.field) for r in decoded.rejects} == {("missing_field", "method")}
    assert sum(len(r.indexes) for r in decoded.rejects) == 1_000_000


@pytest.mark.parametrize("bad", [b"\xc0", b"\x90", pack({"kind": "x"}), pack({"kind": 1})])
def test_rejects_of_one_reason_are_one_reject_in_each_part(bad: bytes) -> None:
    decoded = decode(lists_of(*[bad] * 10_000, GOOD_EVENT), bad)
    assert all(len(part.rejects) <= 2 for part in decoded.parts)
    assert len(decoded.parts) <= 11
    assert accepted(decoded) == 1


def test_number_of_group_readers_is_bounded() -> None:
    decoder = keep_all_decoder(0)
    names = ["duration_ms", "timestamp", "route", "backend", "client_ip", "error_message"]
    aliases = ["durationMs", "clientIp", "errorMessage", "statusCode"]
    keys = names + aliases
    shapes = [
        {key: None for bit, key in enumerate(keys) if number >> bit & 1} | {"path": "/"}
        for number in range(2 ** len(keys))
    ]
    shapes += [dict(reversed(shape.items())) for shape in shapes]
    decoded = decoded_by(decoder, [packed(shapes)], 0)
    assert len(faults(decoded)) == len(shapes)
    # three fields under either name or none, three under one or none, and the status
    assert len(decoder._careful._group_readers) == 3**3 * 2**3 * 2

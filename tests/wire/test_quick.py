"""The quick way: it reads every plain message, and reads nothing differently.

``sample_events.decode`` decodes in both ways and compares them. So these tests check which way a
message goes, and compare messages that might mislead the quick way.
"""

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import GOOD, MAX_AGE, MICROSECONDS, NOW, content, decode, events, pack

from aegisd.wire.checks import TimeLimits
from aegisd.wire.quick import QuickReader

LIMITS = TimeLimits(NOW * MICROSECONDS, MAX_AGE)


def left(*messages: Any) -> list[int]:
    """The messages that are not read quickly; that decoding is right is compared too."""
    decode(*messages)
    _, message_numbers = QuickReader().read([pack(m) for m in messages], LIMITS)
    return message_numbers


def request(i: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "method": ["GET", "POST"][i % 2],
        "path": f"/api/{i % 7}",
        "status_code": [200, 404, 503, 7][i % 4],
        "duration_ms": [i / 3, i, i * 1000][i % 3],
        **more,
    }


MANY = [request(i) for i in range(60)]
TURNED = [dict(reversed(event.items())) for event in MANY]
ALL_FIELDS = {"timestamp": NOW - 7, "route": "/api/:n", "backend": "b", "client_ip": "::1"}

PLAIN: dict[str, list[Any]] = {
    "one by one": MANY,
    "a list": [MANY],
    "a short list": [MANY[:3]],
    "a list of more than 65,535": [[request()] * 65_536],
    "lists and maps in turn": [MANY[:20], MANY[20], MANY[21:40], *MANY[40:]],
    "an envelope": [{"events": MANY}],
    "an envelope whose events come before the rest": [{"events": MANY, "source": "gw"}],
    "an envelope without events": [{"source": "gw", "seq": 5, "events": []}],
    "more keys than 15": [[request(**{f"k{i}": i for i in range(12)})]],
    "nested values of other keys": [[request(tags={"a": [1]}, trace=b"123")]],
    "envelopes with all keys": [
        {"v": 1, "kind": "request", "source": "gw", "seq": i * 20, "events": MANY[i : i + 20]}
        for i in (0, 20, 40)
    ],
    "one by one, numbered": [e | {"source": f"gw-{i % 3}", "seq": i} for i, e in enumerate(MANY)],
    "one by one, of a source": [e | {"source": "gw"} for e in MANY],
    "camelCase": [[{"method": "GET", "path": "/", "statusCode": 200, "durationMs": 1.5}] * 9],
    "their kind named": [[e | {"kind": "request"} for e in MANY], *MANY],
    "some with more": [
        [request(i, **({"error_message": "no"} if i % 9 else {})) for i in range(60)]
    ],
    "all fields": [[event | ALL_FIELDS for event in MANY]],
    "milliseconds": [[request(i, timestamp=(NOW - i) * 1000) for i in range(9)]],
    "nil where it may be": [
        [request(i, backend=None, error_message=None, timestamp=None) for i in range(9)]
    ],
    "some nil": [[request(i, backend=None if i % 2 else "b") for i in range(9)]],
    "some nil durations": [[request(i) | {"duration_ms": None if i % 2 else i} for i in range(9)]],
    "keys of their own": [[request(i, trace=f"{i:032x}", retry=True, depth=-i) for i in range(9)]],
    "long texts": [
        [request(i, route="/r" * 40 + str(i)) for i in range(9)],
        [request(route="x" * 300)],
    ],
    "texts beyond their limits": [
        [request(i, backend="b" * 300, path=f"/{i}\0ä") for i in range(9)]
    ],
    "several makes of emitter": [
        TURNED[:20],
        MANY[20:40],
        MANY[40:50],
        *TURNED[50:],
    ],
    "floats of 32 bits": [
        msgpack.packb([request(i, duration_ms=i / 7) for i in range(9)], use_single_float=True)
    ],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_message_is_read_the_quick_way(name: str) -> None:
    assert left(*PLAIN[name]) == []


ODD: dict[str, Any] = {
    "another kind": [MANY[0], {"kind": "system", "active_connections": 1}],
    "an envelope of another kind": {"kind": "system", "events": MANY},
    "another version": {"v": 2, "events": MANY},
    "a value of another type": [*MANY, request(status_code="200")],
    "out of range": [*MANY, request(duration_ms=-1)],
    "too old": [*MANY, request(timestamp=1)],
    "a required field missing": [*MANY, {"method": "GET", "path": "/"}],
    "a required field nil": [*MANY, request(path=None)],
    "binary": [*MANY, request(path=b"123")],
    "a timestamp of MessagePack's own": [*MANY, request(timestamp=msgpack.Timestamp(NOW))],
    "no event": [*MANY, 5],
    "a heartbeat": {"source": "gw", "seq": 5},
    "a seq without a source": {"seq": 5, "events": MANY},
    "a seq below 0": {"source": "gw", "seq": -5, "events": MANY},
    "an envelope in two senses": {"columns": {}, "n": 1, "events": MANY},
    "both spellings of a key": [*MANY, request(statusCode=200)],
    "both spellings, one nil": [*MANY, request(durationMs=None)],
    "two makes of emitter in one list": [
        MANY[0],
        {"method": "GET", "path": "/", "statusCode": 200},
    ],
    "not UTF-8": pack([*MANY, request(backend="##")]).replace(b"##", b"\xff\xff"),
    "a key that is no text": [*MANY, request() | {5: 1}],
    "an integer beyond 64 bits' sign": [*MANY, request(seq=2**63)],
    "a status of a fraction": [*MANY, request(status_code=200.0)],
    "a boolean for a number": [*MANY, request(duration_ms=True)],
    "NaN": [*MANY, request(duration_ms=math.nan)],
    "nothing": b"",
    "cut off": pack(MANY)[:-1],
    "something behind it": pack(MANY) + b"\x01",
    "an event too few": b"\xdc\x00\x3d" + pack(MANY)[3:],
    "an event too many": b"\xdc\x00\x3b" + pack(MANY)[3:],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_message_is_left_to_the_careful_way_and_its_neighbours_are_not(name: str) -> None:
    assert left(MANY, ODD[name], *MANY, MANY) == [1]


@pytest.mark.parametrize(
    "text", ["\u0084\u00a6method", "method", "\x06method" * 5, b"\x84\xa6method".decode("latin1")]
)
def test_texts_like_the_start_of_an_event_are_kept(text: str) -> None:
    decode([request(i, backend=text) for i in range(20)])
    raw = pack([request(i, backend="#" * 8) for i in range(20)])
    decode(raw.replace(b"#" * 8, b"\x84\xa6method"), MANY)


def test_last_of_a_repeated_key_counts_in_a_plain_message() -> None:
    twice = b"\x84\xa6method\xa3GET\xa4path\xa1/\xabstatus_code\xcc\xc8\xaastatusCode\xcd\x01\xf4"
    assert left(*[twice] * 50) == [*range(50)]
    assert {row["status_code"] for row in content(decode(*[twice] * 50))[0]} == {500}


@given(st.lists(events(kinds=("request",)), min_size=1, max_size=30), st.data())
def test_bursts_with_broken_bytes_decode_alike_on_both_ways(
    pairs: list[Any], data: st.DataObject
) -> None:
    sent = [event for event, _ in pairs]
    messages = [pack(e) for e in sent] + [pack(sent), pack({"v": 1, "events": sent}), pack(MANY)]
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(messages) - 1))
        broken = bytearray(messages[i])
        at = data.draw(st.integers(0, len(broken)))
        broken[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        messages[i] = bytes(broken)
    decode(*messages)


def test_message_too_deep_for_msgpack_is_left_to_the_careful_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aegisd.wire.quick._STACK_IS_DEEP", True)
    deep = b"\x84" + pack(GOOD["request"])[1:] + b"\xa1x" + b"\x91" * 1200 + b"\xc0"
    shallow = request(tags=[[["x" * 2000]]])
    assert left(MANY, deep, shallow, b"\x91" * 2000) == [1, 3]


def test_reader_that_read_most_lately_is_first() -> None:
    quick = QuickReader()
    camel = pack([{"method": "GET", "path": "/", "statusCode": 200}])
    first = quick._readers[0]
    assert quick.read([camel], LIMITS)[1] == []
    assert quick._readers[0] is not first
    assert len(quick._readers) == 4
    assert quick.read([pack(MANY), camel, pack({"events": MANY})], LIMITS)[1] == []

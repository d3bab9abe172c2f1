"""The conformance vectors: what they cover, and that decoding makes of them what they say."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import msgpack
import pytest
from sample_events import MICROSECONDS, decode, faults, flows, rows, sort
from vectors import DOCUMENT, KEPT_AS, VECTORS, message, row

from aegisd.events.protocol import (
    ENVELOPE_KEYS,
    KINDS,
    MAX_AHEAD_SECONDS,
    VERSION,
    Reason,
    camel_case,
)

NOW, MAX_AGE_SECONDS = DOCUMENT["now"], DOCUMENT["max_age_seconds"]
MAX_AGE = MAX_AGE_SECONDS * MICROSECONDS
YEAR = 365 * 86_400

LEAST = 80

LARGE_BURST_BYTES = 2048
"""From here on it pays to read messages together, and there a cut one could take its neighbour."""

TYPES = {
    "name": str,
    "about": str,
    "message": str,
    "clock": bool,
    "events": list,
    "rejects": list,
    "altered": int,
    "source": str | None,
    "seq": int | None,
    "received": int,
}

TAGS = {
    **{0xC0: "nil", 0xC2: "false", 0xC3: "true", 0xC4: "bin 8", 0xCA: "float 32", 0xCB: "float 64"},
    **{0xCC: "uint 8", 0xCD: "uint 16", 0xCE: "uint 32", 0xCF: "uint 64"},
    **{0xD0: "int 8", 0xD1: "int 16", 0xD2: "int 32", 0xD3: "int 64"},
    **{0xD9: "str 8", 0xDA: "str 16", 0xDB: "str 32"},
    **{0xD6: "timestamp 32", 0xD7: "timestamp 64", 0xC7: "timestamp 96"},
    **{0xDC: "array 16", 0xDD: "array 32", 0xDE: "map 16", 0xDF: "map 32"},
}
"""Forms of the MessagePack specification that emitters may use."""

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])

Expected = tuple[int, str, str]


def named(name: str) -> dict[str, Any]:
    (vector,) = (vector for vector in VECTORS if vector["name"] == name)
    return vector


def said(vectors: list[dict[str, Any]], now: int = NOW) -> list[Any]:
    """What the vectors say of their messages, when they come in one burst."""
    sizes = [len(v["events"]) + len(v["rejects"]) for v in vectors]
    starts = [0, *accumulate(sizes)]
    events = [row(event, now * MICROSECONDS) for v in vectors for event in v["events"]]
    rejects: list[Expected] = [
        (start + reject["index"], reject["reason"], reject["field"])
        for start, v in zip(starts, vectors, strict=False)
        for reject in v["rejects"]
    ]
    sources = [(v["source"], v["seq"], v["received"]) for v in vectors if v["source"] is not None]
    altered = sum(v["altered"] for v in vectors)
    return [sort(events), sorted(rejects), sorted(sources, key=repr), altered, starts]


def decoded(vectors: list[dict[str, Any]], now: int = NOW) -> list[Any]:
    made = decode(*map(message, vectors), now=now, max_age=MAX_AGE)
    found = [sort(rows(made.blocks)), faults(made), sorted(flows(made), key=repr)]
    return [*found, made.altered, made.starts.tolist()]


def opened(vector: dict[str, Any]) -> Any:
    """The message, read with a MessagePack library; None where it can't be read."""
    try:
        return msgpack.unpackb(message(vector), strict_map_key=False, unicode_errors="replace")
    except (ValueError, TypeError):
        return None


def tags(data: bytes) -> Iterator[int]:
    """The first byte of each value in the message, those within lists and maps too."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    owed = 1
    while owed:
        tag = data[unpacker.tell()]
        yield tag
        owed -= 1
        if tag & 0xF0 == 0x90 or tag in (0xDC, 0xDD):
            owed += unpacker.read_array_header()
        elif tag & 0xF0 == 0x80 or tag in (0xDE, 0xDF):
            owed += 2 * unpacker.read_map_header()
        else:
            unpacker.skip()


def column_forms() -> Iterator[tuple[str, str]]:
    """Field and form of each column in the accepted ``columns`` messages."""
    aliases = {camel_case(f.name): f.name for fields in KINDS.values() for f in fields}
    for vector in VECTORS:
        told = opened(vector)
        if not (isinstance(told, dict) and vector["events"] and told.get("columns")):
            continue
        size = told["n"]
        for name, column in told["columns"].items():
            form = "one value"
            if isinstance(column, list):
                form = "list"
            elif isinstance(column, bytes):
                form = f"{len(column) // size} bytes"
            elif isinstance(column, dict):
                form = f"index of {len(column['index']) // size} bytes"
            yield aliases.get(name, name), form


@each_vector
def test_message_is_decoded_to_what_its_vector_says(vector: dict[str, Any]) -> None:
    assert decoded([vector]) == said([vector])


def test_all_messages_together_are_decoded_to_what_their_vectors_say() -> None:
    assert decoded(VECTORS) == said(VECTORS)
    assert decoded(VECTORS[::-1] * 3) == said(VECTORS[::-1] * 3)


@pytest.mark.parametrize("place", ["first", "in the middle", "last"])
def test_truncated_message_within_a_large_burst_is_one_reject_as_it_is_alone(place: str) -> None:
    good, cut = named("request-with-duration"), named("malformed-truncated")
    count = 100
    at = {"first": 0, "in the middle": count // 2, "last": count}[place]
    burst = [*[good] * at, cut, *[good] * (count - at)]
    assert sum(len(message(vector)) for vector in burst) > LARGE_BURST_BYTES
    made = decode(*map(message, burst), now=NOW, max_age=MAX_AGE)
    assert faults(decode(message(cut))) == [(0, "malformed", "")]
    assert faults(made) == [(at, "malformed", "")]
    assert len(rows(made.blocks)) == count
    assert decoded(burst) == said(burst)


def test_truncated_message_leaves_its_neighbours_in_a_large_burst() -> None:
    whole = message(named("request-with-duration"))
    cuts = [whole[:end] for end in range(len(whole))]
    burst = [part for cut in cuts for part in (whole, cut)] + [whole]
    assert sum(map(len, burst)) > LARGE_BURST_BYTES
    made = decode(*burst, now=NOW, max_age=MAX_AGE)
    assert faults(made) == [(2 * i + 1, "malformed", "") for i in range(len(cuts))]
    assert {row["path"] for row in rows(made.blocks)} == {"/users/7"}
    assert len(rows(made.blocks)) == len(cuts) + 1


@pytest.mark.parametrize("now", [NOW - 10 * YEAR, NOW - 301, NOW + 10 * YEAR])
def test_vectors_that_do_not_need_the_clock_mean_the_same_at_any_time(now: int) -> None:
    timeless = [vector for vector in VECTORS if not vector["clock"]]
    assert decoded(timeless, now) == said(timeless, now)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["clock"]], ids=lambda v: v["name"])
def test_vectors_that_need_the_clock_mean_something_else_at_another_time(
    vector: dict[str, Any],
) -> None:
    later = NOW + 10 * YEAR if vector["events"] else NOW + MAX_AHEAD_SECONDS
    earlier = NOW - MAX_AHEAD_SECONDS
    assert any(decoded([vector], now) != said([vector], now) for now in (later, earlier))


def test_document_is_of_the_protocol_s_version_and_has_many_vectors() -> None:
    assert set(DOCUMENT) == {"version", "now", "max_age_seconds", "vectors"}
    assert DOCUMENT["version"] == VERSION
    assert len(VECTORS) >= LEAST


def test_names_and_messages_are_unique() -> None:
    for key in ("name", "message"):
        values = [vector[key] for vector in VECTORS]
        assert len(set(values)) == len(values), key


@each_vector
def test_vector_has_every_key_and_no_other(vector: dict[str, Any]) -> None:
    assert list(vector) == list(TYPES)
    for key, value in vector.items():
        assert isinstance(value, TYPES[key]), key
    assert vector["about"]
    assert vector["message"] == message(vector).hex()


@each_vector
def test_expected_fields_and_reasons_of_vectors_are_the_protocol_s(vector: dict[str, Any]) -> None:
    fields = {
        kind: {KEPT_AS.get(field.name, field.name) for field in KINDS[kind]} for kind in KINDS
    }
    for event in vector["events"]:
        assert set(event) - {"kind"} <= fields[event["kind"]]
        assert None not in event.values(), "what an event does not have is left out"
    size = len(vector["events"]) + len(vector["rejects"])
    indices = [reject["index"] for reject in vector["rejects"]]
    assert indices == sorted(set(indices))
    assert all(0 <= index < size for index in indices)
    names = set.union(set(), *({f.name for f in KINDS[kind]} for kind in KINDS))
    for reject in vector["rejects"]:
        assert set(reject) == {"index", "reason", "field"}
        assert reject["reason"] in set(Reason)
        assert reject["field"] in {"", *names, *ENVELOPE_KEYS}
    if vector["source"] is None:
        assert (vector["seq"], vector["received"]) == (None, 0)


def test_vectors_have_every_field_under_both_names() -> None:
    kept = {(e["kind"], name) for v in VECTORS for e in v["events"] for name in e}
    assert kept >= {(k, KEPT_AS.get(f.name, f.name)) for k in KINDS for f in KINDS[k]}
    data = b"".join(map(message, VECTORS))
    for fields in KINDS.values():
        for field in fields:
            for name in (field.name, camel_case(field.name)):
                assert msgpack.packb(name) in data, name


def test_vectors_have_each_required_field_missing_and_each_reason_but_oversize() -> None:
    rejects = [(r["reason"], r["field"]) for v in VECTORS for r in v["rejects"]]
    assert {reason for reason, _ in rejects} == set(Reason) - {Reason.OVERSIZE}
    required = {field.name for fields in KINDS.values() for field in fields if field.required}
    assert required <= {field for reason, field in rejects if reason == Reason.MISSING_FIELD}


def test_vectors_have_every_form_of_a_column_for_its_fields() -> None:
    found = set(column_forms())
    assert {form for _, form in found} >= {"list", "one value"}
    floats = {(f, w) for f in ("duration_ms", "response_time_ms", "cpu_percent") for w in (4, 8)}
    integers = {(f, w) for f in ("remaining", "limit") for w in (4, 8)}
    counts = {("active_connections", 4), ("memory_bytes", 8), ("open_files", 4)}
    fixed = {("status_code", 2), ("timestamp", 8)}
    binary = floats | integers | counts | fixed
    assert found >= {(field, f"{width} bytes") for field, width in binary}
    assert {form for _, form in found} >= {f"index of {width} bytes" for width in (1, 2, 4)}


@pytest.mark.parametrize("tag", TAGS, ids=TAGS.values())
def test_vectors_have_every_messagepack_form_in_a_good_message(tag: int) -> None:
    assert tag in {tag for v in VECTORS if not v["rejects"] for tag in tags(message(v))}

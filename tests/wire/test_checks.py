import msgpack
import pytest
from sample_events import FIELDS, GOOD, MICROSECONDS, NOW, decode, fault_of, faults, only, rows

from aegisd.events.protocol import KINDS, FieldType, camel_case

FULL = {
    "request": {
        "method": "POST",
        "path": "/a?b",
        "status_code": 503,
        "duration_ms": 1.5,
        "timestamp": NOW - 1,
        "route": "/{x}",
        "backend": "b1",
        "client_ip": "::1",
        "error_message": "no",
    },
    "rate_limit": {
        "key": "k",
        "allowed": False,
        "timestamp": NOW - 1,
        "remaining": -1,
        "limit": 10,
    },
    "backend": {
        "backend_name": "b1",
        "status": "unhealthy",
        "timestamp": NOW - 1,
        "response_time_ms": 1.5,
        "circuit_breaker": "half_open",
    },
    "system": {
        "active_connections": 3,
        "timestamp": NOW - 1,
        "cpu_percent": 12.5,
        "memory_bytes": 2**40,
        "open_files": 9,
        "source": "gw-1",
    },
}
CONVERTED = {"timestamp": (NOW - 1) * MICROSECONDS, "duration_ms": 1500, "response_time_ms": 1500}
REQUIRED = [(kind, f.name) for kind, fields in KINDS.items() for f in fields if f.required]
OPTIONAL = [(kind, f.name) for kind, fields in KINDS.items() for f in fields if not f.required]

WRONG = {
    FieldType.TEXT: [1, 1.5, True, [], {}, b"bytes", msgpack.Timestamp(1)],
    FieldType.CHOICE: [1, True, [], b"healthy"],
    FieldType.STATUS: [True, 200.0, "200", [], b""],
    FieldType.COUNT: [False, 1.0, "1", {}],
    FieldType.INTEGER: [True, 1.0, "1", []],
    FieldType.DURATION: [True, "1", [], msgpack.Timestamp(1)],
    FieldType.PERCENT: [False, "1", {}],
    FieldType.TIMESTAMP: [True, "2026-01-01", [], msgpack.ExtType(5, b"x")],
    FieldType.BOOLEAN: [0, 1, 1.0, "true", []],
}
RANGE = {
    FieldType.CHOICE: ["", "Healthy", "closed ", "\udcff"],
    FieldType.STATUS: [-1, 1000, 2**63, 2**64 - 1, -(2**63)],
    FieldType.COUNT: [-1, 2**63, 2**64 - 1, -(2**63)],
    FieldType.INTEGER: [2**63, 2**64 - 1, -(2**63)],
    FieldType.DURATION: [-1, -0.001, 31 * 86_400_000 + 1, 2**64 - 1, 1e308, -5e-324],
    FieldType.PERCENT: [-0.5, 1_000_001, 1e308],
    FieldType.TIMESTAMP: [0, -1, -1e300, 1e300, 2**64 - 1, -(2**63)],
}
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
NUMBERS = (FieldType.DURATION, FieldType.PERCENT, FieldType.TIMESTAMP)


def cases(table: dict[FieldType, list[object]]) -> list[tuple[str, str, object]]:
    return [
        (kind, field.name, value)
        for kind, fields in KINDS.items()
        for field in fields
        for value in table.get(field.type, [])
        if field.name != "source"  # an event alone says with it who sent it
    ]


def packed(event: dict[str, object]) -> bytes:
    return msgpack.packb(event, unicode_errors="surrogateescape")


@pytest.mark.parametrize("kind", KINDS)
def test_tests_have_a_good_value_for_every_field(kind: str) -> None:
    names = {field.name for field in KINDS[kind]}
    assert set(FIELDS[kind]) == names
    assert set(FULL[kind]) == names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", [str, camel_case])
def test_every_field_is_read_under_both_of_its_names(kind: str, style: type[str]) -> None:
    sent = {style(name): value for name, value in FULL[kind].items()}
    expected = {"kind": kind} | FULL[kind]
    expected |= {name: value for name, value in CONVERTED.items() if name in expected}
    assert only(sent, kind=kind) == expected
    assert only(sent | {"kind": kind}) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_optional_fields_may_be_left_out_and_the_time_is_then_now(kind: str) -> None:
    row = only(GOOD[kind])
    assert row.pop("timestamp") == NOW * MICROSECONDS
    absent = [name for k, name in OPTIONAL if k == kind and name != "timestamp"]
    assert [row[name] for name in absent] == [None] * len(absent)


@pytest.mark.parametrize(("kind", "name"), OPTIONAL)
def test_nil_is_the_same_as_left_out(kind: str, name: str) -> None:
    assert only(GOOD[kind] | {name: None}) == only(GOOD[kind])
    assert only(GOOD[kind] | {camel_case(name): None}) == only(GOOD[kind])


def test_nil_beside_a_value_leaves_the_value_alone() -> None:
    for name, value in FULL["request"].items():
        others = [{name: value}, {name: None}] if (("request", name) in OPTIONAL) else []
        if others:
            both = rows(decode([GOOD["request"] | other for other in others]).blocks)
            assert [row[name] for row in both] == [
                only(GOOD["request"] | {name: value})[name],
                only(GOOD["request"])[name],
            ]


@pytest.mark.parametrize(("kind", "name"), REQUIRED)
def test_required_field_that_is_missing_or_nil_is_named(kind: str, name: str) -> None:
    without = {key: value for key, value in GOOD[kind].items() if key != name}
    assert fault_of(without) == ("missing_field", name)
    assert fault_of(GOOD[kind] | {name: None}) == ("missing_field", name)
    both = decode([GOOD[kind], GOOD[kind] | {name: None}, GOOD[kind]])
    assert faults(both) == [(1, "missing_field", name)]


def test_first_required_field_that_is_missing_is_named() -> None:
    assert fault_of({}) == ("missing_field", "method")
    assert fault_of({"method": None, "path": "/"}) == ("missing_field", "method")
    assert fault_of({"method": "GET", "path": None}) == ("missing_field", "path")
    assert fault_of({"method": "GET", "path": "/", "duration_ms": 1}) == (
        "missing_field",
        "status_code",
    )


@pytest.mark.parametrize(("kind", "name", "value"), cases(WRONG))
def test_wrong_type_rejects_that_event_alone(kind: str, name: str, value: object) -> None:
    bad = GOOD[kind] | {name: value}
    decoded = decode([GOOD[kind], bad, GOOD[kind]])
    assert faults(decoded) == [(1, "bad_type", name)]
    assert rows(decoded.blocks) == [only(GOOD[kind])] * 2
    assert fault_of(bad) == ("bad_type", name)


@pytest.mark.parametrize(("kind", "name", "value"), cases(RANGE))
def test_value_out_of_range_rejects_that_event_alone(kind: str, name: str, value: object) -> None:
    bad, good = packed(GOOD[kind] | {name: value}), packed(GOOD[kind])
    decoded = decode(b"\x93" + good + bad + good)
    assert faults(decoded) == [(1, "out_of_range", name)]
    assert rows(decoded.blocks) == [only(GOOD[kind])] * 2


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize(
    ("kind", "name"), [(k, f.name) for k, fs in KINDS.items() for f in fs if f.type in NUMBERS]
)
def test_nan_and_infinities_are_out_of_range(kind: str, name: str, value: float) -> None:
    assert fault_of(GOOD[kind] | {name: value}) == ("out_of_range", name)
    mixed = decode([GOOD[kind] | {name: v} for v in (value, None, True)])
    assert faults(mixed) == [(0, "out_of_range", name), (2, "bad_type", name)]


@pytest.mark.parametrize("value", [b"\xca\x7f\x80\x00\x01", b"\xcb\x7f\xf0" + bytes(5) + b"\x01"])
@pytest.mark.parametrize("name", ["timestamp", "duration_ms"])
def test_signalling_nan_is_out_of_range_without_a_warning(name: str, value: bytes) -> None:
    event = b"\x84" + packed(GOOD["request"])[1:] + packed(name) + value
    assert fault_of(event) == ("out_of_range", name)
    column = {"duration_ms": value[:0:-1], "method": "GET", "path": "/", "status_code": 200}
    assert only({"n": 1, "columns": column})["duration_ms"] is None


@pytest.mark.parametrize("status", [0, 101, 200, 999])
def test_statuses_from_0_to_999_are_accepted(status: int) -> None:
    assert only(GOOD["request"] | {"status_code": status})["status_code"] == status


@pytest.mark.parametrize("value", [1 - 2**63, -1, 0, 2**63 - 1])
def test_integers_of_64_bits_are_exact(value: int) -> None:
    assert only(GOOD["rate_limit"] | {"remaining": value})["remaining"] == value


def test_unknown_keys_of_any_type_are_ignored() -> None:
    extra = {"x": 1, 5: 2, None: 3, b"path": 4, True: 5, 1.5: 6, "Path": 7, "status-code": []}
    assert only(GOOD["request"] | extra) == only(GOOD["request"])


def test_last_of_name_and_alias_counts() -> None:
    start = {"method": "GET", "path": "/"}
    assert only(start | {"status_code": 200, "statusCode": 500})["status_code"] == 500
    assert only(start | {"statusCode": 500, "status_code": 200})["status_code"] == 200


def test_last_of_a_repeated_key_counts() -> None:
    twice = b"\x84" + b"".join(map(msgpack.packb, ["path", "/a", "status_code", 200]))
    twice += b"".join(map(msgpack.packb, ["path", "/b", "method", "GET"]))
    assert only(twice)["path"] == "/b"


def test_events_with_unknown_keys_are_of_the_same_group() -> None:
    decoder_input = [GOOD["request"] | {f"x-{i}": i, i: None} for i in range(3000)]
    decoded = decode(decoder_input)
    assert len(decoded.blocks) == len(decoded.parts) <= 3
    assert rows(decoded.blocks) == [only(GOOD["request"])] * 3000

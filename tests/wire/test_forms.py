"""The forms of a column, one by one."""

import math
from typing import Any

import msgpack
import numpy as np
import pytest
from sample_events import GOOD, MICROSECONDS, NOW, accepted, decode, faults, only, rows
from tables import binary, coded, column, message

from aegisd.events.protocol import KINDS, FieldType

NAN, INF = math.nan, math.inf

# field, binary type, numbers, and what the block must hold
PACKED: list[tuple[str, str, str, list[float], list[Any]]] = [
    ("request", "status_code", "<u2", [0, 200, 999], [0, 200, 999]),
    ("request", "duration_ms", "<f4", [0, 1.5, NAN], [0, 1500, None]),
    ("request", "duration_ms", "<f8", [0.0004, 1.5, NAN], [0, 1500, None]),
    ("request", "duration_ms", "<f4", [1.1, 0.3, 16777216], [1100, 300, 16777216000]),
    ("backend", "response_time_ms", "<f4", [0, 2.25, NAN], [0, 2250, None]),
    ("backend", "response_time_ms", "<f8", [NAN, 2.25, NAN], [None, 2250, None]),
    ("system", "cpu_percent", "<f4", [0, 12.5, NAN], [0, 12.5, None]),
    ("system", "cpu_percent", "<f8", [1e6, 0.1, NAN], [1e6, 0.1, None]),
    ("system", "active_connections", "<i4", [0, 7, 2**31 - 1], [0, 7, 2**31 - 1]),
    ("system", "memory_bytes", "<i8", [0, 7, 2**63 - 1], [0, 7, 2**63 - 1]),
    ("system", "open_files", "<i4", [3, 2, 1], [3, 2, 1]),
    ("rate_limit", "remaining", "<i8", [1 - 2**63, -1, 5], [1 - 2**63, -1, 5]),
    ("rate_limit", "limit", "<i4", [-(2**31), -1, 5], [-(2**31), -1, 5]),
    ("request", "timestamp", "<f8", [NOW, NOW - 0.5, NOW + 1], [0, -500_000, 1_000_000]),
    ("request", "timestamp", "<f8", [NOW, NOW * 1e3 - 2, NOW], [0, -2000, 0]),
    ("request", "timestamp", "<f8", [NOW * 1e3] * 3, [0, 0, 0]),
]

OUTSIDE: list[tuple[str, str, str, list[float]]] = [
    ("request", "status_code", "<u2", [1000, 65535]),
    ("request", "duration_ms", "<f4", [-1, INF, -INF, 3e9, -1e-45]),
    ("request", "duration_ms", "<f8", [-1, INF, -INF, 1e308, -5e-324]),
    ("system", "cpu_percent", "<f8", [-0.5, INF, -INF, 1e308, 1_000_001]),
    ("request", "timestamp", "<f8", [NAN, INF, -INF, 1e308, -1e308, 0, -1, NOW + 301]),
    ("request", "timestamp", "<f8", [-1e308]),
    ("system", "active_connections", "<i4", [-1, -(2**31)]),
    ("system", "memory_bytes", "<i8", [-1, -(2**63)]),
    ("rate_limit", "remaining", "<i8", [-(2**63)]),
]

WIDTHS = {
    FieldType.STATUS: {2},
    FieldType.DURATION: {4, 8},
    FieldType.PERCENT: {4, 8},
    FieldType.TIMESTAMP: {8},
    FieldType.INTEGER: {4, 8},
    FieldType.COUNT: {4, 8},
}
FIELD_LIST = [(kind, field) for kind, fields in KINDS.items() for field in fields]
NUMERIC = [(kind, field) for kind, field in FIELD_LIST if field.type in WIDTHS]
OTHERS = [(kind, field) for kind, field in FIELD_LIST if field.type not in WIDTHS]


@pytest.mark.parametrize(
    "paths", [["/a", "/b", "/a"], coded(["/b", "/a"], [1, 0, 1]), coded(["/a", "/b"], [0, 1, 0])]
)
def test_text_column_may_be_a_list_or_a_dictionary(paths: object) -> None:
    assert column("path", message(3, path=paths)) == ["/a", "/b", "/a"]


@pytest.mark.parametrize(("kind", "field"), FIELD_LIST, ids=lambda v: getattr(v, "name", v))
def test_one_value_stands_for_all_rows(kind: str, field: Any) -> None:
    good = {"allowed": False, "status": "unhealthy", "circuit_breaker": "open", "timestamp": NOW}
    value = good.get(field.name, "x" if field.type is FieldType.TEXT else 3)
    event = GOOD[kind] | {field.name: value}
    held = rows(decode(message(3, kind, **{field.name: value})).blocks)
    assert held == rows(decode({"kind": kind, "events": [event]}).blocks) * 3


@pytest.mark.parametrize(("kind", "name", "dtype", "sent", "expected"), PACKED)
def test_number_column_may_be_binary(
    kind: str, name: str, dtype: str, sent: list[float], expected: list[Any]
) -> None:
    shift = NOW * MICROSECONDS if name == "timestamp" else 0
    held = column(name, message(len(sent), kind, **{name: binary(sent, dtype)}))
    assert held == [v if v is None else v + shift for v in expected]


@pytest.mark.parametrize(("kind", "name", "dtype", "sent"), OUTSIDE)
def test_binary_numbers_out_of_range_reject_their_rows(
    kind: str, name: str, dtype: str, sent: list[float]
) -> None:
    good = NOW if name == "timestamp" else 5
    numbers = [good]
    for value in sent:
        numbers += [value, good]
    decoded = decode(message(len(numbers), kind, **{name: binary(numbers, dtype)}))
    bad = range(1, len(numbers), 2)
    assert faults(decoded) == [(row, "out_of_range", name) for row in bad]
    assert rows(decoded.blocks) == [rows(decode(message(1, kind, **{name: good})).blocks)[0]] * (
        len(sent) + 1
    )


def test_nan_is_absent_also_beside_values_out_of_range() -> None:
    decoded = decode(message(4, duration_ms=binary([NAN, -1, 2, NAN], "<f4")))
    assert faults(decoded) == [(1, "out_of_range", "duration_ms")]
    assert [row["duration_ms"] for row in rows(decoded.blocks)] == [None, 2000, None]


@pytest.mark.parametrize("width", [0, 1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize(("kind", "field"), NUMERIC, ids=lambda v: getattr(v, "name", v))
def test_binary_numbers_have_the_widths_that_their_field_has(
    kind: str, field: Any, width: int
) -> None:
    decoded = decode(message(3, kind, **{field.name: bytes(3 * width)}))
    wrong = [(row, "malformed", field.name) for row in range(3)]
    found = [fault for fault in faults(decoded) if fault[1] != "out_of_range"]  # 1970
    assert found == ([] if width in WIDTHS[field.type] else wrong)


@pytest.mark.parametrize("length", [1, 5, 7, 23, 25])
def test_binary_numbers_that_are_no_whole_number_a_row_reject_the_message(length: int) -> None:
    decoded = decode(message(3, duration_ms=bytes(length)))
    assert faults(decoded) == [(row, "malformed", "duration_ms") for row in range(3)]


@pytest.mark.parametrize(("kind", "field"), OTHERS, ids=lambda v: getattr(v, "name", v))
def test_binary_text_or_boolean_column_is_a_bad_type(kind: str, field: Any) -> None:
    decoded = decode(message(2, kind, **{field.name: b"ab"}))
    assert faults(decoded) == [(0, "bad_type", field.name), (1, "bad_type", field.name)]


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4"])
def test_index_has_one_of_three_widths(dtype: str) -> None:
    held = column("path", message(3, path=coded(["/a", "/b"], [1, 0, 1], dtype)))
    assert held == ["/b", "/a", "/b"]


@pytest.mark.parametrize("index", [b"", b"\0\0", b"\0" * 4, b"\0" * 9, b"\0" * 24])
def test_index_of_another_length_rejects_the_message(index: bytes) -> None:
    decoded = decode(message(3, path={"values": ["/"], "index": index}))
    assert faults(decoded) == [(row, "malformed", "path") for row in range(3)]


@pytest.mark.parametrize(
    ("dtype", "top"), [("<u1", 2**8 - 1), ("<u2", 2**16 - 1), ("<u4", 2**32 - 1), ("<u4", 2**31)]
)
@pytest.mark.parametrize("values", [["/a", "/b"], ["/a"]])
def test_index_past_the_values_rejects_that_row(dtype: str, top: int, values: list[str]) -> None:
    index = [0, top, 0, len(values)]
    decoded = decode(message(4, path=coded(values, index, dtype)))
    assert faults(decoded) == [(1, "out_of_range", "path"), (3, "out_of_range", "path")]
    assert [row["path"] for row in rows(decoded.blocks)] == ["/a", "/a"]


@pytest.mark.parametrize(("kind", "field"), FIELD_LIST, ids=lambda v: getattr(v, "name", v))
def test_index_into_no_values_rejects_every_row(kind: str, field: Any) -> None:
    decoded = decode(message(2, kind, **{field.name: coded([], [0, 0])}))
    assert faults(decoded) == [(row, "out_of_range", field.name) for row in range(2)]


def test_dictionary_values_without_a_row_are_not_checked() -> None:
    values = [{}, [], b"", 5, None, True, msgpack.Timestamp(1), "\0" * 5000, "/ok"]
    decoded = decode(message(2, path=coded(values, [8, 8])))
    assert (faults(decoded), decoded.altered) == ([], 0)
    numbers = [{}, "x", None, -1, 1000, 2**64 - 1, NAN, 204]
    assert column("status_code", message(2, status_code=coded(numbers, [7, 7]))) == [204, 204]


def test_dictionary_with_more_values_than_rows_keeps_only_those_of_rows() -> None:
    paths = [f"/{i}" for i in range(1000)]
    sent = message(4, path=coded(paths, [999, 7, 2000, 7], "<u2"))
    decoded = decode(sent)
    assert faults(decoded) == [(2, "out_of_range", "path")]
    assert [row["path"] for row in rows(decoded.blocks)] == ["/999", "/7", "/7"]
    assert len(decoded.blocks[0].texts["path"].values) <= 4


def test_bad_value_of_a_dictionary_rejects_the_rows_that_point_to_it() -> None:
    status = coded([200, "x", 1000, None, 2**64 - 1, [], {}], [0, 1, 2, 3, 4, 5, 6, 0])
    assert faults(decode(message(8, status_code=status))) == [
        (1, "bad_type", "status_code"),
        (2, "out_of_range", "status_code"),
        (3, "missing_field", "status_code"),
        (4, "out_of_range", "status_code"),
        (5, "bad_type", "status_code"),
        (6, "bad_type", "status_code"),
    ]


def test_dictionaries_hold_values_of_every_type() -> None:
    times = coded([NOW - 2, msgpack.Timestamp(NOW - 1), None], [0, 1, 2])
    micros = [(NOW - back) * MICROSECONDS for back in (2, 1, 0)]
    assert column("timestamp", message(3, timestamp=times)) == micros
    allowed = coded([True, False], [1, 0, 1])
    assert column("allowed", message(3, "rate_limit", allowed=allowed)) == [False, True, False]
    status = coded(["healthy", "dead", "unhealthy"], [2, 1, 0])
    decoded = decode(message(3, "backend", status=status))
    assert faults(decoded) == [(1, "out_of_range", "status")]
    assert [row["status"] for row in rows(decoded.blocks)] == ["unhealthy", "healthy"]


def test_one_is_not_true_and_true_is_not_a_one_in_a_dictionary() -> None:
    decoded = decode(message(3, "rate_limit", allowed=coded([1, True, 1.0], [0, 1, 2])))
    assert faults(decoded) == [(0, "bad_type", "allowed"), (2, "bad_type", "allowed")]
    together = decode(
        message(1, "rate_limit", allowed=coded([1], [0])),
        message(1, "rate_limit", allowed=coded([True], [0])),
        message(1, "rate_limit", allowed=1),
        message(1, "rate_limit", allowed=True),
    )
    assert faults(together) == [(0, "bad_type", "allowed"), (2, "bad_type", "allowed")]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"values": ["/"]},
        {"index": b"\0\0"},
        {"values": None, "index": b"\0\0"},
        {"values": ["/"], "index": [0, 0]},
        {"values": ["/"], "index": "\0\0"},
        {"values": {"0": "/"}, "index": b"\0\0"},
        {"values": "//", "index": b"\0\0"},
    ],
)
def test_map_that_is_no_dictionary_of_values_is_of_a_bad_type(value: object) -> None:
    decoded = decode(message(2, path=value))
    assert faults(decoded) == [(0, "bad_type", "path"), (1, "bad_type", "path")]


@pytest.mark.parametrize("length", [0, 1, 3, 50])
def test_list_of_another_length_rejects_the_message(length: int) -> None:
    decoded = decode(GOOD["request"], message(2, path=["/"] * length), GOOD["request"])
    assert faults(decoded) == [(1, "malformed", "path"), (2, "malformed", "path")]
    assert accepted(decoded) == 2


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("path", 5, "bad_type"),
        ("status_code", 1000, "out_of_range"),
        ("status_code", True, "bad_type"),
        ("duration_ms", "1", "bad_type"),
        ("duration_ms", NAN, "out_of_range"),
        ("timestamp", 0, "out_of_range"),
    ],
)
def test_bad_value_for_all_rows_rejects_every_row(name: str, value: object, reason: str) -> None:
    decoded = decode(message(3, **{name: value}))
    assert faults(decoded) == [(row, reason, name) for row in range(3)]


def test_texts_are_cut_and_counted_for_each_row_that_has_them() -> None:
    long = coded(["/" * 3000, "/a\0", "/ok", "/" * 3000], [0, 0, 1, 2])
    decoded = decode(message(4, path=long, method="M" * 17))
    assert decoded.altered == 3 + 4
    assert [row["path"] for row in rows(decoded.blocks)] == [
        "/" * 2048,
        "/" * 2048,
        "/a\ufffd",
        "/ok",
    ]


def test_rows_of_rejected_events_are_not_counted_as_altered() -> None:
    decoded = decode(message(2, path=coded(["/\0", "/"], [0, 1]), status_code=[1000, 200]))
    assert (accepted(decoded), decoded.altered) == (1, 0)


def test_reject_names_the_first_fault_of_a_row_missing_fields_first() -> None:
    decoded = decode(
        message(
            5,
            method=[1, None, "GET", "GET", 2],
            path=coded(["/", None, 7], [1, 1, 9, 0, 0]),
            status_code=binary([1000, 1000, 1000, 1000, 1000], "<u2"),
        )
    )
    assert faults(decoded) == [
        (0, "missing_field", "path"),
        (1, "missing_field", "method"),
        (2, "out_of_range", "path"),
        (3, "out_of_range", "status_code"),
        (4, "bad_type", "method"),
    ]


def test_columns_become_the_same_arrays_as_events() -> None:
    for kind in KINDS:
        (listed,) = decode([GOOD[kind]] * 3).blocks
        (block,) = decode(message(3, kind)).blocks
        assert {name: array.dtype for name, array in block.numbers.items()} == {
            name: array.dtype for name, array in listed.numbers.items()
        }
        assert {name: text.index.dtype for name, text in block.texts.items()} == {
            name: np.dtype(np.int32) for name in listed.texts
        }
        columns = {field.column for field in KINDS[kind]}
        assert columns == set(block.numbers) | set(block.texts)


def test_columns_message_with_many_bytes_like_headers_is_read() -> None:
    held = column("duration_ms", message(10_000, duration_ms=b"\xdc\xdd\x5d\x3f" * 10_000))
    assert held == [only(GOOD["request"] | {"duration_ms": 0.8666513})["duration_ms"]] * 10_000


def test_values_nested_deeply_are_of_a_bad_type_however_many_messages_have_them() -> None:
    deep: Any = "/"
    for _ in range(450):
        deep = [deep]
    for path in (coded([deep], [0]), [deep]):
        decoded = decode(message(1, path=path), message(1, path=path))
        assert faults(decoded) == [(0, "bad_type", "path"), (1, "bad_type", "path")]


@pytest.mark.parametrize("bits", [b"\x01\x00\x80\x7f", b"\x01" + bytes(5) + b"\xf0\x7f"])
def test_signalling_nan_is_a_nan(bits: bytes) -> None:
    assert column("duration_ms", message(2, duration_ms=bits * 2)) == [None, None]

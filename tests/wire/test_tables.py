"""What a ``columns`` message says beside its columns, and what becomes of its rows."""

from typing import Any

import numpy as np
import pytest
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
from tables import binary, coded, column, message

from aegisd.events.protocol import MAX_ROWS
from aegisd.wire.careful.envelopes import FREE_ROWS

OURS = {"source": "gw-1", "seq": 7}


def sent(n: Any, **context: Any) -> dict[str, Any]:
    """A message with ``n`` as it is given, from a source that numbers its events."""
    return message(1, path="/") | {"n": n} | OURS | context


@pytest.mark.parametrize(
    ("n", "reason"),
    [
        (None, "missing_field"),
        (True, "bad_type"),
        (2.0, "bad_type"),
        ("2", "bad_type"),
        ([], "bad_type"),
        (-1, "out_of_range"),
        (-(2**63), "out_of_range"),
        (MAX_ROWS + 1, "out_of_range"),
        (10**9, "out_of_range"),
        (2**64 - 1, "out_of_range"),
    ],
)
def test_message_with_a_bad_n_is_one_reject(n: object, reason: str) -> None:
    decoded = decode(GOOD["request"], sent(n), GOOD["request"])
    assert faults(decoded) == [(1, reason, "n")]
    assert (accepted(decoded), flows(decoded)) == (2, [("gw-1", 7, 1)])


def test_message_without_n_is_one_reject() -> None:
    without = sent(1)
    del without["n"]
    assert faults(decode(without)) == [(0, "missing_field", "n")]


def test_more_than_1024_rows_must_take_a_byte_each() -> None:
    assert accepted(decode(message(FREE_ROWS))) == FREE_ROWS
    assert faults(decode(message(FREE_ROWS + 1))) == [(0, "out_of_range", "n")]
    status = binary([200] * MAX_ROWS, "<u2")
    assert accepted(decode(message(MAX_ROWS, status_code=status))) == MAX_ROWS
    smallest = {"values": [200], "index": bytes(MAX_ROWS)}
    assert accepted(decode(message(MAX_ROWS, status_code=smallest))) == MAX_ROWS
    more = binary([200] * (MAX_ROWS + 1), "<u2")
    assert faults(decode(message(MAX_ROWS + 1, status_code=more))) == [(0, "out_of_range", "n")]


@pytest.mark.parametrize("columns", [{}, {"path": []}, {"path": coded([], [])}, {"path": "/"}])
def test_message_without_rows_has_no_events(columns: dict[str, Any]) -> None:
    decoded = decode({"n": 0, "columns": columns} | OURS, GOOD["request"])
    assert (faults(decoded), accepted(decoded)) == ([], 1)
    assert decoded.starts.tolist() == [0, 0, 1]
    assert flows(decoded) == [("gw-1", 7, 0)]


@pytest.mark.parametrize(
    "columns",
    [{"path": ["/"]}, {"status_code": b"\0\0"}, {"path": {"values": [], "index": b"\0"}}],
)
def test_columns_of_a_message_without_rows_are_empty(columns: dict[str, Any]) -> None:
    (name,) = columns
    decoded = decode({"n": 0, "columns": columns}, GOOD["request"])
    assert (faults(decoded), accepted(decoded)) == ([(0, "malformed", name)], 1)


@pytest.mark.parametrize("columns", [[], "x", 5, True, b"", [1, 2]])
def test_columns_that_are_no_map_are_malformed(columns: object) -> None:
    decoded = decode(sent(3, columns=columns))
    assert faults(decoded) == [(row, "malformed", "columns") for row in range(3)]
    assert flows(decoded) == [("gw-1", 7, 3)]


@pytest.mark.parametrize("events", [[], [GOOD["request"]] * 3, 5])
def test_events_and_columns_in_one_message_are_malformed(events: object) -> None:
    decoded = decode(sent(3, events=events))
    assert (faults(decoded), flows(decoded)) == ([(0, "malformed", "columns")], [])


@pytest.mark.parametrize(
    ("context", "reason", "field"),
    [
        ({"v": 2}, "out_of_range", "v"),
        ({"v": "1"}, "bad_type", "v"),
        ({"kind": 3}, "bad_type", "kind"),
        ({"kind": "spam"}, "unknown_kind", "kind"),
        ({"source": 5}, "bad_type", "source"),
        ({"source": None}, "missing_field", "source"),
        ({"seq": -1}, "bad_seq", "seq"),
    ],
)
def test_fault_of_the_envelope_rejects_each_row(
    context: dict[str, object], reason: str, field: str
) -> None:
    decoded = decode(GOOD["request"], sent(3, **context), GOOD["request"])
    assert faults(decoded) == [(row, reason, field) for row in (1, 2, 3)]
    assert accepted(decoded) == 2


def test_rows_of_a_rejected_message_count_as_sent() -> None:
    for rejected in (sent(3, v=2), sent(3, kind="spam"), sent(3, columns={"path": ["/"]})):
        decoded = decode(rejected)
        assert (flows(decoded), len(faults(decoded))) == ([("gw-1", 7, 3)], 3)


def test_rows_count_as_the_events_of_their_source() -> None:
    decoded = decode(message(5) | OURS, message(2) | {"source": "gw-2"}, message(1))
    assert flows(decoded) == [("gw-1", 7, 5), ("gw-2", None, 2)]
    assert decoded.starts.tolist() == [0, 5, 7, 8]


@pytest.mark.parametrize("kind", GOOD)
def test_kind_stands_in_the_envelope_or_among_the_columns(kind: str) -> None:
    expected = [only(GOOD[kind])] * 2
    assert rows(decode(message(2, kind)).blocks) == expected
    within = message(2, kind, kind=kind)
    assert rows(decode(within | {"kind": "spam"}).blocks) == expected
    assert rows(decode(within | {"kind": None}).blocks) == expected
    assert rows(decode(message(2, kind, kind=None)).blocks) == expected


def test_without_a_kind_rows_are_requests() -> None:
    assert rows(decode(message(2) | {"kind": None}).blocks) == [only(GOOD["request"])] * 2


@pytest.mark.parametrize("kind", [["request", "request"], coded(["request"], [0, 0]), 5, b"ab"])
def test_all_rows_are_of_one_kind(kind: object) -> None:
    decoded = decode(message(2, kind=kind))
    assert faults(decoded) == [(0, "bad_type", "kind"), (1, "bad_type", "kind")]


def test_unknown_kind_among_the_columns_rejects_each_row() -> None:
    decoded = decode(message(2, kind="spam"))
    assert faults(decoded) == [(0, "unknown_kind", "kind"), (1, "unknown_kind", "kind")]


def test_columns_are_read_under_both_of_their_names_and_the_last_counts() -> None:
    codes = [201, 202]
    both = {"method": "GET", "path": "/", "status_code": [5, 6], "statusCode": codes}
    for columns in (both, dict(reversed({"statusCode": codes, "status_code": "x"}.items())) | both):
        assert column("status_code", {"n": 2, "columns": columns}) == codes
    turned = {"method": "GET", "path": "/", "statusCode": "not looked at", "status_code": codes}
    assert column("status_code", {"n": 2, "columns": turned}) == codes
    hidden = {"durationMs": [1, 2], "duration_ms": None}
    assert column("duration_ms", message(2, **hidden)) == [None, None]


def test_unknown_columns_are_ignored_whatever_they_are() -> None:
    unknown = {"x": b"abc", "Path": ["/"], 5: {}, None: [], b"path": 1, "seq": -1, "n": 3}
    sent_ = message(2)
    sent_["columns"] |= unknown
    decoded = decode(sent_)
    assert (accepted(decoded), faults(decoded)) == (2, [])


@pytest.mark.parametrize("kind", GOOD)
def test_required_column_that_is_missing_rejects_each_row(kind: str) -> None:
    for name in (name for name in GOOD[kind] if name != "kind"):
        for given in (message(2, kind, **{name: None}), message(2, kind, **{name: [None, None]})):
            expected = [(row, "missing_field", name) for row in range(2)]
            assert faults(decode(given)) == expected


def test_first_missing_column_is_named_but_an_earlier_nil_before_it() -> None:
    decoded = decode({"n": 2, "columns": {"method": ["GET", None], "duration_ms": [1, "x"]}})
    assert faults(decoded) == [(0, "missing_field", "path"), (1, "missing_field", "method")]


def test_rejects_stand_at_their_rows_positions() -> None:
    bad = message(3, status_code=[200, 1000, 200])
    decoded = decode([GOOD["request"]] * 2, bad, 5, GOOD["system"], bad)
    assert faults(decoded) == [
        (3, "out_of_range", "status_code"),
        (5, "malformed", ""),
        (8, "out_of_range", "status_code"),
    ]
    assert decoded.starts.tolist() == [0, 2, 5, 6, 7, 10]
    places = [
        zip(r.message_numbers.tolist(), r.indexes.tolist(), strict=True) for r in decoded.rejects
    ]
    assert sorted(place for pairs in places for place in pairs) == [(1, 1), (2, 0), (4, 1)]


def test_reports_stay_in_the_order_of_arrival() -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    decoded = decode(
        GOOD["backend"] | {"backend_name": "a"},
        message(2, "backend", backend_name=["b", "c"]),
        GOOD["backend"] | {"backend_name": "d"},
        message(1, "backend", backend_name="e"),
        message(1, "backend", backend_name=coded(["f"], [0])),
    )
    assert [row["backend_name"] for row in rows(decoded.blocks)] == names


def test_system_rows_have_their_own_source_else_the_envelope_s() -> None:
    decoded = decode(
        message(3, "system", source=["own", None, "own"]) | {"source": "one"},
        message(2, "system") | {"source": "two"},
        message(1, "system"),
        {"source": "three", "seq": 0},
        GOOD["system"],
    )
    names = [row["source"] for row in rows(decoded.blocks)]
    assert names == ["own", "one", "own", "two", "two", None, None]


def test_texts_that_messages_share_are_kept_once() -> None:
    first = message(3, path=coded(["/a", "/b", "/unused"], [0, 1, 0]))
    second = message(3, path=coded(["/b", "/c"], [0, 1, 1]))
    (block,) = decode(first, second, first).blocks
    assert block.texts["path"].rows() == ["/a", "/b", "/a", "/b", "/c", "/c", "/a", "/b", "/a"]
    assert sorted(block.texts["path"].values) == ["/a", "/b", "/c", "/unused"]
    assert block.texts["method"].values == ["GET"]


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4"])
def test_index_points_into_the_values_of_its_own_message(dtype: str) -> None:
    decoded = decode(
        message(3, path=coded(["/a", "/b", "/c"], [2, 1, 0], dtype)),
        message(3, path=coded(["/d"], [0, 1, 2], dtype)),
        message(2, path=coded(["/e", "/a"], [1, 2], dtype)),
    )
    assert faults(decoded) == [(row, "out_of_range", "path") for row in (4, 5, 7)]
    assert [row["path"] for row in rows(decoded.blocks)] == ["/c", "/b", "/a", "/d", "/a"]
    assert decoded.blocks[0].texts["path"].index.dtype == np.int32


def test_small_messages_that_declare_many_rows_are_rejected_without_memory() -> None:
    tiny = pack(message(MAX_ROWS))
    (reject,) = decoded_by(keep_all_decoder(0), [tiny] * 1000, 0).rejects
    assert (reject.reason, reject.field, len(reject.indexes)) == ("out_of_range", "n", 1000)


def test_rows_rejected_for_one_column_are_one_reject() -> None:
    bad = message(60_000, status_code=binary([1000] * 60_000, "<u2"))
    (reject,) = decode(bad).rejects
    assert np.array_equal(reject.indexes, np.arange(60_000))

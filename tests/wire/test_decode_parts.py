"""The parts of a burst: all of it comes, and none of them is more than a moment's work."""

from typing import Any

import pytest
from sample_events import (
    GOOD,
    MAX_AGE,
    MICROSECONDS,
    NOW,
    DecodedBurst,
    decoded_by,
    faults,
    flows,
    keep_all_decoder,
    pack,
    rows,
)

from aegisd.config.settings import Privacy
from aegisd.events.block import Block, Text, concatenate
from aegisd.events.protocol import MAX_DURATION_MS, MAX_ROWS
from aegisd.live.state import LiveState
from aegisd.store.rollups.rollup import fine_rollups
from aegisd.store.write.writer import MAX_BATCH_EVENTS
from aegisd.wire.careful.envelopes import MAX_EVENTS as MAX_CAREFUL_EVENTS
from aegisd.wire.careful.tables import MAX_READ_ROWS
from aegisd.wire.decode import MAX_PART_BYTES, MAX_PART_EVENTS, Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

REQUEST = GOOD["request"]
NIL, EMPTY_MAP = b"\xc0", b"\x80"


def parts_of(*messages: Any) -> DecodedBurst:
    return decoded_by(keep_all_decoder(), [pack(message) for message in messages])


def list_of(item: bytes, count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + item * count


def sizes(burst: DecodedBurst) -> list[int]:
    return [sum(block.size for block in part.blocks) for part in burst.parts]


def test_small_burst_is_one_part() -> None:
    assert len(parts_of(*GOOD.values(), list(GOOD.values()), b"\xc1").parts) == 1


def test_list_of_many_requests_comes_in_parts_in_order() -> None:
    count = 3 * MAX_PART_EVENTS + 5
    burst = parts_of([REQUEST | {"path": f"/{i}"} for i in range(count)])
    assert sizes(burst) == [MAX_PART_EVENTS] * 3 + [5]
    assert [row["path"] for row in rows(burst.blocks)] == [f"/{i}" for i in range(count)]
    assert burst.starts.tolist() == [0, count]


def test_events_of_many_messages_are_counted_for_each_across_parts() -> None:
    lists = [[REQUEST] * size for size in (MAX_PART_EVENTS - 1, 5, 0, 2 * MAX_PART_EVENTS, 1)]
    burst = parts_of(*lists, REQUEST)
    assert [end - start for start, end in zip(burst.starts, burst.starts[1:], strict=False)] == [
        *map(len, lists),
        1,
    ]


def test_parts_of_large_requests_end_at_the_bound_in_bytes() -> None:
    burst = parts_of([REQUEST | {"path": f"/{i:04}" + "x" * 2000} for i in range(500)])
    most = max(sum(len(text) for text in p.blocks[0].texts["path"].values) for p in burst.parts)
    assert most <= 1.1 * MAX_PART_BYTES
    assert sum(sizes(burst)) == 500


def test_message_of_many_parts_has_one_flow() -> None:
    count = 2 * MAX_PART_EVENTS + 1
    assert flows(parts_of({"source": "s", "seq": 7, "events": [REQUEST] * count})) == [
        ("s", 7, count)
    ]
    odd = [REQUEST, {"kind": "x"}] * MAX_PART_EVENTS
    assert flows(parts_of({"source": "s", "seq": 7, "events": odd})) == [("s", 7, len(odd))]


def test_events_read_the_careful_way_come_in_smaller_parts_with_their_indexes() -> None:
    count = 5 * MAX_CAREFUL_EVENTS
    burst = parts_of([REQUEST if i % 2 else {"kind": "?"} for i in range(count)])
    assert len(burst.parts) >= 5
    assert max(sizes(burst)) <= MAX_CAREFUL_EVENTS
    assert faults(burst) == [(i, "unknown_kind", "kind") for i in range(0, count, 2)]


def test_small_messages_of_many_rows_make_no_large_block() -> None:
    tiny = {"n": 1024, "columns": REQUEST}
    burst = parts_of(*[tiny] * 200)
    assert sum(sizes(burst)) == 200 * 1024
    assert max(block.size for block in burst.blocks) <= MAX_READ_ROWS <= MAX_ROWS
    assert max(sizes(burst)) <= 2 * MAX_READ_ROWS


@pytest.mark.parametrize("kind", ["request", "backend", "system"])
def test_columns_of_the_most_rows_come_in_several_blocks_in_order(kind: str) -> None:
    name = {"request": "path", "backend": "backend_name", "system": "source"}[kind]
    given = GOOD[kind] | {name: [f"{i % 3000:x}" for i in range(MAX_ROWS)]}
    burst = parts_of({"n": MAX_ROWS, "kind": kind, "columns": given})
    assert sum(sizes(burst)) == MAX_ROWS
    assert max(block.size for block in burst.blocks) <= MAX_READ_ROWS
    whole = Text.concatenate([block.texts[name] for block in burst.blocks])
    assert whole.rows() == given[name]


def test_blocks_with_many_texts_are_smaller() -> None:
    paths = [f"/{i}" for i in range(MAX_ROWS)]
    burst = parts_of({"n": MAX_ROWS, "columns": REQUEST | {"path": paths}})
    assert all(len(block.texts["path"].values) <= MAX_PART_EVENTS for block in burst.blocks)
    assert [path for block in burst.blocks for path in block.texts["path"].rows()] == paths


@pytest.mark.parametrize("item", [NIL, EMPTY_MAP])
def test_list_of_a_million_bad_events_comes_in_many_parts(item: bytes) -> None:
    burst = parts_of(list_of(item, 1_000_000))
    assert len(burst.parts) >= 1_000_000 // MAX_CAREFUL_EVENTS
    assert sum(len(reject.indexes) for reject in burst.rejects) == 1_000_000
    assert sizes(burst) == [0] * len(burst.parts)


def test_value_nested_a_million_times_is_skipped_in_many_parts() -> None:
    deep = b"\x91" * 999_999 + b"\x90"
    burst = parts_of(b"\x92" + deep + pack(REQUEST))
    assert len(burst.parts) > 100
    assert faults(burst) == [(0, "malformed", "")]
    assert len(rows(burst.blocks)) == 1


def test_value_of_an_unknown_key_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    from aegisd.wire.careful import opening  # noqa: PLC0415

    unpack = opening.unpack
    monkeypatch.setattr(opening, "unpack", lambda data: built.append(len(data)) or unpack(data))
    event = b"\x84" + pack({"method": "GET", "status_code": 200})[1:]
    event += pack("timestamp") + pack(NOW) + pack("x") + list_of(EMPTY_MAP, 200_000)
    assert faults(parts_of(event)) == [(0, "missing_field", "path")]
    assert max(built) < 100


def test_sums_of_the_longest_durations_of_a_message_do_not_overflow() -> None:
    longest = MAX_DURATION_MS
    burst = parts_of({"n": MAX_ROWS, "columns": REQUEST | {"duration_ms": [longest] * MAX_ROWS}})
    live = LiveState(10, NOW, 0)
    for block in burst.blocks:
        live.apply(EndpointNamer(templates=True).name(block))
    expected = MAX_ROWS * longest * 1000
    assert live.window("1m").counters["duration_sum_us"] == expected
    assert live.overview().totals["duration_sum_us"] == expected
    durations = fine_rollups(concatenate(burst.blocks)).durations
    assert durations is not None
    assert durations.total.tolist() == [expected]


def test_batch_of_the_longest_durations_fits_64_bits() -> None:
    assert (MAX_BATCH_EVENTS + MAX_ROWS) * MAX_DURATION_MS * 1000 < 2**63


class Forbidden(EndpointNamer):
    """Names nothing: it must not be asked."""

    def name(self, block: Block) -> Block:
        pytest.fail(f"{block.size} events of kind {block.kind} were named")


@pytest.mark.parametrize("message", [REQUEST, {"n": 2, "columns": REQUEST}])
def test_events_of_a_kind_that_is_off_are_checked_and_not_named(message: Any) -> None:
    decoder = Decoder(MAX_AGE, Privacy(), Forbidden(templates=True), frozenset())
    bad = REQUEST | {"status_code": -1}
    parts = list(decoder.decode([pack(message), pack(bad)], NOW * MICROSECONDS))
    assert [block for part in parts for block in part.blocks] == []
    assert sum(part.disabled for part in parts) == message.get("n", 1)
    assert [(r.reason.value, r.field) for part in parts for r in part.rejects] == [
        ("out_of_range", "status_code")
    ]

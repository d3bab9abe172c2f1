"""What a batch comes to, against the same added up event by event; and to the database and back."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sketches import sketch_of
from store.cluster import bounded
from store.databases import DAY, NODE, NOON, block, database, write

from aegisd.events.block import ABSENT, Block
from aegisd.events.counters import OTHER
from aegisd.events.units import SECOND_US
from aegisd.stats import sketch
from aegisd.store.rollups.pieces import piece_rows
from aegisd.store.rollups.rollup import MAX_NAMES, Pieces, Rollups, roll_up
from aegisd.store.schema.levels import floor

Event = dict[str, Any]
Key = tuple[Any, ...]

COUNTERS = {
    "requests": lambda s: True,
    "status_2xx": lambda s: s // 100 == 2,
    "status_3xx": lambda s: s // 100 == 3,
    "status_4xx": lambda s: s // 100 == 4,
    "status_5xx": lambda s: s // 100 == 5,
    "status_other": lambda s: s // 100 not in (2, 3, 4, 5),
    "failed": lambda s: not 1 <= s <= 399,
    "rate_limited": lambda s: s == 429,
}

moments = st.one_of(
    st.integers(NOON - 90 * SECOND_US, NOON + 90 * SECOND_US),
    st.sampled_from(
        [NOON - 1, NOON, NOON + 10 * SECOND_US - 1, NOON + 60 * SECOND_US, 0, NOON - DAY]
    ),
)
requests = st.fixed_dictionaries(
    {
        "timestamp": moments,
        "method": st.sampled_from(["GET", "POST", OTHER]),
        "endpoint": st.sampled_from(["/", "/é", OTHER, ""]),
        "status_code": st.sampled_from([0, 1, 101, 200, 304, 399, 400, 429, 500, 599, 600, 999]),
        "duration_us": st.sampled_from([ABSENT, ABSENT, 0, 1, sketch.MAX_VALUE])
        | st.integers(0, 10**7),
    }
)
decisions = st.fixed_dictionaries(
    {"timestamp": moments, "key": st.sampled_from(["", "k", OTHER]), "allowed": st.booleans()}
)


def figures(events: list[Event]) -> Key:
    """What a rollup of these events holds."""
    requests_ = [event for event in events if "status_code" in event]
    checked = [event["allowed"] for event in events if "allowed" in event]
    micros = [e["duration_us"] for e in requests_ if e["duration_us"] != ABSENT]
    return (
        *(sum(holds(e["status_code"]) for e in requests_) for holds in COUNTERS.values()),
        len(checked),
        checked.count(False),
        len(micros),
        sum(micros),
        min(micros, default=None),
        max(micros, default=None),
        tuple(np.flatnonzero(sketch_of(np.array(micros, np.int64)))),
    )


def model(events: list[Event], seconds: int, *names: str) -> dict[Key, Key]:
    groups = defaultdict(list)
    for event in events:
        groups[floor(event["timestamp"], seconds), *(event[name] for name in names)].append(event)
    return {key: figures(group) for key, group in groups.items()}


def found(rollups: Rollups) -> Iterator[tuple[Key, Key]]:
    texts = [text.rows() for text in rollups.names.values()]
    durations = rollups.durations
    for i, start in enumerate(rollups.starts.tolist()):
        counters = [
            int(rollups.counters[name][i]) if name in rollups.counters else 0
            for name in (*COUNTERS, "checked", "denied")
        ]
        timed: Key = (0, 0, None, None, ())
        if durations is not None:
            least, greatest = int(durations.least[i]), int(durations.greatest[i])
            own = durations.rows == i
            assert durations.counts[own].sum() == durations.timed[i]
            timed = (
                int(durations.timed[i]),
                int(durations.total[i]),
                *((None, None) if least > greatest else (least, greatest)),
                tuple(durations.bins[own]),
            )
        yield (start, *(text[i] for text in texts)), (*counters, *timed)


def blocks(requests_: list[Event], decisions_: list[Event]) -> list[Block]:
    made = (("request", requests_), ("rate_limit", decisions_))
    return [block(kind, events) for kind, events in made if events]


@settings(deadline=None, max_examples=200)
@given(st.lists(requests, max_size=40), st.lists(decisions, max_size=20))
@example([], [])
def test_rollups_equal_the_sums_of_their_events(
    requests_: list[Event], decisions_: list[Event]
) -> None:
    pieces = roll_up(blocks(requests_, decisions_))
    assert dict(found(pieces.requests)) == model(requests_ + decisions_, 10)
    assert dict(found(pieces.endpoints)) == model(requests_, 60, "method", "endpoint")
    assert dict(found(pieces.keys)) == model(decisions_, 60, "key")
    for rollups in (pieces.requests, pieces.endpoints, pieces.keys):
        assert rollups.starts.tolist() == sorted(rollups.starts.tolist())


@pytest.mark.parametrize("distinct", [MAX_NAMES - 1, MAX_NAMES, MAX_NAMES + 1, 1000])
def test_of_a_minute_the_busiest_endpoints_keep_their_names(distinct: int) -> None:
    """Endpoint i has i // 100 + 1 requests in the first minute, so that many tie."""
    events = [
        {
            "timestamp": NOON + minute * 60 * SECOND_US,
            "method": "GET",
            "endpoint": OTHER if i == distinct - 1 else f"/{i}",  # one is really called so
            "status_code": 200,
            "duration_us": 1000 * i,
        }
        for minute in (0, 1)
        for i in range(distinct if minute == 0 else 3)
        for _ in range(i // 100 + 1)
    ]
    assert_bounded(
        dict(found(roll_up(blocks(events, [])).endpoints)),
        model(events, 60, "method", "endpoint"),
        distinct,
        lambda row: row[0],
    )


@pytest.mark.parametrize("distinct", [MAX_NAMES, MAX_NAMES + 1, 1000])
def test_of_a_minute_the_keys_with_most_denials_keep_their_names(distinct: int) -> None:
    """Where denials tie, those with most decisions do."""
    events = [
        {"timestamp": NOON + minute * 60 * SECOND_US, "key": f"k{i}", "allowed": n < i % 3}
        for minute in (0, 1)
        for i in range(distinct if minute == 0 else 3)
        for n in range(i % 5 + 1)
    ]
    assert_bounded(
        dict(found(roll_up(blocks([], events)).keys)),
        model(events, 60, "key"),
        distinct,
        lambda row: (row[9], row[8]),
    )


def assert_bounded(rolled: dict[Key, Key], exact: dict[Key, Key], distinct: int, rank: Any) -> None:
    other = {key for key in rolled if set(key[1:]) == {OTHER}}
    kept = {key for key in rolled if key[0] == NOON} - other
    assert len(kept) == min(distinct, MAX_NAMES)
    assert len(other) == (distinct > MAX_NAMES)
    assert all(rolled[key] == exact[key] for key in rolled.keys() - other)
    left_out = exact.keys() - rolled.keys()
    assert all(key[0] == NOON for key in left_out)
    assert len(left_out) == distinct - len(kept)
    if left_out:
        assert min(rank(rolled[key]) for key in kept) >= max(rank(exact[key]) for key in left_out)
    for i in range(12):  # counters and the sum of durations
        assert sum(row[i] for row in rolled.values()) == sum(row[i] for row in exact.values())


# to the database


@bounded
async def test_pieces_are_stored_with_their_figures(dsn: str) -> None:
    chance = np.random.default_rng(7460)
    requests_ = [
        {
            "timestamp": int(NOON + chance.integers(0, 300 * SECOND_US)),
            "method": str(chance.choice(["GET", "P" * 16])),
            "endpoint": str(chance.choice(["/", "/é" * 300, OTHER, ""])),
            "status_code": int(chance.choice([0, 200, 429, 503])),
            "duration_us": int(chance.choice([ABSENT, 0, sketch.MAX_VALUE, 5, 10**6])),
        }
        for _ in range(6000)
    ]
    decisions_ = [
        {"timestamp": int(NOON - chance.integers(0, DAY)), "key": f"k{i % 7}", "allowed": i % 2 > 0}
        for i in range(6000)
    ]
    whole = blocks(requests_, decisions_)
    async with database(dsn) as postgres:
        await write(postgres, *whole)
        pieces = roll_up(whole)
        for table, rollups in tables(pieces).items():
            texts = "".join(f"{name}, " for name in rollups.names)
            counters = "".join(f"{name}, " for name in rollups.counters)
            timed = "timed, duration_sum_us::bigint, duration_min_us, duration_max_us, sketch"
            rows = await postgres.fetch(
                f"SELECT bucket, node, claimed, {texts}{counters}"
                f" {timed + ', sketch_format' if rollups.durations else 1} FROM {table}"
            )
            assert len(rows) == rollups.size
            assert {row[1:3] for row in rows} == {(NODE, False)}
            expected = dict(found(rollups))
            names = len(rollups.names)
            for row in rows:
                figures_ = expected[row[0], *row[3 : 3 + names]]
                own = row[3 + names : 3 + names + len(rollups.counters)]
                assert own == tuple(
                    value
                    for name, value in zip((*COUNTERS, "checked", "denied"), figures_, strict=False)
                    if name in rollups.counters
                )
                if rollups.durations is not None:
                    *numbers, numeric, format_ = row[-6:]
                    assert (tuple(numbers), format_) == (figures_[10:14], sketch.FORMAT)
                    (counts,) = sketch.decode_each([numeric])
                    assert tuple(np.flatnonzero(counts)) == figures_[14]
                    assert counts.sum() == numbers[0]


def tables(pieces: Pieces) -> dict[str, Rollups]:
    return {
        "request_pieces": pieces.requests,
        "endpoint_pieces": pieces.endpoints,
        "rate_limit_pieces": pieces.keys,
    }


def test_kinds_without_events_make_no_rows() -> None:
    assert piece_rows(roll_up([]), NODE) == []
    assert piece_rows(roll_up([block("system", [{}])]), NODE) == []
    rows = piece_rows(roll_up([block("rate_limit", [{}])]), NODE)
    assert [each.table for each in rows] == ["request_pieces", "rate_limit_pieces"]

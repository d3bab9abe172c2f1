"""Counting by groups, against looking at each event by itself."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import MICROSECONDS, NOW

from aegisd.stats.grouping import Groups, latest_of_each

WIDTH = 5
START = NOW * MICROSECONDS - 7

Event = tuple[int, int, bool]  # microseconds since 1970, value, marked

# of one second, of a few, and farther apart than there are events
spans = st.sampled_from([1, MICROSECONDS, 2 * MICROSECONDS, 30 * MICROSECONDS, 3600 * MICROSECONDS])
events = spans.flatmap(
    lambda span: st.lists(
        st.tuples(st.integers(START, START + span), st.integers(0, WIDTH - 1), st.booleans()),
        min_size=1,
        max_size=60,
    )
)


def counted(groups: Groups, values: list[int]) -> Counter[tuple[int, int]]:
    """How often each group has each value."""
    counts = groups.count(np.array(values, np.intp), WIDTH)
    assert counts.shape == (len(groups.codes), WIDTH)
    rows = zip(groups.codes.tolist(), counts.tolist(), strict=True)
    return Counter({(s, value): n for s, row in rows for value, n in enumerate(row) if n})


@given(events)
def test_events_are_counted_and_summed_in_their_own_seconds(held: list[Event]) -> None:
    times, values, _ = zip(*held, strict=True)
    seconds = Groups.by_time(np.array(times), MICROSECONDS)
    assert (np.diff(seconds.codes) > 0).all()
    own = [time // MICROSECONDS for time in times]
    assert counted(seconds, list(values)) == Counter(zip(own, values, strict=True))
    sums = Counter[int]()
    for second, value in zip(own, values, strict=True):
        sums[second] += value
    found = zip(seconds.codes.tolist(), seconds.sum(np.array(values)).tolist(), strict=True)
    assert {second: n for second, n in found if n} == {s: n for s, n in sums.items() if n}


@given(events)
def test_groups_by_code_have_an_event_each(held: list[Event]) -> None:
    times, values, _ = zip(*held, strict=True)
    own = [time // MICROSECONDS for time in times]
    seconds = Groups.by_code(np.array(own))
    assert seconds.codes.tolist() == sorted(set(own))
    assert seconds.sizes().tolist() == [own.count(second) for second in sorted(set(own))]
    assert counted(seconds, list(values)) == Counter(zip(own, values, strict=True))


@given(events)
def test_groups_within_more_codes_keep_their_events(held: list[Event]) -> None:
    times, values, _ = zip(*held, strict=True)
    own = [time // MICROSECONDS for time in times]
    codes = np.unique([*own, own[0] - 1, own[-1] + 1, own[-1] + 40])
    wider = Groups.by_code(np.array(own)).within(codes)
    assert wider.codes.tolist() == codes.tolist()
    assert counted(wider, list(values)) == Counter(zip(own, values, strict=True))


@given(events)
def test_marked_events_keep_their_groups(held: list[Event]) -> None:
    times, _, marked = zip(*held, strict=True)
    whole = Groups.by_time(np.array(times), MICROSECONDS)
    kept = [(time // MICROSECONDS, value) for time, value, mark in held if mark]
    part = whole.where(np.array(marked))
    assert part.codes.tolist() == whole.codes.tolist()
    assert counted(part, [value for _, value in kept]) == Counter(kept)
    assert whole.where(None) is whole
    assert whole.count(np.array(marked), 2).sum(axis=0).tolist() == [
        marked.count(False),
        marked.count(True),
    ]


@pytest.mark.parametrize("apart", [0, 1, 2])
def test_sums_are_exact_where_floats_would_not_be(apart: int) -> None:
    times = np.array([START, START + apart * MICROSECONDS, START])
    sums = Groups.by_time(times, MICROSECONDS).sum(np.array([2**53, 1, 1]))
    assert sums.sum() == 2**53 + 2


@pytest.mark.parametrize("by", ["time", "code"])
def test_events_far_apart_take_no_memory_for_the_seconds_between(by: str) -> None:
    seconds = np.array([0, 40 * 365 * 86_400, 1])
    if by == "time":
        groups = Groups.by_time(seconds * MICROSECONDS, MICROSECONDS)
    else:
        groups = Groups.by_code(seconds)
    assert groups.codes.tolist() == [0, 1, 40 * 365 * 86_400]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=20))
def test_latest_of_each_name_is_by_time_and_then_by_row(held: list[tuple[int, int]]) -> None:
    latest: dict[int, tuple[int, int]] = {}  # name -> time and row
    for row, (name, time) in enumerate(held):
        known = latest.pop(name, (-1, -1))  # the dict is in the order of the last rows
        latest[name] = max(known, (time, row))
    names, times = np.array(held, np.int64).reshape(-1, 2).T
    assert latest_of_each(names, times).tolist() == [row for _, row in latest.values()]

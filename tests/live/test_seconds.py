"""Counting by seconds, against looking at each event by itself."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import MICROSECONDS, NOW

from aegisd.live.seconds import Seconds

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
steps = st.sampled_from([0, 3600, -3600, 86_400])


def counted(seconds: Seconds, values: list[int]) -> Counter[tuple[int, int]]:
    """How often each second has each value."""
    counts = seconds.count(np.array(values, np.intp), WIDTH)
    assert counts.shape == (len(seconds.distinct), WIDTH)
    rows = zip(seconds.distinct.tolist(), counts.tolist(), strict=True)
    return Counter({(s, value): n for s, row in rows for value, n in enumerate(row) if n})


@given(events, steps)
def test_events_are_counted_and_summed_in_their_own_seconds(held: list[Event], ahead: int) -> None:
    times, values, _ = zip(*held, strict=True)
    seconds = Seconds.of(np.array(times), ahead)
    assert (np.diff(seconds.distinct) > 0).all()
    own = [time // MICROSECONDS - ahead for time in times]
    assert counted(seconds, list(values)) == Counter(zip(own, values, strict=True))
    sums = Counter[int]()
    for second, value in zip(own, values, strict=True):
        sums[second] += value
    found = zip(seconds.distinct.tolist(), seconds.sum(np.array(values)).tolist(), strict=True)
    assert {second: n for second, n in found if n} == {s: n for s, n in sums.items() if n}


@given(events)
def test_marked_events_keep_their_seconds(held: list[Event]) -> None:
    times, _, marked = zip(*held, strict=True)
    whole = Seconds.of(np.array(times), 0)
    kept = [(time // MICROSECONDS, value) for time, value, mark in held if mark]
    part = whole.where(np.array(marked))
    assert part.distinct.tolist() == whole.distinct.tolist()
    assert counted(part, [value for _, value in kept]) == Counter(kept)
    assert whole.where(None) is whole
    assert whole.count(np.array(marked), 2).sum(axis=0).tolist() == [
        marked.count(False),
        marked.count(True),
    ]


@pytest.mark.parametrize("apart", [0, 1, 2])
def test_sums_are_exact_where_floats_would_not_be(apart: int) -> None:
    times = np.array([START, START + apart * MICROSECONDS, START])
    sums = Seconds.of(times, 0).sum(np.array([2**53, 1, 1]))
    assert sums.sum() == 2**53 + 2


def test_events_far_apart_take_no_memory_for_the_seconds_between() -> None:
    times = np.array([0, 40 * 365 * 86_400, 1]) * MICROSECONDS
    assert Seconds.of(times, 0).distinct.tolist() == [0, 1, 40 * 365 * 86_400]

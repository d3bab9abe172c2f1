"""Ranges and their buckets."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.store.ranges import LEVELS, MAX_BUCKETS, NAMED, SECOND, Range, between, named

NOW = 1_700_000_000 * SECOND + 123_456
moments = st.integers(0, 4_000_000_000 * SECOND)
lengths = st.one_of(
    st.integers(1, 40_000_000 * SECOND),
    st.sampled_from([level * (MAX_BUCKETS - 1) * SECOND for level in LEVELS]).flatmap(
        lambda edge: st.integers(edge - 2, edge + 2)
    ),
    st.integers(1, 4_000_000_000 * SECOND),
)


@settings(deadline=None)
@given(moments, lengths)
def test_a_free_range_has_at_most_150_buckets_that_cover_it(start: int, length: int) -> None:
    range_ = between(start, start + length)
    starts = range_.bucket_starts()
    step = range_.bucket * SECOND
    assert (range_.start, range_.end) == (start, start + length)
    assert 1 <= len(starts) <= MAX_BUCKETS
    assert starts[0] <= start < starts[0] + step
    assert starts[-1] < range_.end <= starts[-1] + step
    assert all(b - a == step for a, b in pairwise(starts))
    assert all(moment % step == 0 for moment in starts)


@settings(deadline=None)
@given(moments, lengths)
def test_a_free_range_gets_no_coarser_buckets_than_it_must(start: int, length: int) -> None:
    bucket = between(start, start + length).bucket
    finer = [level for level in LEVELS if level < bucket]
    assert all(length > level * (MAX_BUCKETS - 1) * SECOND for level in finer[-1:])


@settings(deadline=None)
@given(moments, lengths)
def test_the_parts_of_its_buckets_make_up_the_range(start: int, length: int) -> None:
    range_ = between(start, start + length)
    parts = [range_.seconds_in(moment) for moment in range_.bucket_starts()]
    assert all(0 < part <= range_.bucket for part in parts)
    assert sum(parts) == pytest.approx(range_.seconds)


@pytest.mark.parametrize(
    ("name", "seconds", "bucket"),
    [
        ("5m", 300, 10),
        ("15m", 900, 10),
        ("1h", 3600, 60),
        ("6h", 6 * 3600, 300),
        ("24h", 86_400, 900),
        ("7d", 7 * 86_400, 7200),
        ("30d", 30 * 86_400, 21_600),
    ],
)
def test_named_ranges_are_those_promised(name: str, seconds: int, bucket: int) -> None:
    assert named(name, NOW) == Range(NOW - seconds * SECOND, NOW, bucket)
    assert len(named(name, NOW).bucket_starts()) <= MAX_BUCKETS + 1


def test_there_are_no_other_names() -> None:
    assert list(NAMED) == ["5m", "15m", "1h", "6h", "24h", "7d", "30d"]
    with pytest.raises(KeyError):
        named("2h", NOW)

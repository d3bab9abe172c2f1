"""Ranges and their buckets."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.config.settings import Days, Rollups
from aegisd.events.units import SECOND_US
from aegisd.store.history.cover import Progress, cover
from aegisd.store.history.ranges import (
    BUCKETS,
    MAX_BUCKETS,
    NAMED_RANGES,
    Range,
    finest,
    named_range,
    range_between,
)
from aegisd.store.schema.levels import DAY, FINE, HOUR, MINUTE, floor
from aegisd.store.upkeep.policy import kept_from, level_days

NOW = 1_700_000_000 * SECOND_US + 123_456
DEFAULT = Rollups()
ALL = dict.fromkeys((FINE, MINUTE, HOUR, DAY), 0)
"""As if every level were kept for good."""

moments = st.one_of(
    st.integers(0, NOW + 30 * DAY * SECOND_US),
    st.integers(0, 100 * DAY * SECOND_US).map(lambda ago: NOW - ago),
)
lengths = st.one_of(
    st.integers(1, 40_000_000 * SECOND_US),
    st.sampled_from([bucket * (MAX_BUCKETS - 2) * SECOND_US for bucket in BUCKETS]).flatmap(
        lambda edge: st.integers(edge - 2, edge + 2)
    ),
    st.integers(1, 4_000_000_000 * SECOND_US),
)
retentions = st.builds(
    Rollups,
    *(st.integers(1, most).map(Days) for most in (20, 20, 30)),
)


@settings(deadline=None)
@given(moments, lengths, retentions)
def test_a_free_range_has_at_most_150_buckets_that_cover_it(
    start: int, length: int, kept: Rollups
) -> None:
    range_ = range_between(start, start + length, NOW, kept_from(kept, NOW))
    starts = range_.bucket_starts()
    step = range_.bucket * SECOND_US
    assert range_.start <= start < start + length <= range_.end
    assert 1 <= len(starts) <= MAX_BUCKETS
    assert starts[0] <= range_.start < starts[0] + step
    assert starts[-1] < range_.end <= starts[-1] + step
    assert all(b - a == step for a, b in pairwise(starts))
    assert all(moment % step == 0 for moment in starts)


@settings(deadline=None)
@given(moments, lengths, retentions)
def test_a_free_range_is_widened_to_whole_rollups_of_what_is_kept_there(
    start: int, length: int, retention: Rollups
) -> None:
    kept, end = kept_from(retention, NOW), start + length
    range_ = range_between(start, end, NOW, kept)
    at_start, at_end = finest(start, kept), finest(end, kept)
    assert range_.start == start - start % (at_start * SECOND_US)
    assert range_.bucket >= at_start
    whole = -(-end // (at_end * SECOND_US)) * at_end * SECOND_US
    assert range_.end == (end if end >= NOW else min(whole, NOW))


@settings(deadline=None)
@given(moments, lengths)
def test_a_free_range_gets_no_coarser_buckets_than_it_must(start: int, length: int) -> None:
    bucket = range_between(start, start + length, NOW, ALL).bucket
    finer = [level for level in BUCKETS if level < bucket]
    assert all(length > level * (MAX_BUCKETS - 2) * SECOND_US for level in finer[-1:])


@settings(deadline=None)
@given(moments, lengths, retentions)
def test_seconds_in_its_buckets_add_up_to_the_range(start: int, length: int, kept: Rollups) -> None:
    range_ = range_between(start, start + length, NOW, kept_from(kept, NOW))
    parts = [range_.seconds_in(moment) for moment in range_.bucket_starts()]
    assert all(0 < part <= range_.bucket for part in parts)
    assert sum(parts) == pytest.approx(range_.seconds)


@settings(deadline=None, max_examples=400)
@given(
    st.integers(0, 40 * DAY), st.integers(1, 40 * DAY), retentions, st.integers(0, 9), st.booleans()
)
def test_range_reads_each_level_only_where_it_is_kept(
    ago: int, length: int, retention: Rollups, late: int, named_levels: bool
) -> None:
    """Also while hours and days are closed late, as long as they are before finer ones go."""
    kept = kept_from(retention, NOW)
    start = NOW - ago * SECOND_US
    range_ = range_between(start, start + length * SECOND_US, NOW, kept)
    hours_closed = max(floor(NOW - late * HOUR * SECOND_US, HOUR), kept[MINUTE])
    progress = Progress(hours_closed, max(floor(hours_closed, DAY), kept[HOUR]))
    levels = (MINUTE, HOUR, DAY) if named_levels else (FINE, MINUTE, HOUR, DAY)
    fitting = tuple(level for level in levels if level <= range_.bucket or named_levels)
    for segment in cover(range_.start, range_.end, fitting, progress):
        assert segment.start >= min(kept[segment.level], NOW), (segment, kept)


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
def test_named_range_has_the_length_and_bucket_of_the_contract(
    name: str, seconds: int, bucket: int
) -> None:
    kept = kept_from(DEFAULT, NOW)
    range_ = named_range(name, NOW, kept)
    start = NOW - seconds * SECOND_US
    level = finest(start, kept)
    assert range_ == Range(start - start % (level * SECOND_US), NOW, bucket)
    assert len(range_.bucket_starts()) <= MAX_BUCKETS + 1


def test_unknown_name_of_a_range_raises_key_error() -> None:
    assert list(NAMED_RANGES) == ["5m", "15m", "1h", "6h", "24h", "7d", "30d"]
    with pytest.raises(KeyError):
        named_range("2h", NOW, kept_from(DEFAULT, NOW))


@pytest.mark.parametrize(("ten", "minutes", "hours"), [(1, 1, 1), (2, 3, 9), (2, 30, 730)])
def test_kept_levels_begin_with_whole_days(ten: int, minutes: int, hours: int) -> None:
    kept = kept_from(Rollups(Days(ten), Days(minutes), Days(hours)), NOW)
    today = NOW - NOW % (DAY * SECOND_US)
    assert kept == {
        FINE: today - ten * DAY * SECOND_US,
        MINUTE: today - minutes * DAY * SECOND_US,
        HOUR: today - hours * DAY * SECOND_US,
        DAY: 0,
    }


def test_a_level_is_kept_at_least_as_long_as_finer_ones() -> None:
    """Else a range that begins with ten seconds would go on with minutes that are gone."""
    days = level_days(Rollups(Days(9), Days(3), Days(2)))
    assert days == {FINE: 9, MINUTE: 9, HOUR: 9}


@settings(deadline=None)
@given(moments, lengths)
def test_names_are_listed_by_whole_minutes_and_from_a_day_on_by_whole_hours(
    start: int, length: int
) -> None:
    range_ = range_between(start, start + length, NOW, ALL, names=True)
    level = HOUR if length > (DAY - 1) * SECOND_US else MINUTE  # a part of a second is a whole one
    assert range_.start == floor(start, level)
    assert range_.end % (level * SECOND_US) == 0 or range_.end >= NOW


@pytest.mark.parametrize("name", NAMED_RANGES)
def test_a_named_range_of_names_ends_now(name: str) -> None:
    range_ = named_range(name, NOW, ALL, names=True)
    level = HOUR if name in ("24h", "7d", "30d") else MINUTE
    assert (range_.start, range_.end) == (
        floor(NOW - NAMED_RANGES[name][0] * SECOND_US, level),
        NOW,
    )

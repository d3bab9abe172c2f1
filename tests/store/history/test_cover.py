"""The stretches that cover a range."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.events.units import SECOND_US
from aegisd.store.history.cover import Progress, Stretch, cover
from aegisd.store.schema.levels import DAY, FINE, HOUR, MINUTE, ROLLUP_KINDS, ceil, floor

LEVELS = (FINE, MINUTE, HOUR, DAY)
NOON = 20_000 * DAY * SECOND_US + 12 * HOUR * SECOND_US

levels = st.sampled_from(
    [LEVELS[i:j] for i in range(4) for j in range(i + 1, 5)]
    + [kind.levels for kind in ROLLUP_KINDS]
)
moments = st.one_of(
    st.integers(-3 * DAY * SECOND_US, 3 * DAY * SECOND_US),
    st.integers(-300, 300).map(lambda n: n * MINUTE * SECOND_US),
    st.integers(-60, 60).map(lambda n: n * HOUR * SECOND_US),
).map(lambda offset: NOON + offset)


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    hours = floor(draw(moments), HOUR)
    return Progress(hours, floor(hours - draw(st.integers(0, 2)) * DAY * SECOND_US, DAY))


def closed(level: int, progress: Progress) -> float:
    return {HOUR: progress.hours_closed, DAY: progress.days_closed}.get(level, float("inf"))


@settings(deadline=None, max_examples=500)
@given(moments, moments, levels, progresses())
def test_a_range_is_covered_once_by_whole_rollups(
    one: int, other: int, levels: tuple[int, ...], progress: Progress
) -> None:
    start, end = sorted((one, other))
    found = cover(start, end, levels, progress)
    finest = levels[0]
    if floor(start, finest) == ceil(end, finest):
        assert found == []
        return
    if len(levels) == 1 or finest in (FINE, MINUTE):  # other levels are there all the way
        assert found[0].start == floor(start, finest)
        assert found[-1].end == ceil(end, finest)
    assert all(before.end == after.start for before, after in pairwise(found))
    for stretch in found:
        assert stretch.start < stretch.end
        assert stretch.level in levels
        assert stretch.start % (stretch.level * SECOND_US) == 0
        assert stretch.end % (stretch.level * SECOND_US) == 0
        if stretch.level != finest:
            assert start <= stretch.start
            assert stretch.end <= min(end, closed(stretch.level, progress))


@settings(deadline=None, max_examples=300)
@given(moments, moments, levels, progresses())
def test_no_rollup_is_read_where_a_coarser_one_would_do(
    one: int, other: int, levels: tuple[int, ...], progress: Progress
) -> None:
    start, end = sorted((one, other))
    for stretch in cover(start, end, levels, progress):
        for coarser in (level for level in levels if level > stretch.level):
            first = ceil(max(stretch.start, start), coarser)
            last = min(stretch.end, end, closed(coarser, progress))
            assert first + coarser * SECOND_US > last, (stretch, coarser)


@settings(deadline=None)
@given(st.integers(-(10**18), 10**18), st.sampled_from(LEVELS))
def test_buckets_start_at_multiples_of_their_length(moment: int, level: int) -> None:
    step = level * SECOND_US
    assert floor(moment, level) % step == ceil(moment, level) % step == 0
    assert floor(moment, level) <= moment < floor(moment, level) + step
    assert ceil(moment, level) - step < moment <= ceil(moment, level)


def test_a_month_takes_few_rollups() -> None:
    progress = Progress(floor(NOON, HOUR), floor(NOON, DAY))
    found = cover(NOON - 30 * DAY * SECOND_US - 1, NOON + 34 * MINUTE * SECOND_US, LEVELS, progress)
    rollups = [(each.level, (each.end - each.start) // (each.level * SECOND_US)) for each in found]
    assert rollups == [(FINE, 1), (HOUR, 12), (DAY, 29), (HOUR, 12), (MINUTE, 34)]
    assert isinstance(found[0], Stretch)

"""A series is drawn as blocks, in at most the given columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.cli.top.sparkline import Point, sparkline


def points(*values: float | None, first: int = 0) -> list[Point]:
    return [Point((first + n) * 10, value) for n, value in enumerate(values)]


def test_blocks_go_from_zero_to_the_peak() -> None:
    assert sparkline(points(0, 1, 2, 3, 4, 5, 6, 7, 8), 20) == "▁▂▃▄▅▆▇██"
    assert sparkline(points(None, 5, None), 20) == " █ "
    assert sparkline(points(0, 0), 20) == "▁▁"
    assert sparkline([], 20) == ""


def test_column_of_several_points_shows_the_largest_and_stays_in_place() -> None:
    values = [1, 1, 8, 1, 1, 1, 1, 1, 4, 1]
    before = sparkline(points(*values), 6)
    after = sparkline(points(*values[1:], 1, first=1), 6)
    assert before == "▂█▂▂▅"
    assert after == "▂█▂▂▅▂"


@given(
    st.lists(st.tuples(st.integers(0, 2**53), st.none() | st.floats(-1e18, 1e18))),
    st.integers(-1, 100),
)
def test_sparkline_takes_at_most_its_columns(given_points, columns) -> None:
    series = [Point(*point) for point in given_points]
    assert len(sparkline(series, columns)) <= max(1, columns, 0)


@pytest.mark.parametrize("tiny", [2.2e-309, -2.2e-309])
def test_series_of_negative_or_denormal_values_is_drawn(tiny: float) -> None:
    assert len(sparkline([Point(0, -1.0), Point(1, tiny)], 2)) == 2

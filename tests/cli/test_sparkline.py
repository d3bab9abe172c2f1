"""A series is drawn as blocks, in at most the given columns."""

from hypothesis import given
from hypothesis import strategies as st

from aegisd.cli.top.sparkline import sparkline


def test_blocks_go_from_zero_to_the_peak() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8], 20) == "▁▂▃▄▅▆▇██"
    assert sparkline([None, 5, None], 20) == " █ "
    assert sparkline([0, 0], 20) == "▁▁"
    assert sparkline([], 20) == ""


def test_column_of_several_values_shows_the_largest() -> None:
    assert sparkline([1, 1, 8, 1, 1, 1, 1, 1, 4, 1], 5) == "▂█▂▂▅"
    assert sparkline([4, 1, 1, 8, 1], 3) == "▅▂█"


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)), st.integers(-1, 100))
def test_sparkline_of_any_values_takes_at_most_its_columns(values, columns) -> None:
    assert len(sparkline(values, columns)) <= max(1, columns)

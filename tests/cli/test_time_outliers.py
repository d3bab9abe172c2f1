"""Which times of a log are outliers."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.cli.sending.time_outliers import NEIGHBOURS, find_outliers

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 365 * 86_400
NOON = 1_790_000_000.0


def outliers(times: list[float]) -> list[float]:
    found = list(find_outliers((time, time) for time in times))
    assert [time for _, time in found] == times, "each item once, in order"
    return [time for outlier, time in found if outlier]


def steady(count: int, step: float = 1, start: float = NOON) -> list[float]:
    return [start + i * step for i in range(count)]


@pytest.mark.parametrize("ahead", [10 * MINUTE, DAY, YEAR, 73 * YEAR])
@pytest.mark.parametrize("place", [0, 1, 100, 197])
def test_time_ahead_of_lines_that_go_back_is_an_outlier(place: int, ahead: float) -> None:
    times = steady(200)
    times.insert(place, NOON + 200 + ahead)
    assert outliers(times) == [NOON + 200 + ahead]


def test_last_line_is_an_outlier_only_beyond_the_default_retention() -> None:
    assert outliers([*steady(20), NOON + YEAR]) == [NOON + YEAR]
    assert outliers([*steady(20), NOON + 20 * DAY]) == []


@pytest.mark.parametrize("place", [0, 1, 50, 95, 100])
def test_five_outliers_in_a_row_are_found(place: int) -> None:
    times = steady(100)
    times[place:place] = steady(5, start=NOON + YEAR)
    assert outliers(times) == steady(5, start=NOON + YEAR)


def test_outlier_of_the_future_is_found_beside_times_of_1970() -> None:
    times = steady(60)
    times.insert(30, NOON + YEAR)
    times[28:28] = [0.0] * 3
    assert outliers(times) == [NOON + YEAR]


def test_outlier_is_found_among_three_lines() -> None:
    assert outliers([NOON + YEAR, NOON, NOON + HOUR]) == [NOON + YEAR]
    assert outliers([NOON, NOON + YEAR, NOON + 2, NOON + YEAR, NOON + 3]) == [NOON + YEAR] * 2


@pytest.mark.parametrize(
    "times",
    [
        [],
        [NOON],
        [NOON, NOON + YEAR],
        [NOON, NOON + MINUTE, NOON + 2 * HOUR],
        steady(50, HOUR),
        steady(50, 20 * DAY),
        steady(50, HOUR)[::-1],
        steady(50) + steady(1, start=NOON + 2 * DAY),  # a quiet weekend
        steady(50) + steady(NEIGHBOURS + 1, start=NOON + YEAR),
        steady(50, HOUR, NOON + 2 * DAY) + steady(50, HOUR),  # two files, the newer one first
        steady(5000, 7, NOON + DAY) + steady(5000, 7),
    ],
)
def test_quiet_sparse_and_reversed_logs_have_no_outliers(times: list[float]) -> None:
    assert outliers(times) == []


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, YEAR), max_size=80).map(sorted))
def test_sorted_log_of_less_than_a_month_has_no_outliers(times: list[float]) -> None:
    assert outliers([NOON + time / 13 for time in times]) == []


def test_no_more_lines_are_read_ahead_than_neighbours() -> None:
    read = 0

    def endless() -> Iterator[tuple[float, None]]:
        nonlocal read
        while True:
            read += 1
            yield float(read), None

    lines = find_outliers(endless())
    for _ in range(1000):
        next(lines)
    assert read <= 1000 + NEIGHBOURS

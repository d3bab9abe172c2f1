"""Which times of a log are strays."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.cli.sending.strays import NEIGHBOURS, judged

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 365 * 86_400
NOON = 1_790_000_000.0


def strays(times: list[float]) -> list[float]:
    found = list(judged((time, time) for time in times))
    assert [time for _, time in found] == times, "each comes once, in order"
    return [time for stray, time in found if stray]


def steady(count: int, step: float = 1, start: float = NOON) -> list[float]:
    return [start + i * step for i in range(count)]


@pytest.mark.parametrize("ahead", [10 * MINUTE, DAY, YEAR, 73 * YEAR])
@pytest.mark.parametrize("place", [0, 1, 100, 197])
def test_one_time_ahead_of_lines_that_go_back_is_a_stray(place: int, ahead: float) -> None:
    times = steady(200)
    times.insert(place, NOON + 200 + ahead)
    assert strays(times) == [NOON + 200 + ahead]


def test_the_last_line_is_a_stray_where_the_log_could_not_be_kept_with_it() -> None:
    assert strays([*steady(20), NOON + YEAR]) == [NOON + YEAR]
    assert strays([*steady(20), NOON + 20 * DAY]) == []


@pytest.mark.parametrize("place", [0, 1, 50, 95, 100])
def test_some_strays_in_a_row_are_strays(place: int) -> None:
    times = steady(100)
    times[place:place] = steady(5, start=NOON + YEAR)
    assert strays(times) == steady(5, start=NOON + YEAR)


def test_strays_of_the_past_hide_none_of_the_future() -> None:
    times = steady(60)
    times.insert(30, NOON + YEAR)
    times[28:28] = [0.0] * 3
    assert strays(times) == [NOON + YEAR]


def test_few_lines_are_enough() -> None:
    assert strays([NOON + YEAR, NOON, NOON + HOUR]) == [NOON + YEAR]
    assert strays([NOON, NOON + YEAR, NOON + 2, NOON + YEAR, NOON + 3]) == [NOON + YEAR] * 2


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
def test_quiet_sparse_and_reversed_logs_have_no_strays(times: list[float]) -> None:
    assert strays(times) == []


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, YEAR), max_size=80).map(sorted))
def test_a_sorted_log_of_less_than_a_month_has_none(times: list[float]) -> None:
    assert strays([NOON + time / 13 for time in times]) == []


def test_no_more_is_read_ahead_than_is_looked_at() -> None:
    read = 0

    def endless() -> Iterator[tuple[float, None]]:
        nonlocal read
        while True:
            read += 1
            yield float(read), None

    lines = judged(endless())
    for _ in range(1000):
        next(lines)
    assert read <= 1000 + NEIGHBOURS

"""Which time counts for removing, as pure decisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.store.upkeep.timekeeping import (
    LASTING_SECONDS,
    Announcements,
    DatabaseClock,
    seconds_ahead,
)

DAY = 86_400.0


@pytest.mark.parametrize(
    ("database", "before", "after", "found"),
    [
        (100, 100, 100, 0),
        (100, 90, 130, 0),  # a slow answer is no difference
        (100, 400, 401, 300),
        (100, -300, -299, -399),
    ],
)
def test_duration_of_the_question_is_no_difference_of_clocks(
    database: float, before: float, after: float, found: float
) -> None:
    assert seconds_ahead(database, before, after) == found


def test_a_step_ahead_counts_only_when_it_has_lasted() -> None:
    clock = DatabaseClock()
    for steady in range(0, 2000, 20):
        step = 40 * DAY if steady >= 600 else 0
        clock.observe(1000 + steady + step, steady)
        lasted = steady >= 600 + LASTING_SECONDS
        assert clock.settled(steady) == 1000 + steady + (step if lasted else 0), steady


def test_a_step_ahead_that_is_mended_never_counts() -> None:
    clock = DatabaseClock()
    for steady in range(0, 5000, 20):
        step = 40 * DAY if steady % 1000 < 580 else 0  # again and again
        clock.observe(1000 + steady + step, steady)
        assert steady < 600 or clock.settled(steady) == 1000 + steady


def test_a_step_back_counts_at_once() -> None:
    clock = DatabaseClock()
    clock.observe(5000, 0)
    clock.observe(1020, 20)
    assert clock.settled(20) == 1020


def test_step_between_two_readings_has_not_lasted() -> None:
    clock = DatabaseClock()
    clock.observe(1000, 0)
    clock.observe(1000 + 7200 + DAY, 7200)
    assert clock.settled(7200) == 8200
    clock.observe(1000 + 7200 + 599 + DAY, 7799)
    assert clock.settled(7799) == 8799
    clock.observe(1000 + 7800 + DAY, 7800)
    assert clock.settled(7800) == 8800 + DAY


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e6)), min_size=1))
def test_the_settled_time_is_never_ahead_of_the_clock(steps: list[tuple[float, float]]) -> None:
    clock, steady = DatabaseClock(), 0.0
    for passed, now in steps:
        steady += passed
        clock.observe(now, steady)
        assert clock.settled(steady) <= now + 1e-6


def test_announcement_has_lasted_only_after_ten_minutes_in_a_row() -> None:
    announced = Announcements()
    assert announced.announce(["a", "b"], 0) == ["a", "b"]
    assert not announced.lasted("a", 599)
    assert announced.announce(["a", "c"], 600) == ["c"]
    assert announced.lasted("a", 600)
    assert not announced.lasted("b", 600)  # no longer due
    assert not announced.lasted("c", 600)  # never more than was announced before
    assert announced.announce(["a", "b", "c"], 700) == ["b"]
    assert not announced.lasted("b", 1200)  # due anew

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.live.timeline import Timeline

START = 1_790_000_000
ROUNDING = 1e-3  # of sums of floats as large as START


def test_line_equals_the_wall_clock_until_that_is_set() -> None:
    line = Timeline()
    for second in range(0, 1000, 7):
        assert line.observe(START + second + 0.5, second) == START + second
    assert line.wall_ahead == 0


@pytest.mark.parametrize("step", [3600, -3600, 1.0, -1.0, 86_400 * 365, -86_400 * 365, 61.4])
def test_line_goes_on_when_the_wall_clock_is_set(step: float) -> None:
    line = Timeline()
    line.observe(START, 0)
    last = line.observe(START + 10, 10)
    now = line.observe(START + 11 + step, 11)
    assert abs(now - (last + 1)) <= 1
    assert line.wall_ahead == round(step)
    assert line.observe(START + 12 + step, 12) == now + 1


def test_opposite_steps_of_the_clock_cancel() -> None:
    line = Timeline()
    line.observe(START, 0)
    line.observe(START + 1 + 3600, 1)
    assert line.observe(START + 2, 2) == START + 2
    assert line.wall_ahead == 0


@pytest.mark.parametrize("drift", [0.01, -0.01, 0.3, -0.3])
def test_drift_and_slewing_are_followed(drift: float) -> None:
    line = Timeline()
    wall = float(START)
    for second in range(1000):
        wall = START + second * (1 + drift)
        now = line.observe(wall, second)
    assert line.wall_ahead == 0
    assert now == int(wall)


def test_line_goes_on_while_the_machine_sleeps() -> None:
    line = Timeline()
    line.observe(START, 0)
    assert line.observe(START + 9999, 9999) == START + 9999


whole = st.sampled_from([0, 1, -1]) | st.integers(-(10**6), 10**6)


@given(st.lists(st.tuples(st.floats(0, 100), whole)))
def test_line_stays_within_a_second_of_the_steady_clock(moves: list[tuple[float, int]]) -> None:
    line, wall, steady = Timeline(), float(START), 0.0
    line.observe(wall, steady)
    for passed, step in moves:
        steady += passed
        wall += passed + step
        assert abs(line.observe(wall, steady) - (START + steady)) <= 1 + ROUNDING


@pytest.mark.parametrize("step", [1, -1])
def test_steps_of_a_second_do_not_add_up(step: int) -> None:
    line = Timeline()
    for n in range(100):
        seconds = n * 1.0231590091885465
        now = line.observe(START + seconds + n * step, seconds)
        assert abs(now - (START + seconds)) <= 1 + ROUNDING

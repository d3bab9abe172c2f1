"""When a loss is told, and for how long it shows."""

from hypothesis import given
from hypothesis import strategies as st

from aegisd.daemon.health import LASTING_SECONDS, LOG_SECONDS, Loss, Losses

CAUSE = "the moon was full"


def test_count_of_zero_is_not_logged() -> None:
    losses = Losses()
    assert losses.observe({CAUSE: 0}, 0.0) == []
    assert losses.lasting(0.0) == {}


def test_loss_is_logged_at_once_and_then_once_a_minute_with_its_growth() -> None:
    losses = Losses()
    assert losses.observe({CAUSE: 5}, 10.0) == [Loss(CAUSE, 5, 5)]
    assert losses.observe({CAUSE: 6}, 11.0) == []
    assert losses.observe({CAUSE: 7}, 9.9 + LOG_SECONDS) == []
    assert losses.observe({CAUSE: 7}, 10.0 + LOG_SECONDS) == [Loss(CAUSE, 2, 7)]
    assert losses.observe({CAUSE: 7}, 10.0 + 2 * LOG_SECONDS) == []


def test_loss_after_a_quiet_minute_is_logged_at_once() -> None:
    losses = Losses()
    losses.observe({CAUSE: 5}, 0.0)
    assert losses.observe({CAUSE: 5}, 500.0) == []
    assert losses.observe({CAUSE: 6}, 501.0) == [Loss(CAUSE, 1, 6)]


def test_loss_shows_until_a_minute_after_its_last_growth() -> None:
    losses = Losses()
    losses.observe({CAUSE: 5, "other": 1}, 0.0)
    losses.observe({CAUSE: 9, "other": 1}, 30.0)
    assert losses.lasting(LASTING_SECONDS - 0.1) == {CAUSE: 9, "other": 1}
    assert losses.lasting(LASTING_SECONDS) == {CAUSE: 9}
    assert losses.lasting(30.0 + LASTING_SECONDS) == {}


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 100)), max_size=40))
def test_logged_losses_sum_up_to_all_losses(steps: list[tuple[int, float]]) -> None:
    losses = Losses()
    total, now, told = 0, 0.0, 0
    for more, seconds in [*steps, (0, LOG_SECONDS)]:
        total, now = total + more, now + seconds
        told += sum(loss.lost for loss in losses.observe({CAUSE: total}, now))
    assert told == total

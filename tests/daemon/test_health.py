"""Health's lines, when a loss is logged, and for how long it shows."""

from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import given
from hypothesis import strategies as st
from web.figures import INTAKE, STORAGE

from aegisd.config.settings import Metrics
from aegisd.daemon.health import LASTING_SECONDS, LOG_SECONDS, Health, Loss, Losses
from aegisd.events.protocol import Reason

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


@define
class Part:
    """A part whose figures the test sets."""

    value: Any

    def figures(self) -> Any:
        return self.value


class Upkeep:
    """An upkeep without failures."""

    def lines(self, *, admin: bool, away_is_told: bool) -> list[str]:
        del admin, away_is_told
        return []

    @property
    def duties(self) -> "Upkeep":
        return self


def health(storage: Part, intake: Part | None = None, *, enabled: bool = True) -> Health:
    parts: Any = ([], intake or Part(INTAKE), storage, Upkeep())
    return Health(*parts, Metrics(enabled=enabled))


def test_daemon_without_faults_has_no_lines() -> None:
    assert health(Part(STORAGE)).lines(admin=True) == []


def test_database_away_is_a_line_with_its_error_for_admins_and_its_kind_for_others() -> None:
    away = evolve(STORAGE, connected=False, last_error="10.0.0.1: refused", last_error_kind="X")
    watched = health(Part(away))
    assert watched.lines(admin=True) == ["the database can't be used: 10.0.0.1: refused"]
    assert watched.lines(admin=False) == ["the database can't be used: X"]


def test_database_away_is_no_line_where_nothing_is_stored() -> None:
    away = evolve(STORAGE, connected=False)
    assert health(Part(away), enabled=False).lines(admin=True) == []


@pytest.mark.parametrize(
    ("field", "what"), [("append_error", "written"), ("sync_error", "brought to the disk")]
)
def test_journal_error_is_a_line_with_its_reason_for_admins_only(field: str, what: str) -> None:
    watched = health(Part(evolve(STORAGE, **{field: "/journal: full"})))
    assert watched.lines(admin=True) == [f"the journal can't be {what}: /journal: full"]
    assert watched.lines(admin=False) == [f"the journal can't be {what}"]


def test_loss_is_a_line_until_a_minute_after_its_last_growth(capsys: Any) -> None:
    intake = Part(INTAKE)
    watched = health(Part(STORAGE), intake)
    watched.watch(1000.0)
    assert watched.lines(admin=False) == []
    intake.value = evolve(INTAKE, rejected={Reason.MALFORMED: 3})
    for now in (1001.0, 1060.0):
        watched.watch(now)
        (line,) = watched.lines(admin=False)
        assert line == "events were rejected; GET /api/ingest shows why: 3 so far"
    watched.watch(1061.0)
    assert watched.lines(admin=False) == []
    assert "".join(capsys.readouterr()).count("events were rejected") == 1

"""When a rule fires, repeats, resolves and reopens."""

from itertools import count

import pytest
from alerts.rule import rule

from aegisd.alerts.alert import ACTIVE, RESOLVED, Alert
from aegisd.alerts.lifecycle import (
    Change,
    Now,
    State,
    cooldown_seconds,
    restore,
    step,
)
from aegisd.config.settings import Rule

COOLDOWN = 300.0
WALL = 1_700_000_000_000_000
RULE = rule(severity="critical")  # error_rate > 5


def at(seconds: float) -> Now:
    return Now(WALL + round(seconds * 1_000_000), 1000 + seconds)


class Checks:
    """A rule checked again and again; remembers its state."""

    def __init__(self, state: State | None = None, checked: Rule = RULE) -> None:
        self.state = state
        self._rule = checked
        self._ids = map(str, count(1))

    def check(self, value: float | None, seconds: float) -> Change | None:
        outcome = step(self._rule, COOLDOWN, self.state, value, at(seconds), self._ids.__next__)
        if outcome is None:
            return None
        self.state, change = outcome
        return change

    @property
    def alert(self) -> Alert:
        assert self.state is not None
        return self.state.alert


def test_rule_that_fires_makes_alert_with_value_and_condition() -> None:
    checks = Checks()
    assert checks.check(7.5, 0) is Change.TRIGGERED
    assert checks.alert == Alert(
        id="1",
        rule_id="r",
        rule_name="Rule",
        severity="critical",
        status=ACTIVE,
        message="error_rate is 7.5 % over 5m (> 5 %)",
        current_value=7.5,
        threshold=5,
        triggered_at=WALL,
    )


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        (">", False, False, True),
        (">=", False, True, True),
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
    ],
)
def test_each_operator_fires_below_at_or_above_threshold(
    operator: str, below: bool, equal: bool, above: bool
) -> None:
    for value, fires in ((4.999, below), (5.0, equal), (5.001, above)):
        change = Checks(checked=rule(operator=operator)).check(value, 0)
        assert (change is Change.TRIGGERED) is fires


def test_check_without_value_neither_fires_nor_resolves() -> None:
    checks = Checks()
    assert checks.check(None, 0) is None
    assert checks.state is None
    checks.check(9, 1)
    before = checks.state
    assert checks.check(None, 10_000) is None
    assert checks.state is before


def test_alert_resolves_at_first_check_where_condition_fails() -> None:
    checks = Checks()
    checks.check(9, 0)
    assert checks.check(5.1, 10) is None
    assert checks.check(5, 20) is Change.RESOLVED
    assert checks.alert.status == RESOLVED
    assert checks.alert.resolved_at == at(20).wall
    assert checks.alert.current_value == 5
    assert checks.check(5, 30) is None


def test_open_alert_repeats_once_per_cooldown_with_same_id() -> None:
    checks = Checks()
    changes = {seconds: checks.check(9, seconds) for seconds in range(0, 1000, 50)}
    told = {seconds: change for seconds, change in changes.items() if change is not None}
    assert told == {
        0: Change.TRIGGERED,
        300: Change.REPEATED,
        600: Change.REPEATED,
        900: Change.REPEATED,
    }
    assert checks.alert.id == "1"
    assert checks.alert.triggered_at == WALL


def test_repeat_has_the_current_value() -> None:
    checks = Checks()
    checks.check(9, 0)
    checks.check(50, 300)
    assert checks.alert.current_value == 50
    assert checks.alert.message.startswith("error_rate is 50 %")


def test_rule_that_fires_within_cooldown_reopens_same_alert_silently() -> None:
    checks = Checks()
    checks.check(9, 0)
    checks.check(0, 100)
    assert checks.check(8, 299.9) is Change.REOPENED
    assert (checks.alert.id, checks.alert.status) == ("1", ACTIVE)
    assert (checks.alert.triggered_at, checks.alert.resolved_at) == (WALL, None)


def test_reopened_alert_repeats_when_cooldown_is_over() -> None:
    checks = Checks()
    checks.check(9, 0)
    checks.check(0, 100)
    checks.check(9, 200)
    assert checks.check(9, 299) is None
    assert checks.check(9, 300) is Change.REPEATED


def test_cooldown_runs_from_trigger_not_from_resolve() -> None:
    checks = Checks()
    checks.check(9, 0)
    checks.check(0, 290)
    assert checks.check(9, 300) is Change.TRIGGERED
    assert checks.alert.id == "2"
    assert checks.alert.triggered_at == at(300).wall


def test_new_alert_starts_new_cooldown() -> None:
    checks = Checks()
    checks.check(9, 0)
    checks.check(0, 10)
    checks.check(9, 300)
    checks.check(0, 310)
    assert checks.check(9, 599) is Change.REOPENED
    assert checks.alert.id == "2"


def test_stepped_wall_clock_changes_no_cooldown() -> None:
    checks = Checks()
    checks.check(9, 0)
    early = Now(WALL + 10**12, at(10).steady)
    assert step(RULE, COOLDOWN, checks.state, 9, early, str) is None
    late = Now(WALL - 10**12, at(300).steady)
    outcome = step(RULE, COOLDOWN, checks.state, 9, late, str)
    assert outcome is not None
    assert outcome[1] is Change.REPEATED


def open_alert(triggered: float, status: str = ACTIVE) -> Alert:
    return Alert("old", "r", "Rule", "info", status, "m", 9, 5, at(triggered).wall)


def test_restored_alert_resolves_only_once_the_window_is_full() -> None:
    restored = restore(open_alert(-100), COOLDOWN, at(0), at(300).steady)
    checks = Checks(restored)
    assert checks.check(0, 299) is None
    assert checks.check(9, 299) is not None  # its cooldown is over
    assert checks.check(0, 300) is Change.RESOLVED
    assert checks.alert.id == "old"


def test_restored_alert_repeats_when_it_would_have_without_restart() -> None:
    checks = Checks(restore(open_alert(-700), COOLDOWN, at(0), at(0).steady))
    assert checks.check(9, 199) is None  # 899 s after the trigger
    assert checks.check(9, 200) is Change.REPEATED
    assert checks.alert.id == "old"


def test_restored_resolved_alert_keeps_its_cooldown() -> None:
    early = Checks(restore(open_alert(-100, RESOLVED), COOLDOWN, at(0), 0))
    assert early.check(9, 199) is Change.REOPENED
    late = Checks(restore(open_alert(-100, RESOLVED), COOLDOWN, at(0), 0))
    assert late.check(9, 200) is Change.TRIGGERED
    assert late.alert.id == "1"


def test_restored_alert_from_the_future_counts_as_triggered_now() -> None:
    restored = restore(open_alert(5000), COOLDOWN, at(0), 0)
    assert (restored.triggered_steady, restored.repeated_steady) == (at(0).steady, at(0).steady)


def test_cooldown_of_the_rule_wins_over_the_default() -> None:
    assert cooldown_seconds(rule(cooldown_ms=1500), 300_000) == 1.5
    assert cooldown_seconds(RULE, 300_000) == 300

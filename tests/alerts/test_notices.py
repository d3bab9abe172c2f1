"""What receivers hear of a rule's alerts, with silences and without, as time lines."""

from itertools import count

import pytest
from alerts.rule import rule
from alerts.test_by_hand import at

from aegisd.alerts.alert import Alert, acknowledge, resolve_by_hand
from aegisd.alerts.lifecycle import State, by_hand, restore, step
from aegisd.alerts.notices import tell

COOLDOWN = 300.0
RULE = rule()  # error_rate > 5
TOO_MANY, FINE = 9.0, 0.0
ACK, RESOLVE, HUSH, SPEAK = "ack", "resolve", "hush", "speak"

COURSES = {
    "alert is told when it triggers, repeats and resolves": [
        (0, TOO_MANY, "1 active"),
        (5, TOO_MANY, ""),
        (300, TOO_MANY, "1 active"),
        (305, FINE, "1 resolved"),
        (310, FINE, ""),
    ],
    "reopening and its resolve are told to nobody": [
        (0, TOO_MANY, "1 active"),
        (5, FINE, "1 resolved"),
        (10, TOO_MANY, ""),
        (15, FINE, ""),
    ],
    "reopened alert is told once its cooldown is over": [
        (0, TOO_MANY, "1 active"),
        (5, FINE, "1 resolved"),
        (10, TOO_MANY, ""),
        (300, TOO_MANY, "1 active"),
        (305, FINE, "1 resolved"),
    ],
    "acknowledged alert does not repeat, its resolve is told": [
        (0, TOO_MANY, "1 active"),
        (5, ACK, ""),
        (300, TOO_MANY, ""),
        (600, TOO_MANY, ""),
        (605, FINE, "1 resolved"),
    ],
    "resolve by hand is told": [
        (0, TOO_MANY, "1 active"),
        (5, RESOLVE, "1 resolved"),
        (10, TOO_MANY, ""),
        (305, TOO_MANY, "2 active"),
    ],
    "silenced alert is told when the silence ends, if it still holds": [
        (0, HUSH, ""),
        (5, TOO_MANY, ""),
        (10, TOO_MANY, ""),
        (15, SPEAK, ""),
        (20, TOO_MANY, "1 active"),
        (25, TOO_MANY, ""),
        (30, FINE, "1 resolved"),
    ],
    "silenced alert is told at the silence's end also at a check without a value": [
        (0, HUSH, ""),
        (5, TOO_MANY, ""),
        (15, SPEAK, ""),
        (20, None, "1 active"),
    ],
    "alert that came and went within a silence is never told": [
        (0, HUSH, ""),
        (5, TOO_MANY, ""),
        (10, FINE, ""),
        (15, SPEAK, ""),
        (20, FINE, ""),
    ],
    "alert that reopened within a silence is told at its end": [
        (0, HUSH, ""),
        (5, TOO_MANY, ""),
        (10, FINE, ""),
        (15, TOO_MANY, ""),
        (20, SPEAK, ""),
        (25, TOO_MANY, "1 active"),
    ],
    "resolve within a silence is told at its end": [
        (0, TOO_MANY, "1 active"),
        (5, HUSH, ""),
        (10, FINE, ""),
        (15, SPEAK, ""),
        (20, FINE, "1 resolved"),
        (25, FINE, ""),
    ],
    "repeats within a silence are told once, at its end": [
        (0, TOO_MANY, "1 active"),
        (5, HUSH, ""),
        (300, TOO_MANY, ""),
        (600, TOO_MANY, ""),
        (605, SPEAK, ""),
        (610, TOO_MANY, "1 active"),
        (615, TOO_MANY, ""),
    ],
    "told alert that only held on within a short silence is not told again": [
        (0, TOO_MANY, "1 active"),
        (5, HUSH, ""),
        (10, TOO_MANY, ""),
        (15, SPEAK, ""),
        (20, TOO_MANY, ""),
    ],
    "end of a told alert and its successor are both told after the silence": [
        (0, TOO_MANY, "1 active"),
        (5, HUSH, ""),
        (10, FINE, ""),
        (300, TOO_MANY, ""),
        (305, FINE, ""),
        (700, TOO_MANY, ""),
        (705, SPEAK, ""),
        (710, TOO_MANY, "1 resolved, 3 active"),
        (715, FINE, "3 resolved"),
    ],
    "alert acknowledged within a silence is not told at its end": [
        (0, HUSH, ""),
        (5, TOO_MANY, ""),
        (10, ACK, ""),
        (15, SPEAK, ""),
        (20, TOO_MANY, ""),
        (25, FINE, ""),
    ],
    "resolve by hand of a silenced alert is never told": [
        (0, HUSH, ""),
        (5, TOO_MANY, ""),
        (10, RESOLVE, ""),
        (15, SPEAK, ""),
        (20, TOO_MANY, ""),
    ],
    "resolve by hand within a silence is told at its end": [
        (0, TOO_MANY, "1 active"),
        (5, HUSH, ""),
        (10, RESOLVE, ""),
        (15, SPEAK, ""),
        (20, TOO_MANY, "1 resolved"),
    ],
}


class Receivers:
    """A rule, its people and a silence; what is told is written as ``ID STATUS``."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state
        self._silenced = False
        self._ids = map(str, count(1))

    def go(self, seconds: float, what: float | str | None) -> str:
        if what in (HUSH, SPEAK):
            self._silenced = what == HUSH
            return ""
        now = at(seconds)
        if isinstance(what, str):
            assert self.state is not None
            act = acknowledge if what == ACK else resolve_by_hand
            alert = act(self.state.alert, "ann", now.wall)
            state, change = by_hand(self.state, alert, COOLDOWN, now)
        else:
            outcome = step(RULE, COOLDOWN, self.state, what, now, self._ids.__next__)
            if outcome is None and self.state is None:
                return ""
            state, change = outcome or (self.state, None)
        self.state, told = tell(state, change, lambda alert: self._silenced)
        return ", ".join(f"{alert.id} {alert.status}" for alert in told)


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES.keys())
def test_receivers_hear(course: list[tuple[float, float | str | None, str]]) -> None:
    receivers = Receivers()
    assert [(when, what, receivers.go(when, what)) for when, what, _ in course] == course


def old(status: str) -> Alert:
    ended = at(-50).wall if status == "resolved" else None
    return Alert("old", "r", "Rule", "info", status, "m", 9, 5, at(-100).wall, ended)


def test_resolve_of_alert_from_before_a_restart_is_told() -> None:
    receivers = Receivers(restore(old("active"), COOLDOWN, at(0), at(0).steady))
    assert receivers.go(5, FINE) == "old resolved"


def test_alert_from_before_a_restart_that_reopens_is_told_to_nobody() -> None:
    receivers = Receivers(restore(old("resolved"), COOLDOWN, at(0), at(0).steady))
    assert receivers.go(5, TOO_MANY) == ""
    assert receivers.go(10, FINE) == ""

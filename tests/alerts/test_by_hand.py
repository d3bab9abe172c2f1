"""What becomes of an alert that somebody acknowledges or resolves, as time lines."""

from itertools import count

import pytest
from alerts.rule import rule

from aegisd.alerts.alert import (
    ACKNOWLEDGED,
    RESOLVED,
    Alert,
    AlreadyResolved,
    acknowledge,
    as_json,
    resolve_by_hand,
)
from aegisd.alerts.lifecycle import Change, Now, State, by_hand, restore, step

COOLDOWN = 300.0
WALL = 1_700_000_000_000_000
RULE = rule()  # error_rate > 5
TOO_MANY, FINE = 9.0, 0.0


def at(seconds: float) -> Now:
    return Now(WALL + round(seconds * 1_000_000), 1000 + seconds)


class Course:
    """A rule and its people, from moment to moment; remembers the rule's state."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state
        self._ids = map(str, count(1))

    @property
    def alert(self) -> Alert:
        assert self.state is not None
        return self.state.alert

    def go(self, seconds: float, what: float | str | None) -> Change | None:
        """A value is checked; ``ack NAME`` and ``resolve NAME`` are done by hand."""
        now = at(seconds)
        if isinstance(what, str):
            assert self.state is not None
            word, _, name = what.partition(" ")
            act = {"ack": acknowledge, "resolve": resolve_by_hand}[word]
            alert = act(self.alert, name, now.wall)
            self.state, change = by_hand(self.state, alert, COOLDOWN, now)
            return change
        outcome = step(RULE, COOLDOWN, self.state, what, now, self._ids.__next__)
        if outcome is None:
            return None
        self.state, change = outcome
        return change


TRIGGERED, REPEATED, REOPENED = Change.TRIGGERED, Change.REPEATED, Change.REOPENED
ACKED, ENDED = Change.ACKNOWLEDGED, Change.RESOLVED

COURSES = {
    "acknowledged alert repeats and resolves by its rule": [
        (0, TOO_MANY, TRIGGERED),
        (10, "ack ann", ACKED),
        (299, TOO_MANY, None),
        (300, TOO_MANY, REPEATED),
        (310, FINE, ENDED),
    ],
    "second acknowledgement changes nothing": [
        (0, TOO_MANY, TRIGGERED),
        (10, "ack ann", ACKED),
        (20, "ack bob", None),
    ],
    "alert resolved by hand stays resolved while its condition holds": [
        (0, TOO_MANY, TRIGGERED),
        (10, "resolve ann", ENDED),
        (15, TOO_MANY, None),
        (309, TOO_MANY, None),
    ],
    "new alert after the cooldown since the resolve by hand": [
        (0, TOO_MANY, TRIGGERED),
        (10, "resolve ann", ENDED),
        (309, TOO_MANY, None),
        (310, TOO_MANY, TRIGGERED),
    ],
    "resolve long after the trigger holds for a cooldown too": [
        (0, TOO_MANY, TRIGGERED),
        (7000, "resolve ann", ENDED),
        (7005, TOO_MANY, None),
        (7299, TOO_MANY, None),
        (7300, TOO_MANY, TRIGGERED),
    ],
    "condition that failed once reopens the alert within the cooldown": [
        (0, TOO_MANY, TRIGGERED),
        (10, "resolve ann", ENDED),
        (15, TOO_MANY, None),
        (20, FINE, None),
        (25, TOO_MANY, REOPENED),
    ],
    "condition that failed once triggers a new alert past the cooldown": [
        (0, TOO_MANY, TRIGGERED),
        (400, TOO_MANY, REPEATED),
        (410, "resolve ann", ENDED),
        (420, FINE, None),
        (425, TOO_MANY, TRIGGERED),
    ],
    "checks without a value release nothing": [
        (0, TOO_MANY, TRIGGERED),
        (10, "resolve ann", ENDED),
        (20, None, None),
        (25, TOO_MANY, None),
    ],
    "alert resolved by hand can be resolved again after it reopened": [
        (0, TOO_MANY, TRIGGERED),
        (10, "resolve ann", ENDED),
        (20, FINE, None),
        (25, TOO_MANY, REOPENED),
        (30, "resolve bob", ENDED),
        (35, TOO_MANY, None),
    ],
}


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES.keys())
def test_course_of_checks_and_hands(course: list[tuple[float, float | str, Change | None]]) -> None:
    rule_ = Course()
    assert [(when, what, rule_.go(when, what)) for when, what, _ in course] == course


def test_acknowledged_alert_has_who_and_when() -> None:
    course = Course()
    course.go(0, TOO_MANY)
    course.go(10, "ack ann")
    course.go(20, "ack bob")
    shown = as_json(course.alert)
    assert (shown["status"], shown["acknowledgedBy"]) == ("acknowledged", "ann")
    assert shown["acknowledgedAt"] == "2023-11-14T22:13:30.000Z"


def test_alert_resolved_by_hand_has_who_and_when() -> None:
    course = Course()
    course.go(0, TOO_MANY)
    course.go(10, "resolve ann")
    shown = as_json(course.alert)
    assert (shown["status"], shown["resolvedBy"]) == ("resolved", "ann")
    assert shown["resolvedAt"] == "2023-11-14T22:13:30.000Z"


@pytest.mark.parametrize("how", [FINE, "resolve ann"])
@pytest.mark.parametrize("what", ["ack bob", "resolve bob"])
def test_resolved_alert_can_be_changed_no_more(how: float | str, what: str) -> None:
    course = Course()
    course.go(0, TOO_MANY)
    course.go(10, how)
    with pytest.raises(AlreadyResolved):
        course.go(20, what)


def test_acknowledgement_outlives_a_reopening() -> None:
    course = Course()
    for seconds, what in ((0, TOO_MANY), (10, "ack ann"), (20, FINE), (30, TOO_MANY)):
        course.go(seconds, what)
    assert (course.alert.status, course.alert.acknowledged_by) == (ACKNOWLEDGED, "ann")
    assert course.alert.resolved_at is None


def test_acknowledgement_ends_with_a_resolve_by_hand() -> None:
    course = Course()
    events = ((0, TOO_MANY), (10, "ack ann"), (20, "resolve ann"), (30, FINE), (40, TOO_MANY))
    for seconds, what in events:
        course.go(seconds, what)
    assert (course.alert.status, course.alert.acknowledged_by) == ("active", None)
    assert (course.alert.acknowledged_at, course.alert.resolved_by) == (None, "ann")


def test_resolve_by_the_rule_has_nobodys_name() -> None:
    course = Course()
    events = ((0, TOO_MANY), (10, "resolve ann"), (20, FINE), (30, TOO_MANY), (40, FINE))
    for seconds, what in events:
        course.go(seconds, what)
    assert (course.alert.status, course.alert.resolved_by) == (RESOLVED, None)


def resolved(by: str | None, triggered: float, ended: float) -> Alert:
    times = {"triggered_at": at(triggered).wall, "resolved_at": at(ended).wall}
    return Alert("old", "r", "Rule", "info", RESOLVED, "m", 9, 5, **times, resolved_by=by)


def test_alert_resolved_by_hand_stays_so_after_restart_for_the_rest_of_its_cooldown() -> None:
    course = Course(restore(resolved("ann", -7000, -100), COOLDOWN, at(0), at(0).steady))
    assert course.go(5, TOO_MANY) is None
    assert course.go(199, TOO_MANY) is None
    assert course.go(200, TOO_MANY) is Change.TRIGGERED


def test_empty_window_after_restart_does_not_release_alert_resolved_by_hand() -> None:
    course = Course(restore(resolved("ann", -7000, -100), COOLDOWN, at(0), at(100).steady))
    assert course.go(5, FINE) is None
    assert course.go(10, TOO_MANY) is None
    assert course.go(100, FINE) is None
    assert course.go(105, TOO_MANY) is Change.TRIGGERED


def test_alert_resolved_by_its_rule_is_not_held_after_restart() -> None:
    course = Course(restore(resolved(None, -7000, -100), COOLDOWN, at(0), at(0).steady))
    assert course.go(5, TOO_MANY) is Change.TRIGGERED

"""The rules' promises hold for any sequence of values and times."""

from itertools import count

from alerts.rule import rule
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.alerts.alert import ACTIVE, RESOLVED, Alert
from aegisd.alerts.lifecycle import Change, Now, State, step

RULE = rule()  # error_rate > 5
values = st.sampled_from([0.0, 5.0, 5.001, 9.0, 100.0, None])
pauses = st.sampled_from([1, 10, 30, 50, 60, 99, 100, 101, 250])
COOLDOWN = 100.0


@define
class Seen:
    """What an observer has seen of a rule, in the contract's words."""

    alerts: dict[str, Alert] = field(factory=dict)
    told: list[tuple[float, str]] = field(factory=list)  # when which alert was delivered
    triggered: float = 0.0
    last: Alert | None = None

    @property
    def open(self) -> bool:
        return self.last is not None and self.last.status != RESOLVED


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(pauses, values), min_size=20, max_size=60))
def test_alerts_keep_the_contract_for_any_sequence_of_checks(
    course: list[tuple[int, float | None]],
) -> None:
    seen, state, now, ids = Seen(), None, 1000.0, map(str, count())
    for pause, value in course:
        now += pause
        was_open = seen.open
        outcome = step(RULE, COOLDOWN, state, value, Now(round(now * 1_000_000), now), ids.__next__)
        if outcome is None:
            assert_nothing_was_due(seen, value, now)
            continue
        state, change = outcome
        assert value is not None
        assert_change_is_allowed(seen, state, change, value, now, was_open)


def assert_nothing_was_due(seen: Seen, value: float | None, now: float) -> None:
    if value is None:
        return
    assert (value > 5) == seen.open
    if seen.open:
        assert now - seen.told[-1][0] < COOLDOWN


def assert_change_is_allowed(
    seen: Seen, state: State, change: Change, value: float, now: float, was_open: bool
) -> None:
    alert = state.alert
    others = [a for a in seen.alerts.values() if a.id != alert.id]
    assert all(other.status == RESOLVED for other in others)  # at most one is open
    assert (alert.status == ACTIVE) == (value > 5)
    assert alert.current_value == value
    if change is Change.TRIGGERED:
        assert not was_open
        assert alert.id not in seen.alerts
        assert seen.last is None or now - seen.triggered >= COOLDOWN
        assert alert.triggered_at == round(now * 1_000_000)
        seen.triggered = now
    else:
        assert seen.last is not None
        assert alert.id == seen.last.id
        assert alert.triggered_at == seen.last.triggered_at
    if change is Change.REOPENED:
        assert not was_open
        assert now - seen.triggered < COOLDOWN
        assert alert.resolved_at is None
    if change is Change.REPEATED:
        assert was_open
    if change is Change.RESOLVED:
        assert was_open
        assert alert.resolved_at == round(now * 1_000_000)
    if change in (Change.TRIGGERED, Change.REPEATED):
        assert all(now - when >= COOLDOWN for when, id_ in seen.told if id_ == alert.id)
        seen.told.append((now, alert.id))
    seen.alerts[alert.id] = seen.last = alert

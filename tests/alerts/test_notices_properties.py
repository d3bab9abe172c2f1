"""What receivers may rely on, for any sequence of checks, people and silences."""

from itertools import count

from alerts.rule import rule
from alerts.test_by_hand import at
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.alerts.alert import ACKNOWLEDGED, RESOLVED, acknowledge, resolve_by_hand
from aegisd.alerts.lifecycle import Change, State, by_hand, step
from aegisd.alerts.notices import tell

RULE = rule()  # error_rate > 5
COOLDOWN = 100.0
HANDS = {"acknowledge": acknowledge, "resolve": resolve_by_hand}

steps = st.sampled_from([9.0, 9.0, 9.0, 0.0, None, "acknowledge", "resolve", "silence"])
pauses = st.sampled_from([1, 10, 50, 99, 100, 101, 250])


def changed(
    state: State | None, what: float | str | None, seconds: float, ids: "count[int]"
) -> tuple[State | None, Change | None]:
    """The state after a check, or after somebody did what is possible."""
    now = at(seconds)
    if isinstance(what, str):
        if state is None or state.alert.status == RESOLVED:
            return state, None
        return by_hand(state, HANDS[what](state.alert, "ann", now.wall), COOLDOWN, now)
    return step(RULE, COOLDOWN, state, what, now, lambda: str(next(ids))) or (state, None)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(pauses, steps), min_size=20, max_size=60))
def test_receivers_hear_each_end_they_wait_for_and_nothing_while_silenced(
    course: list[tuple[int, float | str | None]],
) -> None:
    state, silenced, seconds, ids = None, False, 0.0, count()
    heard: dict[str, str] = {}  # by alert, the status last told
    for pause, what in course:
        seconds += pause
        if what == "silence":
            silenced = not silenced
            continue
        state, change = changed(state, what, seconds, ids)
        if state is None:
            continue
        state, told = tell(state, change, lambda alert: silenced)  # noqa: B023 # called at once
        assert not (told and silenced)
        for alert in told:
            assert alert.status != ACKNOWLEDGED
            assert alert.status != RESOLVED or heard.get(alert.id, RESOLVED) != RESOLVED
            heard[alert.id] = alert.status
        if not silenced:
            waited_for = [id_ for id_, status in heard.items() if status != RESOLVED]
            assert waited_for in ([], [state.alert.id])
            assert not waited_for or state.alert.status != RESOLVED

"""Decides when a rule fires, repeats, resolves and fires again. Pure: no clock, no database.

The manager checks a rule every few seconds: its condition holds, or fails, or has no value.
``step`` takes the value and the time, and gives the rule's next state. A rule has at most one open
alert.

|   | state          | condition    | and                           | next         | change    |
| - | -------------- | ------------ | ----------------------------- | ------------ | --------- |
| 1 | any            | has no value |                               | the same     | none      |
| 2 | open           | fails        | before ``resolvable_steady``  | the same     | none      |
| 3 | open           | fails        | else                          | resolved     | RESOLVED  |
| 4 | open           | holds        | cooldown since notified over  | open         | REPEATED  |
| 5 | open           | holds        | else                          | the same     | none      |
| 6 | none, resolved | fails        |                               | the same     | none      |
| 7 | resolved       | holds        | cooldown since triggered runs | open, silent | REOPENED  |
| 8 | none, resolved | holds        | else                          | open, new    | TRIGGERED |

The cooldown is one length on two clocks. The first counts since the trigger or the last repeat
(``notified_steady``): it says when an open alert repeats (4). The second counts since the trigger
(``triggered_steady``): it says whether a resolved alert reopens (7) or a new one is triggered (8).
A resolve and a reopening restart neither.

Receivers hear of each change, except of a REOPENED, and of the RESOLVED of an alert that is silent
since it reopened (``notifies``). A repeat makes a silent alert loud.

Cooldowns run on steady time, so that a wall clock that is set changes none.
"""

import operator
from collections.abc import Callable
from enum import Enum

from attrs import evolve, frozen

from aegisd.alerts.alert import ACTIVE, RESOLVED, Alert
from aegisd.alerts.metrics import METRICS
from aegisd.config.settings import Rule
from aegisd.events.units import SECOND_US

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
}


class Change(Enum):
    """What a check did to an alert."""

    TRIGGERED = "triggered"
    REPEATED = "repeated"
    REOPENED = "reopened"
    RESOLVED = "resolved"


@frozen
class State:
    """A rule's latest alert. The times are steady, in seconds."""

    alert: Alert
    triggered_steady: float
    notified_steady: float
    silent: bool = False
    """Reopened within the cooldown: no receiver knows."""
    resolvable_steady: float = 0.0
    """Not resolved earlier: the window of a daemon just started is empty."""


@frozen
class Now:
    """One moment: ``wall`` in microseconds since 1970, ``steady`` in seconds."""

    wall: int
    steady: float


def step(
    rule: Rule,
    cooldown: float,
    state: State | None,
    value: float | None,
    now: Now,
    new_id: Callable[[], str],
) -> tuple[State, Change] | None:
    """The rule's next state and the change, or None where nothing changes.

    ``cooldown`` is in seconds, ``value`` as ``metrics.value_of`` gives it.
    """
    if value is None:  # 1
        return None
    holds = _OPERATORS[rule.condition.operator](value, rule.condition.threshold)
    if state is not None and state.alert.status != RESOLVED:
        if not holds:
            if now.steady < state.resolvable_steady:  # 2
                return None
            return evolve(state, alert=resolve(state.alert, value, now)), Change.RESOLVED  # 3
        if now.steady - state.notified_steady >= cooldown:  # 4
            alert = evolve(state.alert, current_value=value, message=_message(rule, value))
            repeated = evolve(state, alert=alert, notified_steady=now.steady, silent=False)
            return repeated, Change.REPEATED
        return None  # 5
    if not holds:  # 6
        return None
    if state is not None and now.steady - state.triggered_steady < cooldown:  # 7
        alert = evolve(state.alert, status=ACTIVE, resolved_at=None, current_value=value)
        return evolve(state, alert=alert, silent=True), Change.REOPENED
    return _trigger(rule, value, now, new_id()), Change.TRIGGERED  # 8


def notifies(state: State, change: Change) -> bool:
    """Whether receivers hear of a change; ``state`` is the one after it."""
    return change is not Change.REOPENED and not (change is Change.RESOLVED and state.silent)


def resolve(alert: Alert, value: float, now: Now) -> Alert:
    """The alert, resolved."""
    return evolve(alert, status=RESOLVED, resolved_at=now.wall, current_value=value)


def restore(alert: Alert, cooldown: float, now: Now, resolvable_steady: float) -> State:
    """The state of an alert that an earlier run of the daemon left.

    Whether it was silent is not kept, nor when it was last told: its resolve is told.
    """
    age = max(0.0, (now.wall - alert.triggered_at) / SECOND_US)
    # repeats keep the beat they would have had, had the daemon run all the time
    since_notified = age % cooldown
    return State(
        alert,
        now.steady - age,
        now.steady - since_notified,
        resolvable_steady=resolvable_steady,
    )


def cooldown_seconds(rule: Rule, default_ms: int) -> float:
    """The rule's own cooldown, else the default."""
    return (default_ms if rule.cooldown_ms is None else rule.cooldown_ms) / 1000


def _trigger(rule: Rule, value: float, now: Now, new_id: str) -> State:
    alert = Alert(
        id=new_id,
        rule_id=rule.id,
        rule_name=rule.name,
        severity=rule.severity,
        status=ACTIVE,
        message=_message(rule, value),
        current_value=value,
        threshold=rule.condition.threshold,
        triggered_at=now.wall,
    )
    return State(alert, now.steady, now.steady)


def _message(rule: Rule, value: float) -> str:
    """The alert's text, such as ``error_rate is 7.5 % over 5m (> 5 %)``."""
    condition = rule.condition
    unit = METRICS[condition.metric].unit
    return (
        f"{condition.metric} is {value:.4g}{unit} over {condition.window}"
        f" ({condition.operator} {condition.threshold:g}{unit})"
    )

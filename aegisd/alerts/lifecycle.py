"""Decides when a rule fires, repeats, resolves and fires again. Pure: no clock, no database.

The manager checks a rule every few seconds: its condition holds, or fails, or has no value.
``step`` takes the value and the time, and gives the rule's next state. A rule has at most one open
alert.

|   | state            | condition    | and                           | next       | change    |
| - | ---------------- | ------------ | ----------------------------- | ---------- | --------- |
| 1 | any              | has no value |                               | the same   | none      |
| 2 | any              | fails        | before ``resolvable_steady``  | the same   | none      |
| 3 | open             | fails        | else                          | resolved   | RESOLVED  |
| 4 | open             | holds        | cooldown since repeated over  | open       | REPEATED  |
| 5 | open             | holds        | else                          | the same   | none      |
| 6 | resolved by hand | fails        | else                          | released   | none      |
| 7 | resolved by hand | holds        | before ``released_steady``    | the same   | none      |
| 8 | none, resolved   | fails        |                               | the same   | none      |
| 9 | resolved         | holds        | cooldown since triggered runs | open again | REOPENED  |
| 10 | none, resolved  | holds        | else                          | open, new  | TRIGGERED |

The cooldown is one length on three clocks. The first counts since the trigger or the last repeat
(``repeated_steady``): it says when an open alert repeats (4). The second counts since the trigger
(``triggered_steady``): it says whether a resolved alert reopens (9) or a new one is triggered (10).
A resolve and a reopening restart neither. The third counts since somebody resolved the alert by
hand: while its condition holds on, that alert stays resolved for so long (7). Who resolves an alert
does not want it back at the next check; who forgets it hears of it again. A condition that failed
once in between may fire at once (6).

Somebody's acknowledgement outlives a resolve by the rule and a reopening, not a resolve by hand.

What receivers hear of each change is decided in ``notices``. Cooldowns run on steady time, so that
a wall clock that is set changes none.
"""

import operator
from collections.abc import Callable
from enum import Enum

from attrs import evolve, frozen

from aegisd.alerts.alert import ACKNOWLEDGED, ACTIVE, RESOLVED, Alert
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
    """What a check, or somebody, did to an alert."""

    TRIGGERED = "triggered"
    REPEATED = "repeated"
    REOPENED = "reopened"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@frozen
class State:
    """A rule's latest alert. The times are steady, in seconds."""

    alert: Alert
    triggered_steady: float
    repeated_steady: float
    resolvable_steady: float = 0.0
    """Not resolved earlier: the window of a daemon just started is empty."""
    released_steady: float = 0.0
    """Resolved by hand: it does not fire earlier, unless its condition fails once."""
    told: bool = False
    """Receivers believe that the alert is open."""
    withheld: bool = False
    """A silence holds back a notice of the alert."""
    withheld_end: Alert | None = None
    """An earlier alert, whose resolve a silence holds back."""


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
) -> tuple[State, Change | None] | None:
    """The rule's next state and the change, or None where nothing changes.

    ``cooldown`` is in seconds, ``value`` as ``metrics.value_of`` gives it.
    """
    if value is None:  # 1
        return None
    holds = _OPERATORS[rule.condition.operator](value, rule.condition.threshold)
    if state is None:
        return (_trigger(rule, value, now, new_id(), None), Change.TRIGGERED) if holds else None
    if not holds:
        return _fail(state, value, now)
    if state.alert.status != RESOLVED:
        if now.steady - state.repeated_steady < cooldown:  # 5
            return None
        alert = evolve(state.alert, current_value=value, message=_message(rule, value))
        return evolve(state, alert=alert, repeated_steady=now.steady), Change.REPEATED  # 4
    if now.steady < state.released_steady:  # 7
        return None
    if now.steady - state.triggered_steady < cooldown:
        return evolve(state, alert=_reopen(state.alert, value)), Change.REOPENED  # 9
    return _trigger(rule, value, now, new_id(), state), Change.TRIGGERED  # 10


def _fail(state: State, value: float, now: Now) -> tuple[State, Change | None] | None:
    if now.steady < state.resolvable_steady:  # 2
        return None
    if state.alert.status != RESOLVED:
        return evolve(state, alert=resolve(state.alert, value, now)), Change.RESOLVED  # 3
    if now.steady < state.released_steady:
        return evolve(state, released_steady=0.0), None  # 6
    return None  # 8


def resolve(alert: Alert, value: float, now: Now) -> Alert:
    """The alert, resolved by its rule."""
    return evolve(
        alert, status=RESOLVED, resolved_at=now.wall, resolved_by=None, current_value=value
    )


def by_hand(state: State, alert: Alert, cooldown: float, now: Now) -> tuple[State, Change | None]:
    """The state whose alert somebody made into this one: acknowledged, resolved or the same."""
    if alert == state.alert:
        return state, None
    if alert.status != RESOLVED:
        return evolve(state, alert=alert), Change.ACKNOWLEDGED
    return evolve(state, alert=alert, released_steady=now.steady + cooldown), Change.RESOLVED


def restore(alert: Alert, cooldown: float, now: Now, resolvable_steady: float) -> State:
    """The state of an alert that an earlier run of the daemon left.

    What receivers were told is not kept: the resolve of an open alert is told. Nor is it kept
    whether a condition failed since somebody resolved its alert by hand.
    """
    age = max(0.0, (now.wall - alert.triggered_at) / SECOND_US)
    # repeats keep the beat they would have had, had the daemon run all the time
    since_repeated = age % cooldown
    released = 0.0
    if alert.status == RESOLVED and alert.resolved_by is not None and alert.resolved_at is not None:
        ended = max(0.0, (now.wall - alert.resolved_at) / SECOND_US)
        released = now.steady - ended + cooldown
    return State(
        alert,
        now.steady - age,
        now.steady - since_repeated,
        resolvable_steady=resolvable_steady,
        released_steady=released,
        told=alert.status != RESOLVED,
    )


def cooldown_seconds(rule: Rule, default_ms: int) -> float:
    """The rule's own cooldown, else the default."""
    return (default_ms if rule.cooldown_ms is None else rule.cooldown_ms) / 1000


def _reopen(alert: Alert, value: float) -> Alert:
    again = evolve(alert, status=ACTIVE, resolved_at=None, current_value=value)
    if alert.resolved_by is not None:
        return evolve(again, acknowledged_at=None, acknowledged_by=None)
    return again if alert.acknowledged_at is None else evolve(again, status=ACKNOWLEDGED)


def _trigger(rule: Rule, value: float, now: Now, new_id: str, earlier: State | None) -> State:
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
    return State(alert, now.steady, now.steady, withheld_end=_withheld_end(earlier))


def _withheld_end(earlier: State | None) -> Alert | None:
    """The resolve that receivers still have to hear of when the next alert is triggered."""
    if earlier is None:
        return None
    return earlier.alert if earlier.withheld and earlier.told else earlier.withheld_end


def _message(rule: Rule, value: float) -> str:
    """The alert's text, such as ``error_rate is 7.5 % over 5m (> 5 %)``."""
    condition = rule.condition
    unit = METRICS[condition.metric].unit
    return (
        f"{condition.metric} is {value:.4g}{unit} over {condition.window}"
        f" ({condition.operator} {condition.threshold:g}{unit})"
    )

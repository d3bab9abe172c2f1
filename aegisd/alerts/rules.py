"""When a rule fires, fires again, and resolves. Pure: figures and times in, decisions out.

A rule has at most one alert that is not resolved. Its cooldown runs from the moment the alert
was triggered, and outlives a resolve: a rule that fires again within it reopens the same alert
in silence. Past it, an alert that still holds is notified again under its id.
"""

import operator
from collections.abc import Callable
from enum import Enum

from attrs import evolve, frozen

from aegisd.config.settings import Condition, Rule
from aegisd.events.units import MILLISECOND_US, SECOND_US
from aegisd.live import WindowSums
from aegisd.stats import sketch

ACTIVE, ACKNOWLEDGED, RESOLVED = "active", "acknowledged", "resolved"

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
}
_LOW = ("<", "<=", "==")

UNITS = {
    "error_rate": " %",
    "server_error_rate": " %",
    "rate_limit_rate": " %",
    "latency_p95": " ms",
    "latency_p99": " ms",
    "request_rate": "/s",
}


@frozen
class Alert:
    """One alert. Times are microseconds since 1970."""

    id: str
    rule_id: str
    rule_name: str
    severity: str
    status: str
    message: str
    current_value: float
    threshold: float
    triggered_at: int
    resolved_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None


class Change(Enum):
    """What became of an alert."""

    TRIGGERED = "triggered"
    REPEATED = "repeated"
    REOPENED = "reopened"
    RESOLVED = "resolved"


@frozen
class State:
    """A rule's latest alert. ``triggered`` and ``notified`` are seconds that never step."""

    alert: Alert
    triggered: float
    notified: float
    silent: bool = False  # reopened within the cooldown: people don't know, and need not
    hold_until: float = 0.0  # not resolved before: the window of a daemon just started is empty


@frozen
class Now:
    """One moment: ``wall`` in microseconds since 1970, ``steady`` in seconds that never step."""

    wall: int
    steady: float


def value_of(condition: Condition, sums: WindowSums, running: float) -> float | None:
    """The condition's metric over its window, or None where it has no value.

    ``running`` is for how long (seconds) events have been counted: a window that isn't full yet
    can't show that there are too few requests.
    """
    counters = sums.counters
    requests = counters["requests"]
    match condition.metric:
        case "error_rate":
            return _percent(requests - counters["succeeded"], requests)
        case "server_error_rate":
            return _percent(counters["server_errors"], requests)
        case "rate_limit_rate":
            return _percent(counters["rate_limited"], requests)
        case "request_rate":
            if condition.operator in _LOW and running < sums.seconds:
                return None
            return requests / sums.seconds
        case "latency_p95" | "latency_p99":
            share = 0.95 if condition.metric == "latency_p95" else 0.99
            (micros,) = sketch.quantiles(sums.durations, (share,))
            return None if micros is None else micros / MILLISECOND_US


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def step(
    rule: Rule,
    cooldown: float,
    state: State | None,
    value: float | None,
    now: Now,
    new_id: Callable[[], str],
) -> tuple[State, Change] | None:
    """The rule's next state and what changed, or None where nothing does.

    ``cooldown`` is in seconds, ``value`` as ``value_of`` gives it.
    """
    if value is None:
        return None
    holds = _HOLDS[rule.condition.operator](value, rule.condition.threshold)
    if state is not None and state.alert.status != RESOLVED:
        if not holds:
            if now.steady < state.hold_until:
                return None
            return evolve(state, alert=resolved(state.alert, value, now)), Change.RESOLVED
        if now.steady - state.notified >= cooldown:
            alert = evolve(state.alert, current_value=value, message=message(rule, value))
            return evolve(state, alert=alert, notified=now.steady, silent=False), Change.REPEATED
        return None
    if not holds:
        return None
    if state is not None and now.steady - state.triggered < cooldown:
        alert = evolve(state.alert, status=ACTIVE, resolved_at=None, current_value=value)
        return evolve(state, alert=alert, silent=True), Change.REOPENED
    return _triggered(rule, value, now, new_id()), Change.TRIGGERED


def resolved(alert: Alert, value: float, now: Now) -> Alert:
    """The alert, ended."""
    return evolve(alert, status=RESOLVED, resolved_at=now.wall, current_value=value)


def _triggered(rule: Rule, value: float, now: Now, new_id: str) -> State:
    alert = Alert(
        id=new_id,
        rule_id=rule.id,
        rule_name=rule.name,
        severity=rule.severity,
        status=ACTIVE,
        message=message(rule, value),
        current_value=value,
        threshold=rule.condition.threshold,
        triggered_at=now.wall,
    )
    return State(alert, now.steady, now.steady)


def restore(alert: Alert, cooldown: float, now: Now, hold_until: float) -> State:
    """The state of an alert that an earlier run of the daemon left."""
    age = max(0.0, (now.wall - alert.triggered_at) / SECOND_US)
    # the last time it was due to be notified, as if we had run all the while
    notified = age % cooldown
    return State(alert, now.steady - age, now.steady - notified, hold_until=hold_until)


def message(rule: Rule, value: float) -> str:
    """What the alert says: the figure, the rule, the window."""
    condition = rule.condition
    unit = UNITS[condition.metric]
    return (
        f"{condition.metric} is {value:.4g}{unit} over {condition.window}"
        f" ({condition.operator} {condition.threshold:g}{unit})"
    )


def cooldown_seconds(rule: Rule, default_ms: int) -> float:
    """The rule's own cooldown, else the default."""
    return (default_ms if rule.cooldown_ms is None else rule.cooldown_ms) / 1000

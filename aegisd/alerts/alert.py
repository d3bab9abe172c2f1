"""An alert: what a rule that fired leaves behind, and its form in JSON. Pure."""

from typing import Any

from attrs import evolve, frozen

from aegisd.times import rfc3339

ACTIVE, ACKNOWLEDGED, RESOLVED = "active", "acknowledged", "resolved"
"""The statuses. An alert is open while it is active or acknowledged."""


class AlreadyResolved(Exception):
    """The alert has ended: it can be neither acknowledged nor resolved any more."""


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
    resolved_by: str | None = None
    """Who resolved it by hand, last. It stays while the alert is open again; None where the rule
    resolved it."""


def acknowledge(alert: Alert, by: str, moment: int) -> Alert:
    """The alert, acknowledged; the first who did so stays. Raises AlreadyResolved."""
    if alert.status == RESOLVED:
        raise AlreadyResolved
    if alert.status == ACKNOWLEDGED:
        return alert
    return evolve(alert, status=ACKNOWLEDGED, acknowledged_at=moment, acknowledged_by=by)


def resolve_by_hand(alert: Alert, by: str, moment: int) -> Alert:
    """The alert, resolved by somebody. Raises AlreadyResolved."""
    if alert.status == RESOLVED:
        raise AlreadyResolved
    return evolve(alert, status=RESOLVED, resolved_at=moment, resolved_by=by)


def with_status_of(alert: Alert, other: Alert) -> Alert:
    """The alert, with the status of another version of it, and who made it that."""
    return evolve(
        alert,
        status=other.status,
        resolved_at=other.resolved_at,
        resolved_by=other.resolved_by,
        acknowledged_at=other.acknowledged_at,
        acknowledged_by=other.acknowledged_by,
    )


def as_json(alert: Alert) -> dict[str, Any]:
    """The alert as the API, the WebSocket and webhooks show it."""
    return {
        "id": alert.id,
        "ruleId": alert.rule_id,
        "ruleName": alert.rule_name,
        "severity": alert.severity,
        "status": alert.status,
        "message": alert.message,
        "triggeredAt": rfc3339(alert.triggered_at),
        "resolvedAt": _time(alert.resolved_at),
        "acknowledgedAt": _time(alert.acknowledged_at),
        "acknowledgedBy": alert.acknowledged_by,
        "resolvedBy": alert.resolved_by,
        "currentValue": alert.current_value,
        "threshold": alert.threshold,
    }


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else rfc3339(microseconds)

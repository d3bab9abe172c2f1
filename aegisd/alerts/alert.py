"""An alert: what a rule that fired leaves behind, and its form in JSON. Pure."""

from typing import Any

from attrs import frozen

from aegisd.times import rfc3339

ACTIVE, ACKNOWLEDGED, RESOLVED = "active", "acknowledged", "resolved"
"""The statuses. An alert is open while it is active or acknowledged."""


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
        "currentValue": alert.current_value,
        "threshold": alert.threshold,
    }


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else rfc3339(microseconds)

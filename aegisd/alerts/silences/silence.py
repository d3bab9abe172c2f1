"""A silence: which alerts it covers and when, and its form in JSON. Pure."""

from typing import Any

from attrs import frozen

from aegisd.alerts.alert import Alert
from aegisd.times import rfc3339


@frozen
class Silence:
    """One silence. Times are microseconds since 1970; ``by`` is who made it.

    It covers the alerts of a rule, of a severity, or of both; where both are None, all alerts.
    """

    id: str
    rule_id: str | None
    severity: str | None
    starts_at: int
    ends_at: int
    comment: str
    by: str

    def covers(self, alert: Alert, moment: int) -> bool:
        """Whether notices of the alert are held back at ``moment``."""
        return (
            self.starts_at <= moment < self.ends_at
            and self.rule_id in (None, alert.rule_id)
            and self.severity in (None, alert.severity)
        )


def silence_as_json(silence: Silence) -> dict[str, Any]:
    """The silence as the API shows it."""
    return {
        "id": silence.id,
        "ruleId": silence.rule_id,
        "severity": silence.severity,
        "from": rfc3339(silence.starts_at),
        "until": rfc3339(silence.ends_at),
        "comment": silence.comment,
        "by": silence.by,
    }

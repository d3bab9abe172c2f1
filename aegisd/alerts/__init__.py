"""Alerts: when a rule fires (``rules``, pure), and what happens then.

``manager`` is the task that checks, ``actions`` tells people, ``archive`` keeps the alerts in
the database.
"""

from aegisd.alerts.actions import as_json
from aegisd.alerts.archive import Archive
from aegisd.alerts.figures import AlertFigures
from aegisd.alerts.manager import Manager
from aegisd.alerts.rules import ACKNOWLEDGED, ACTIVE, RESOLVED, Alert

__all__ = [
    "ACKNOWLEDGED",
    "ACTIVE",
    "RESOLVED",
    "Alert",
    "AlertFigures",
    "Archive",
    "Manager",
    "as_json",
]

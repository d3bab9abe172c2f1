"""Alerts: rules over the live windows in; alerts, kept in the database and delivered, out.

``Manager`` is the task that checks the rules; ``AlertTable`` is the table ``alerts``.
"""

from aegisd.alerts.alert import ACKNOWLEDGED, ACTIVE, RESOLVED, Alert, as_json
from aegisd.alerts.alert_table import AlertTable
from aegisd.alerts.figures import AlertFigures
from aegisd.alerts.manager import Manager

__all__ = [
    "ACKNOWLEDGED",
    "ACTIVE",
    "RESOLVED",
    "Alert",
    "AlertFigures",
    "AlertTable",
    "Manager",
    "as_json",
]

"""Alerts: rules over the live windows in; alerts, kept in the database and delivered, out.

``Manager`` is the task that checks the rules; ``AlertTable`` is the table ``alerts``; ``Silences``
hold notices back.
"""

from aegisd.alerts.alert import ACKNOWLEDGED, ACTIVE, RESOLVED, Alert, AlreadyResolved, as_json
from aegisd.alerts.alert_table import AlertTable, Wanted
from aegisd.alerts.figures import AlertFigures
from aegisd.alerts.manager import Manager
from aegisd.alerts.silences import (
    MAX_SILENCES,
    Silence,
    Silences,
    TooManySilences,
    silence_as_json,
)

__all__ = [
    "ACKNOWLEDGED",
    "ACTIVE",
    "MAX_SILENCES",
    "RESOLVED",
    "Alert",
    "AlertFigures",
    "AlertTable",
    "AlreadyResolved",
    "Manager",
    "Silence",
    "Silences",
    "TooManySilences",
    "Wanted",
    "as_json",
    "silence_as_json",
]

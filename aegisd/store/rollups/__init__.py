"""Rollups: events added up by time and name, and folded into coarser levels."""

from aegisd.store.rollups.folding import (
    FOLD_INTERVAL_SECONDS,
    PIECES,
    Folded,
    Portion,
    days_to_fold,
    fold,
)
from aegisd.store.rollups.pieces import piece_rows
from aegisd.store.rollups.portions import Portions
from aegisd.store.rollups.rollup import (
    EventsByName,
    Rollups,
    decisions_by_key,
    fine_rollups,
    requests_by_endpoint,
    roll_up,
)
from aegisd.store.rollups.statement import binned, is_other

__all__ = [
    "FOLD_INTERVAL_SECONDS",
    "PIECES",
    "EventsByName",
    "Folded",
    "Portion",
    "Portions",
    "Rollups",
    "binned",
    "days_to_fold",
    "decisions_by_key",
    "fine_rollups",
    "fold",
    "is_other",
    "piece_rows",
    "requests_by_endpoint",
    "roll_up",
]

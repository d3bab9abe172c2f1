"""Rollups: events added up by time and name, and folded into coarser levels."""

from aegisd.store.rollups.adding import binned, is_other
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
from aegisd.store.rollups.rollup import Named, Rollups, fine, named_endpoints, named_keys, roll_up

__all__ = [
    "FOLD_INTERVAL_SECONDS",
    "PIECES",
    "Folded",
    "Named",
    "Portion",
    "Portions",
    "Rollups",
    "binned",
    "days_to_fold",
    "fine",
    "fold",
    "is_other",
    "named_endpoints",
    "named_keys",
    "piece_rows",
    "roll_up",
]

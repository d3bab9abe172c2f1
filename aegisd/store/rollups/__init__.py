"""Rollups: events added up by time and name, and folded into coarser levels.

``roll_up`` makes pieces of a batch's blocks, and ``piece_rows`` makes rows for COPY of these.
``fold`` adds the pieces in the database to the levels, in SQL. ``fine_rollups`` and the functions
beside it roll up buffered events for history.
"""

from aegisd.store.rollups.folding import (
    FOLD_INTERVAL_SECONDS,
    PIECE_TABLES,
    Folded,
    Portion,
    days_to_fold,
    fold,
)
from aegisd.store.rollups.pieces import piece_rows
from aegisd.store.rollups.portion_size import PortionSize
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
    "PIECE_TABLES",
    "EventsByName",
    "Folded",
    "Portion",
    "PortionSize",
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

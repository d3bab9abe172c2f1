"""The backlog: what was accepted and is not in the database yet, in memory where there is room."""

from aegisd.store.backlog.backlog import Backlog
from aegisd.store.backlog.batch import Batch

__all__ = ["Backlog", "Batch"]

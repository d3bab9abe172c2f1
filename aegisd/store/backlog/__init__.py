"""The backlog: blocks go in as they are accepted, batches come out for the database."""

from aegisd.store.backlog.backlog import Backlog
from aegisd.store.backlog.buffered import Batch

__all__ = ["Backlog", "Batch"]

"""The writer: batches of the backlog as rows and pieces of rollups."""

from aegisd.store.write.writer import Writer

__all__ = ["Writer"]

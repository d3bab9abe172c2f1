"""The writer: batches of the backlog go in, rows and pieces of rollups go to Postgres."""

from aegisd.store.write.writer import Writer

__all__ = ["Writer"]

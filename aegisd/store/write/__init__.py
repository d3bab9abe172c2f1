"""The writer: batches of the backlog as rows and pieces of rollups."""

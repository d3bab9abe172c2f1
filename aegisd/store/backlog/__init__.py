"""The backlog: what was accepted and is not in the database yet, in memory where there is room."""

"""Upkeep of the database: folding, partitions ahead, retention, policy."""

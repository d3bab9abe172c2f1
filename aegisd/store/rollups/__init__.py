"""Rollups: events added up by time and name, and folded into coarser levels."""

"""The live state: what happened lately, in memory.

``state`` takes blocks and gives snapshots. Everything here is pure: time comes in as an
argument, nothing waits, nothing is logged.
"""

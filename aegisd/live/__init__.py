"""The live state: what happened lately, in memory.

``state`` takes blocks and gives snapshots. Everything here is pure: time comes in as an
argument, nothing waits, nothing is logged.
"""

from aegisd.live.busiest import EndpointFigures
from aegisd.live.presence import BackendState
from aegisd.live.sources import Sources
from aegisd.live.state import BUCKET_SECONDS, LiveState, Overview
from aegisd.live.windows import Series, WindowSums

__all__ = [
    "BUCKET_SECONDS",
    "BackendState",
    "EndpointFigures",
    "LiveState",
    "Overview",
    "Series",
    "Sources",
    "WindowSums",
]

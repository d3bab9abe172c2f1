"""The live state: what happened in the last hour, in memory.

Blocks go in, figures come out: totals, windows, endpoints, backends. Time comes in as an argument.
"""

from aegisd.live.busiest import EndpointFigures
from aegisd.live.observed import ObservedBackend
from aegisd.live.presence import BackendState
from aegisd.live.state import BUCKET_SECONDS, LiveState, Overview
from aegisd.live.totals import ByStatus, RequestTotals
from aegisd.live.windows import Series, WindowSums

__all__ = [
    "BUCKET_SECONDS",
    "BackendState",
    "ByStatus",
    "EndpointFigures",
    "LiveState",
    "ObservedBackend",
    "Overview",
    "RequestTotals",
    "Series",
    "WindowSums",
]

"""History: questions about the past, answered from rollups or raw rows."""

from aegisd.store.history.exact import Exact
from aegisd.store.history.figures import (
    QUANTILES,
    EndpointTotals,
    Latency,
    Present,
    StatusCounts,
    Totals,
    earliest,
)
from aegisd.store.history.history import History
from aegisd.store.history.ranges import Kept, Range

__all__ = [
    "QUANTILES",
    "EndpointTotals",
    "Exact",
    "History",
    "Kept",
    "Latency",
    "Present",
    "Range",
    "StatusCounts",
    "Totals",
    "earliest",
]

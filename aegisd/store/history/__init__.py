"""History: questions about the past, answered from rollups or raw rows."""

from aegisd.store.history.exact import Exact
from aegisd.store.history.figures import (
    QUANTILES,
    EndpointTotals,
    KeyTotals,
    Latency,
    Present,
    StatusCounts,
    Totals,
    earliest,
)
from aegisd.store.history.history import History
from aegisd.store.history.ranges import NAMED as NAMED_RANGES
from aegisd.store.history.ranges import Kept, Range
from aegisd.store.history.ranges import between as range_between
from aegisd.store.history.ranges import named as named_range

__all__ = [
    "NAMED_RANGES",
    "QUANTILES",
    "EndpointTotals",
    "Exact",
    "History",
    "Kept",
    "KeyTotals",
    "Latency",
    "Present",
    "Range",
    "StatusCounts",
    "Totals",
    "earliest",
    "named_range",
    "range_between",
]

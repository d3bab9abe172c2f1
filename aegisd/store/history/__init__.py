"""History: questions about the past, answered from the rollups or, exactly, from the raw rows.

A question has a range of time and a node; an answer has figures, and until when they are complete.
"""

from aegisd.store.history.exact import ExactHistory
from aegisd.store.history.history import History
from aegisd.store.history.ranges import (
    NAMED_RANGES,
    KeptFrom,
    Range,
    kept_of_names,
    named_range,
    range_between,
)
from aegisd.store.history.results import (
    QUANTILES,
    EndpointTotals,
    KeyTotals,
    Latency,
    Present,
    RequestCounts,
    StatusCounts,
    Totals,
    earliest,
)
from aegisd.store.history.sums import Endpoint

__all__ = [
    "NAMED_RANGES",
    "QUANTILES",
    "Endpoint",
    "EndpointTotals",
    "ExactHistory",
    "History",
    "KeptFrom",
    "KeyTotals",
    "Latency",
    "Present",
    "Range",
    "RequestCounts",
    "StatusCounts",
    "Totals",
    "earliest",
    "kept_of_names",
    "named_range",
    "range_between",
]

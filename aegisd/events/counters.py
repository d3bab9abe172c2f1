"""What is counted of requests and rate-limit decisions, and which statuses each counter counts.

Every other place derives from these names and ranges (the live state, the rollups, the tables'
columns, SQL), or a test holds it to them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import Numbers
from aegisd.events.protocol import MAX_STATUS

STATUS_RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "status_2xx": ((200, 299),),
    "status_3xx": ((300, 399),),
    "status_4xx": ((400, 499),),
    "status_5xx": ((500, 599),),
    "status_other": ((0, 199), (600, MAX_STATUS)),
    "succeeded": ((1, 399),),
    "failed": ((0, 0), (400, MAX_STATUS)),
    "server_errors": ((0, 0), (500, 599)),
    "rate_limited": ((429, 429),),
}
"""The statuses that a counter counts, from and to, both included. Status 0 is no answer at all."""

STATUS_CLASSES = ("status_2xx", "status_3xx", "status_4xx", "status_5xx", "status_other")
"""Each request is in one of these."""

REQUEST_COUNTERS = ("requests", *STATUS_CLASSES, "failed", "rate_limited")
"""The counters of requests that rollups store."""

DECISION_COUNTERS = ("checked", "denied")
"""Rate-limit decisions, and those that denied."""

COUNTERS = (
    "requests",
    *STATUS_CLASSES,
    "succeeded",
    "server_errors",
    "rate_limited",
    "timed",  # requests that had a duration
    "duration_sum_us",
    *DECISION_COUNTERS,
)
"""The counters of each second of the live state: the columns of every array of counters."""

COLUMN = {name: i for i, name in enumerate(COUNTERS)}

Counters = NDArray[np.int64]
"""The counters of one second, or a row for each of several; columns as COUNTERS."""

OTHER = "(other)"
"""The name under which all names without a place of their own are counted together."""


def counted(name: str, statuses: Numbers) -> NDArray[np.bool_]:
    """Which of the statuses the counter counts."""
    found = np.zeros(statuses.shape, np.bool_)
    for low, high in STATUS_RANGES[name]:
        found |= (statuses >= low) & (statuses <= high)
    return found


def counted_sql(name: str, column: str) -> str:
    """The SQL condition that the counter counts the status in ``column``."""
    ranges = [
        f"{column} = {low}" if low == high else f"{column} BETWEEN {low} AND {high}"
        for low, high in STATUS_RANGES[name]
    ]
    return f"({' OR '.join(ranges)})"


def _outcomes() -> tuple[NDArray[np.intp], list[int]]:
    statuses = np.arange(MAX_STATUS + 1)
    alike = np.stack([counted(name, statuses) for name in STATUS_RANGES], axis=1)
    _, firsts, outcomes = np.unique(alike, axis=0, return_index=True, return_inverse=True)
    return outcomes.reshape(-1), firsts.tolist()


OUTCOME, _EXAMPLES = _outcomes()
"""The outcome of each status. Statuses that all counters count alike are one outcome: there are
eight, and counting by them takes less room than by a thousand statuses."""


OUTCOMES = len(_EXAMPLES)


def outcome_adds(names: Sequence[str]) -> NDArray[np.int64]:
    """A row an outcome, a column a name: what one request of the outcome adds to the counter.

    A counter that does not go by the status gets 0, but "requests" 1.
    """
    adds = np.zeros((len(_EXAMPLES), len(names)), np.int64)
    for column, name in enumerate(names):
        if name in STATUS_RANGES:
            adds[:, column] = counted(name, np.array(_EXAMPLES))
    if "requests" in names:
        adds[:, list(names).index("requests")] = 1
    return adds


OUTCOME_FAILS = outcome_adds(("failed",))[:, 0] == 1
OUTCOME_CLASSES = outcome_adds(STATUS_CLASSES)
"""Counts by outcome, times this, are counts by class of status."""

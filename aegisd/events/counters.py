"""What is counted of requests and rate-limit decisions, and what a status means."""

import numpy as np
from numpy.typing import NDArray

COUNTERS = (
    "requests",
    "status_2xx",
    "status_3xx",
    "status_4xx",
    "status_5xx",
    "status_other",  # 0 to 199 and 600 up
    "succeeded",  # 1 to 399
    "server_errors",  # 5xx, and 0: no answer at all
    "rate_limited",  # 429
    "timed",  # had a duration
    "duration_sum_us",  # the sum of the durations
    "checked",  # rate-limit decisions
    "denied",
)
"""What is counted each second, the columns of every array of counters."""


COLUMN = {name: i for i, name in enumerate(COUNTERS)}


Counters = NDArray[np.int64]
"""Of one second, or a row for each of several; columns as COUNTERS."""


def _class_table() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The class of each status, and what one request of each class adds to the counters."""
    statuses = np.arange(1000)
    adds = np.zeros((1000, len(COUNTERS)), np.int64)
    adds[:, COLUMN["requests"]] = 1
    for hundred in (2, 3, 4, 5):
        adds[statuses // 100 == hundred, COLUMN[f"status_{hundred}xx"]] = 1
    adds[(statuses < 200) | (statuses >= 600), COLUMN["status_other"]] = 1
    adds[(statuses >= 1) & (statuses < 400), COLUMN["succeeded"]] = 1
    adds[(statuses == 0) | (statuses // 100 == 5), COLUMN["server_errors"]] = 1
    adds[statuses == 429, COLUMN["rate_limited"]] = 1
    rows, classes = np.unique(adds, axis=0, return_inverse=True)
    return classes.reshape(-1), rows


STATUS_CLASS, CLASS_ADDS = _class_table()


CLASS_FAILS = CLASS_ADDS[:, COLUMN["succeeded"]] == 0


OTHER = "(other)"

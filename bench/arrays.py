"""The daemon's live state as plain numpy on arrays in memory: the same sketch and counts.

Nothing is received, decoded or named, so this is a lower bound for columns. It does even less than
the daemon: endpoints are numbers already, durations whole microseconds, all in one second.
"""

import time

import numpy as np

from aegisd.stats import sketch
from bench.events import Requests

CLASSES = 6
"""Status classes: the hundreds from 0 to 5."""

REPEATS = 5


def micros_per_request(requests: Requests, block: int, seconds: float) -> float:
    """CPU microseconds a request, in blocks of ``block``; the least of some repeats."""
    blocks = [(part.endpoint, part.status, part.micros) for part in requests.parts(block)]
    state = _State(len(requests.names))
    best = float("inf")
    for _ in range(REPEATS):
        count = 0
        started = time.process_time()
        while (used := time.process_time() - started) < seconds / REPEATS:
            for endpoint, status, micros in blocks:
                state.add(endpoint, status, micros)
            count += len(requests)
        best = min(best, used * 1e6 / count)
    return best


class _State:
    """One second's counters and sketch, and those of each endpoint."""

    def __init__(self, endpoints: int) -> None:
        self._classes = np.zeros(CLASSES, np.int64)
        self._micros = 0
        self._sketch = np.zeros(sketch.BINS, np.int64)
        self._requests = np.zeros(endpoints, np.int64)
        self._failed = np.zeros(endpoints, np.int64)
        self._sums = np.zeros(endpoints, np.int64)
        self._sketches = np.zeros(endpoints * sketch.BINS, np.int32)

    def add(
        self,
        endpoint: np.ndarray[tuple[int], np.dtype[np.int64]],
        status: np.ndarray[tuple[int], np.dtype[np.uint16]],
        micros: np.ndarray[tuple[int], np.dtype[np.int64]],
    ) -> None:
        endpoints = len(self._requests)
        bins = sketch.bins_of(micros)
        self._classes += np.bincount(status // 100, minlength=CLASSES)
        self._micros += int(micros.sum())
        self._sketch += np.bincount(bins, minlength=sketch.BINS)
        self._requests += np.bincount(endpoint, minlength=endpoints)
        self._failed += np.bincount(endpoint[status >= 400], minlength=endpoints)
        np.add.at(self._sums, endpoint, micros)
        np.add.at(self._sketches, endpoint * sketch.BINS + bins, np.int32(1))

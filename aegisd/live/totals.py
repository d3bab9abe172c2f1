"""Counts of requests since the start, for those who read counters that never go down."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Text
from aegisd.events.counters import OTHER, OUTCOME_CLASSES, OUTCOMES, STATUS_CLASSES
from aegisd.stats import sketch

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
"""The methods of RFC 9110 and 5789, counted one by one. A client may send any other text."""

_CODES: dict[str | None, int] = {method: code for code, method in enumerate(METHODS)}

ByStatus = dict[str, int]
"""A number of requests for each of STATUS_CLASSES."""


@frozen(eq=False)
class RequestTotals:
    """Requests since the start, and of an endpoint or backend since it is followed.

    An endpoint or backend that is no longer followed starts at 0 when it is followed again.
    """

    methods: dict[str, ByStatus]
    backends: dict[str, ByStatus]
    backends_followed: int
    endpoints: dict[tuple[str, str], ByStatus]
    durations: sketch.Counts


class SinceStart:
    """All requests by method and outcome, and the sketch of their durations."""

    def __init__(self) -> None:
        self._by_method = np.zeros((len(METHODS) + 1, OUTCOMES), np.int64)
        self._durations = np.zeros(sketch.BINS, np.int64)

    def add(self, methods: Text, outcomes: NDArray[np.intp], bins: NDArray[np.intp]) -> None:
        """Count requests, and the bins of those that have a duration."""
        codes = [_CODES.get(method, len(METHODS)) for method in methods.values]
        cells = np.array(codes)[methods.index] * OUTCOMES + outcomes
        counts = np.bincount(cells, minlength=self._by_method.size)
        self._by_method += counts.reshape(self._by_method.shape)
        self._durations += np.bincount(bins, minlength=sketch.BINS)

    def by_method(self) -> dict[str, ByStatus]:
        """Requests by method and class of status; OTHER is every unknown method."""
        return {
            method: by_status(outcomes)
            for method, outcomes in zip((*METHODS, OTHER), self._by_method, strict=True)
        }

    def durations(self) -> sketch.Counts:
        """A copy of the sketch."""
        return self._durations.copy()


def by_status(outcomes: Integers) -> ByStatus:
    """Requests by class of status, from those by outcome."""
    return dict(zip(STATUS_CLASSES, (outcomes @ OUTCOME_CLASSES).tolist(), strict=True))

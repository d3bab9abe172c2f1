"""The latest reports: each backend's state, and each source's number of connections.

A backend or source without a report for PRESENCE_SECONDS is forgotten. Their numbers are bounded:
the one whose report arrived longest ago makes room. Seconds are those of a ``Timeline``.
"""

from typing import Generic, TypeVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Block, Integers
from aegisd.events.protocol import PRESENCE_SECONDS
from aegisd.events.units import SECOND_US
from aegisd.stats.grouping import latest_of_each

MAX_BACKENDS = 1000
MAX_CONNECTION_SOURCES = 10_000

NO_SOURCE = ""  # of system reports that name no source


@frozen
class BackendState:
    """A backend's latest report. ``last_seen`` is in microseconds since 1970."""

    name: str
    status: str
    response_time: int | None  # microseconds
    circuit_breaker: str | None
    last_seen: int


T = TypeVar("T")


def _earliest(now: int) -> int:
    """The earliest time, in microseconds, whose reports count in the second ``now``."""
    return (now - PRESENCE_SECONDS + 1) * SECOND_US


class LatestReports(Generic[T]):
    """The value of each name's latest report.

    The latest is the one with the latest time, in microseconds; of equal times, the last arrival.
    The dict is in the order of arrival: so room is made by removing its first name.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[str, tuple[int, T]] = {}

    def put(self, name: str, time: int, value: T) -> None:
        """Take a report; it counts unless a later one is known."""
        known = self._values.pop(name, None)
        if known is None and len(self._values) >= self._limit:
            del self._values[next(iter(self._values))]
        self._values[name] = known if known is not None and known[0] > time else (time, value)

    def forget(self, now: int) -> None:
        """Remove the names whose latest report is too old; ``now`` is a second."""
        earliest = _earliest(now)
        silent = [name for name, (time, _) in self._values.items() if time < earliest]
        for name in silent:
            del self._values[name]

    def values(self) -> list[T]:
        """The values, in the order of the names."""
        return [self._values[name][1] for name in sorted(self._values)]


def _latest_rows(names: NDArray[np.int32], times: Integers, now: int) -> list[int]:
    """The row of each name's latest report, if that is not too old; in the order of arrival.

    Other reports change nothing. So a block costs for each name in it, not for each report.
    """
    heard = (times >= _earliest(now)).nonzero()[0]
    rows: list[int] = heard[latest_of_each(names[heard], times[heard])].tolist()
    return rows


class Presence:
    """The backends' and the sources' latest reports."""

    def __init__(self) -> None:
        self.backends: LatestReports[BackendState] = LatestReports(MAX_BACKENDS)
        self.connections: LatestReports[int] = LatestReports(MAX_CONNECTION_SOURCES)

    def add_backends(self, block: Block, times: Integers, now: int) -> None:
        """Take backend reports; ``times`` are their timestamps on the line, in microseconds."""
        names, status = block.texts["backend_name"], block.texts["status"]
        breakers = block.texts["circuit_breaker"]
        responses, timestamps = block.numbers["response_time_us"], block.numbers["timestamp"]
        for row in _latest_rows(names.index, times, now):
            response = int(responses[row])
            state = BackendState(
                names.row(row) or "",
                status.row(row) or "",
                None if response == ABSENT else response,
                breakers.row(row),
                int(timestamps[row]),
            )
            self.backends.put(state.name, int(times[row]), state)

    def add_systems(self, block: Block, times: Integers, now: int) -> None:
        """Take system reports; ``times`` as for ``add_backends``."""
        sources, connections = block.texts["source"], block.numbers["active_connections"]
        for row in _latest_rows(sources.index, times, now):
            source = sources.row(row) or NO_SOURCE
            self.connections.put(source, int(times[row]), int(connections[row]))

    def forget(self, now: int) -> None:
        """Remove what had no report for too long."""
        self.backends.forget(now)
        self.connections.forget(now)

"""Who was heard of lately: backends with their latest state, sources with their connections.

What is silent for five minutes is forgotten. Both are bounded in number: the one that reported
longest ago makes room. Seconds are those of a ``Timeline``.
"""

from typing import Generic, TypeVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Block, Integers
from aegisd.events.units import SECOND_US
from aegisd.stats.grouping import latest_of_each

SILENCE_SECONDS = 300
MAX_BACKENDS = 1000
MAX_CONNECTION_SOURCES = 10_000

NO_SOURCE = ""


@frozen
class BackendState:
    """A backend's latest report. ``last_seen`` is in microseconds since 1970."""

    name: str
    status: str
    response_time: int | None  # microseconds
    circuit_breaker: str | None
    last_seen: int


T = TypeVar("T")


def _oldest(now: int) -> int:
    """The first microsecond that is not silent too long in the second ``now``."""
    return (now - SILENCE_SECONDS + 1) * SECOND_US


class Latest(Generic[T]):
    """The latest value of each name, by the time it bears; equal times: the later arrival.

    Times are in microseconds, so that two reports of one second keep their order. The dict is
    in the order of arrival: making room looks at its first name only, whatever the number.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[str, tuple[int, T]] = {}

    def put(self, name: str, time: int, value: T) -> None:
        """Take a report."""
        known = self._values.pop(name, None)
        if known is None and len(self._values) >= self._limit:
            del self._values[next(iter(self._values))]
        self._values[name] = known if known is not None and known[0] > time else (time, value)

    def forget(self, now: int) -> None:
        """Forget what was silent too long; ``now`` is a second."""
        oldest = _oldest(now)
        silent = [name for name, (time, _) in self._values.items() if time < oldest]
        for name in silent:
            del self._values[name]

    def values(self) -> list[T]:
        """What is there, by name."""
        return [self._values[name][1] for name in sorted(self._values)]


def _latest(names: NDArray[np.int32], times: Integers, now: int) -> list[int]:
    """The row of each name's latest report; the names in the order of their last arrival.

    Only these count, so a block costs for each name in it, not for each report.
    """
    heard = (times >= _oldest(now)).nonzero()[0]
    rows: list[int] = heard[latest_of_each(names[heard], times[heard])].tolist()
    return rows


class Presence:
    """Backends and connections."""

    def __init__(self) -> None:
        self.backends: Latest[BackendState] = Latest(MAX_BACKENDS)
        self.connections: Latest[int] = Latest(MAX_CONNECTION_SOURCES)

    def add_backends(self, block: Block, times: Integers, now: int) -> None:
        """Take a block of backend reports; ``times`` are its timestamps on the ``Timeline``."""
        names, status = block.texts["backend_name"], block.texts["status"]
        breakers = block.texts["circuit_breaker"]
        responses, timestamps = block.numbers["response_time_us"], block.numbers["timestamp"]
        for row in _latest(names.index, times, now):
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
        """Take a block of the gateways' own figures; ``times`` as in ``add_backends``."""
        sources, connections = block.texts["source"], block.numbers["active_connections"]
        for row in _latest(sources.index, times, now):
            source = sources.row(row) or NO_SOURCE
            self.connections.put(source, int(times[row]), int(connections[row]))

    def forget(self, now: int) -> None:
        """Forget what was silent too long."""
        self.backends.forget(now)
        self.connections.forget(now)

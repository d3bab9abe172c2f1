"""Who was heard of lately: backends with their latest state, sources with their connections.

What is silent for five minutes is forgotten. Both are bounded in number: the one silent
longest makes room. Seconds are those of a ``Timeline``.
"""

from typing import Generic, TypeVar

from attrs import frozen

from aegisd.wire.block import ABSENT, Block

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


class Latest(Generic[T]):
    """The latest value of each name, by the time it bears; equal times: the later arrival."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[str, tuple[int, T]] = {}

    def put(self, name: str, second: int, value: T) -> None:
        """Take a report."""
        known = self._values.get(name)
        if known is not None and known[0] > second:
            return
        if known is None and len(self._values) >= self._limit:
            del self._values[min(self._values, key=lambda n: self._values[n][0])]
        self._values[name] = (second, value)

    def forget(self, now: int) -> None:
        """Forget what was silent too long."""
        silent = [n for n, (second, _) in self._values.items() if second <= now - SILENCE_SECONDS]
        for name in silent:
            del self._values[name]

    def values(self) -> list[T]:
        """What is there, by name."""
        return [self._values[name][1] for name in sorted(self._values)]


class Presence:
    """Backends and connections."""

    def __init__(self) -> None:
        self.backends: Latest[BackendState] = Latest(MAX_BACKENDS)
        self.connections: Latest[int] = Latest(MAX_CONNECTION_SOURCES)

    def add_backends(self, block: Block, seconds: list[int], now: int) -> None:
        """Take a block of backend reports."""
        rows = zip(
            block.texts["backend_name"].rows(),
            block.texts["status"].rows(),
            block.numbers["response_time_ms"].tolist(),
            block.texts["circuit_breaker"].rows(),
            block.numbers["timestamp"].tolist(),
            seconds,
            strict=True,
        )
        for name, status, response, breaker, timestamp, second in rows:
            if second > now - SILENCE_SECONDS and name is not None and status is not None:
                time = None if response == ABSENT else response
                state = BackendState(name, status, time, breaker, timestamp)
                self.backends.put(name, second, state)

    def add_systems(self, block: Block, seconds: list[int], now: int) -> None:
        """Take a block of the gateways' own figures."""
        connections = block.numbers["active_connections"].tolist()
        sources = block.texts["source"].rows()
        for source, count, second in zip(sources, connections, seconds, strict=True):
            if second > now - SILENCE_SECONDS:
                self.connections.put(source or NO_SOURCE, second, count)

    def forget(self, now: int) -> None:
        """Forget what was silent too long."""
        self.backends.forget(now)
        self.connections.forget(now)

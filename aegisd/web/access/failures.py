"""Counts wrong tokens, so that nobody tries many. Pure: time comes in as an argument."""

import math

from attrs import define

MAX_FAILURES = 10
"""Of one network in a window. A person who mistypes needs fewer; guessing needs billions."""

WINDOW_SECONDS = 60

MAX_NETWORKS = 10_000
"""That are remembered; the one whose window began first is forgotten. Some 2 MB."""


@define
class _Window:
    ends: float
    failures: int = 0


class Failures:
    """Wrong tokens of the last minute, by network. A window begins with its first failure."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}  # in the order in which they began

    def add(self, network: str, now: float) -> None:
        """Count a wrong token."""
        window = self._windows.get(network)
        if window is None or window.ends <= now:
            self._windows.pop(network, None)
            if len(self._windows) >= MAX_NETWORKS:
                del self._windows[next(iter(self._windows))]
            window = self._windows[network] = _Window(now + WINDOW_SECONDS)
        window.failures += 1

    def wait(self, network: str, now: float) -> int:
        """Seconds until the network may try again; 0 where it may now."""
        window = self._windows.get(network)
        if window is None or window.ends <= now or window.failures < MAX_FAILURES:
            return 0
        return math.ceil(window.ends - now)

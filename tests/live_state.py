"""A live state that tests feed with messages, as the daemon does."""

from typing import Any

from sample_events import MAX_AGE, MICROSECONDS, NOW, pack

from aegisd.config.settings import Privacy
from aegisd.live.state import LiveState
from aegisd.wire.decode import Decoder
from aegisd.wire.naming.endpoints import EndpointNamer


class Live:
    """Bursts in, figures out; ``wall`` and ``steady`` are set by the test."""

    def __init__(self, limit: int = 2000, wall: float = NOW) -> None:
        self.wall, self.steady = wall, 1000.0
        self.state = LiveState(limit, self.wall, self.steady)
        self._decoder = Decoder(MAX_AGE, Privacy(), EndpointNamer(templates=True))

    def burst(self, *messages: Any) -> None:
        """Take messages as one burst."""
        self.state.advance(self.wall, self.steady)
        now = round(self.wall * MICROSECONDS)
        for part in self._decoder.decode([pack(message) for message in messages], now):
            for block in part.blocks:
                self.state.apply(block)

    def wait(self, seconds: float) -> None:
        """Both clocks go on."""
        self.wall += seconds
        self.steady += seconds
        self.state.advance(self.wall, self.steady)

    def set_clock(self, step: float) -> None:
        """The wall clock is set."""
        self.wall += step
        self.state.advance(self.wall, self.steady)

    def requests(self, window: str) -> int:
        return self.state.window(window).counters["requests"]

    def top(self) -> dict[str, int]:
        """Requests by path."""
        return {figures.path: figures.requests for figures in self.state.top_endpoints(10**6)}

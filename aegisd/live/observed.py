"""The backends that requests name: what requests tell of a backend, whether it reports or not.

They are followed as endpoints are (``busiest``), as endpoints without a method.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.block import Integers, Text
from aegisd.live.busiest import BusiestEndpoints
from aegisd.stats.durations import Durations

MAX_OBSERVED = 500
"""So many backends are followed, 6 kB each; then the rarest gives way to one that is seen more.
Gateways have tens; the bound is for one that names each instance by its address, or garbage."""

MAX_COUNTED = 100
"""So many backends have totals of their own for Prometheus, where each is five series."""

NO_METHOD = ""


@frozen
class ObservedBackend:
    """One backend's last hour. ``average_us``, ``p95_us``: None if no request had a duration."""

    name: str
    requests: int
    failed: int
    average_us: float | None
    p95_us: float | None
    last_seen: int  # the latest request's timestamp, in microseconds


class ObservedBackends:
    """The followed backends. Seconds and times are those of a ``Timeline``."""

    def __init__(self, now: int) -> None:
        self._busiest = BusiestEndpoints(MAX_OBSERVED, now, method_of_others=NO_METHOD)

    def advance(self, now: int) -> None:
        """Close the open slot if its five minutes are over."""
        self._busiest.advance(now)

    def add(
        self, names: Text, outcomes: NDArray[np.intp], times: Integers, durations: Durations
    ) -> None:
        """Count the requests that name a backend; ``times`` in microseconds."""
        is_name = [bool(name) for name in names.values]
        if not any(is_name):
            return
        if not all(is_name):
            named = np.array(is_name)[names.index]
            if not named.any():
                return
            names = Text(names.values, names.index[named])
            outcomes, times, durations = outcomes[named], times[named], durations.where(named)
        methods = Text.constant(NO_METHOD, len(times))
        self._busiest.add(methods, names, outcomes, times, durations)

    def figures(self) -> list[ObservedBackend]:
        """Those with most requests first; what is counted for none of them comes last."""
        return [
            ObservedBackend(f.path, f.requests, f.failed, f.average_us, f.p95_us, f.last_seen)
            for f in self._busiest.top(MAX_OBSERVED + 1)
        ]

    @property
    def followed(self) -> int:
        """How many are followed."""
        return self._busiest.followed

    def totals(self) -> list[tuple[str, Integers]]:
        """The ``totals`` of ``BusiestEndpoints``, by name."""
        return [(name, outcomes) for (_, name), outcomes in self._busiest.totals(MAX_COUNTED)]

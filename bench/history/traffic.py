"""The traffic of the history benchmark: requests and decisions as Blocks, the same each time.

Durations are a mixture: most are lognormal about a median of their endpoint, one in twenty is
Pareto with a tail that reaches to minutes. Endpoints and keys follow Zipf's law.
"""

import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import ABSENT, Block, Integers, Text
from aegisd.events.protocol import BACKEND, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.events.units import SECOND_US
from aegisd.stats import sketch
from aegisd.store.schema.levels import DAY, HOUR
from bench import events

MEDIAN_US, SIGMA = 12_000, 0.8
SPREAD = 0.7  # sigma of the endpoints' medians, which are lognormal
TAIL_SHARE, TAIL_FROM_US, TAIL_EXPONENT = 0.05, 50_000, 1.3
LATE_SHARE = 0.01
DECISIONS_SHARE = 0.05
DENIED_SHARE = 0.1
KEYS = 1000
CLIENTS = 5000
BACKENDS = 5
RHYTHM, BUSIEST_HOUR = 0.8, 14
"""The busiest hour of a day has nine times the requests of the quietest."""

STRETCH = 3 * HOUR * SECOND_US
"""A stretch has one rate and is folded at once: 80,000 requests of 20,000,000 in a month."""

Stamps = NDArray[np.int64]


class Traffic:
    """A source of events for ``endpoints`` endpoints."""

    def __init__(self, endpoints: int, seed: int = events.SEED) -> None:
        self._random = np.random.default_rng(seed)
        names = events.make_requests(endpoints, 1).names
        self._methods = sorted({method for method, _ in names})
        self._method_of = np.array([self._methods.index(m) for m, _ in names], np.int32)
        self._paths = [path for _, path in names]
        self._shares = _zipf(endpoints)
        self._medians = self._random.lognormal(np.log(MEDIAN_US), SPREAD, endpoints)
        self._keys = [f"client-{i:05}" for i in range(KEYS)]
        self._key_shares = _zipf(KEYS)
        self._clients: list[str | None] = [
            f"198.51.{i // 250}.{i % 250 + 1}" for i in range(CLIENTS)
        ]
        self._backends: list[str | None] = [f"backend-{i}" for i in range(BACKENDS)]

    def stamps(self, count: int, start: int, end: int, *, late: bool = True) -> Stamps:
        """The times of events that arrive from ``start`` to ``end`` (microseconds), in order.

        ``late`` ones happened up to a day before.
        """
        stamps = np.sort(self._random.integers(start, end, count))
        if late:
            those = self._random.random(count) < LATE_SHARE
            back = self._random.integers(0, DAY * SECOND_US, count)
            stamps = np.where(those, stamps - back, stamps)
        return stamps

    def requests(self, stamps: Stamps) -> Block:
        """Requests at these times."""
        size = len(stamps)
        which = self._random.choice(len(self._paths), size, p=self._shares).astype(np.int32)
        statuses, shares = list(events.STATUSES), list(events.STATUSES.values())
        status = self._random.choice(statuses, size, p=shares).astype(np.int16)
        paths = Text(self._paths, which)
        return Block(
            REQUEST,
            size,
            {"timestamp": stamps, "status_code": status, "duration_us": self._durations(which)},
            {
                "method": Text(self._methods, self._method_of[which]),
                "path": paths,
                "endpoint": paths,
                "backend": Text(self._backends, self._any(BACKENDS, size)),
                "client_ip": Text(self._clients, self._any(CLIENTS, size)),
                "error_message": Text(
                    [None, "upstream timed out"], (status >= 500).astype(np.int32)
                ),
            },
        )

    def decisions(self, stamps: Stamps) -> Block:
        """Rate-limit decisions on a part of the requests at these times."""
        mine = stamps[self._random.random(len(stamps)) < DECISIONS_SHARE]
        keys = self._random.choice(KEYS, len(mine), p=self._key_shares).astype(np.int32)
        return Block(
            RATE_LIMIT,
            len(mine),
            {
                "timestamp": mine,
                "allowed": self._random.random(len(mine)) >= DENIED_SHARE,
                "remaining": np.full(len(mine), 10),
                "limit": np.full(len(mine), 100),
            },
            {"key": Text(self._keys, keys)},
        )

    def reports(self, moment: int) -> list[Block]:
        """A node's reports of its backends and connections."""
        stamps = np.full(BACKENDS, moment)
        numbers = {"timestamp": stamps, "response_time_us": np.full(BACKENDS, 12_000)}
        texts = {
            "backend_name": Text(self._backends, np.arange(BACKENDS, dtype=np.int32)),
            "status": Text.constant("healthy", BACKENDS),
            "circuit_breaker": Text.constant("closed", BACKENDS),
        }
        one = {name: np.full(1, ABSENT) for name in ("memory_bytes", "open_files")}
        one |= {"timestamp": stamps[:1], "active_connections": np.full(1, 100)}
        return [
            Block(BACKEND, BACKENDS, numbers, texts),
            Block(
                SYSTEM,
                1,
                {**one, "cpu_percent": np.full(1, 10.0)},
                {"source": Text.constant("gateway", 1)},
            ),
        ]

    def _durations(self, which: NDArray[np.int32]) -> Integers:
        size = len(which)
        body = self._random.lognormal(0, SIGMA, size) * self._medians[which]
        tail = TAIL_FROM_US * (1 + self._random.pareto(TAIL_EXPONENT, size))
        micros = np.where(self._random.random(size) < TAIL_SHARE, tail, body)
        return np.clip(np.rint(micros), 1, sketch.MAX_VALUE).astype(np.int64)

    def _any(self, count: int, size: int) -> NDArray[np.int32]:
        return self._random.integers(0, count, size).astype(np.int32)


def stretches(rows: int, start: int, end: int) -> list[tuple[int, int, int]]:
    """Start, end and count of each stretch: ``rows`` spread by the rhythm of day and night."""
    starts = np.arange(start, end, STRETCH)
    ends = np.append(starts[1:], end)
    angle = 2 * np.pi * ((starts + STRETCH / 2) / (HOUR * SECOND_US) - BUSIEST_HOUR) / 24
    weights = (1 + RHYTHM * np.cos(angle)) * (ends - starts)
    edges = np.rint(np.append(0, weights.cumsum()) / weights.sum() * rows).astype(np.int64)
    counts = np.diff(edges)
    return list(zip(starts.tolist(), ends.tolist(), counts.tolist(), strict=True))


def _zipf(count: int) -> NDArray[np.float64]:
    weights = 1 / np.arange(1, count + 1) ** events.ZIPF_EXPONENT
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares

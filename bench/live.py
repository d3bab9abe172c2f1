"""CPU time of the live state: ``python bench/live.py`` prints a table.

Blocks of one size and a choice of endpoints are applied again and again. The result is the least
CPU time of several rounds, since a busy machine only adds to it. A round reads the endpoints once
at its end, as the daemon does each second, so that work put off until then is counted too. The
floor beside it is one thread of plain numpy that makes the same sketches and counts; its endpoints
are numbers already and in its caches.
"""

import time
from collections.abc import Callable

import numpy as np
from attrs import frozen

from aegisd.events.block import ABSENT, Block, Text
from aegisd.events.counters import OUTCOME, OUTCOME_FAILS
from aegisd.events.protocol import REQUEST
from aegisd.live.state import LiveState
from aegisd.stats import sketch

NOW = 1_790_000_000
MICROSECONDS = 1_000_000
LIMIT = 2000
SIZES = (1, 64, 512, 1024, 4096)
ENDPOINTS = (200, 2000)
EVENTS = 200_000  # about, in a round; fewer if blocks are small
MOST_APPLIES = 2000
ROUNDS = 7
BLOCKS = 32  # different ones, so that caches don't hold the result
ZIPF = 1.1
METHODS = ["GET", "POST", "PUT", "DELETE"]
STATUSES = np.array([200] * 80 + [0, 101, 201, 204, 301, 304, 400, 401, 404, 429, 500, 502, 503])

RNG = np.random.default_rng(7460)


@frozen
class Shape:
    """The seconds that a burst spans, the share without a duration, and how many backends."""

    seconds: int = 1
    untimed: float = 0.0
    backends: int = 0


SHAPES = {
    "one second": Shape(),
    "two seconds": Shape(seconds=2),
    "a tenth untimed": Shape(untimed=0.1),
    "20 backends": Shape(backends=20),
}


def block(size: int, endpoints: int, shape: Shape) -> Block:
    """A burst: its endpoints follow Zipf's law; each text once, in order of its first event."""
    shares = 1 / np.arange(1, endpoints + 1) ** ZIPF
    drawn = RNG.choice(endpoints, size, p=shares / shares.sum())
    micros = np.clip(np.rint(RNG.lognormal(10, 1.5, size)), 1, sketch.MAX_VALUE).astype(np.int64)
    micros[RNG.random(size) < shape.untimed] = ABSENT
    start = NOW * MICROSECONDS + (1 - shape.seconds) * MICROSECONDS
    stamps = np.sort(RNG.integers(start, (NOW + 1) * MICROSECONDS, size))
    return Block(
        REQUEST,
        size,
        {
            "status_code": RNG.choice(STATUSES, size).astype(np.int16),
            "duration_us": micros,
            "timestamp": stamps,
        },
        {
            "method": Text.of([METHODS[n % len(METHODS)] for n in drawn.tolist()]),
            "endpoint": Text.of([f"/api/v1/resource{n // 3}/list" for n in drawn.tolist()]),
            "backend": Text.of(
                [f"10.0.0.{n % shape.backends}:8080" for n in drawn.tolist()]
                if shape.backends
                else [None] * size
            ),
        },
    )


class Floor:
    """The same sketch and counts, of all events and of each endpoint, in plain numpy."""

    def __init__(self) -> None:
        self.outcomes = np.zeros(len(OUTCOME_FAILS), np.int64)
        self.sketch = np.zeros(sketch.BINS, np.int64)
        self.requests, self.failed, self.sums = np.zeros((3, LIMIT), np.int64)
        self.sketches = np.zeros(LIMIT * sketch.BINS, np.int32)

    def add(self, block: Block) -> None:
        status, endpoint = block.numbers["status_code"], block.texts["endpoint"].index
        micros = block.numbers["duration_us"]
        self.outcomes += np.bincount(OUTCOME[status], minlength=len(OUTCOME_FAILS))
        self.requests += np.bincount(endpoint, minlength=LIMIT)
        self.failed += np.bincount(endpoint[status >= 400], minlength=LIMIT)
        timed = micros != ABSENT
        micros, endpoint = micros[timed], endpoint[timed]
        bins = np.ceil(np.log(micros) * (1 / np.log(sketch.GAMMA))).astype(np.int64) + 1
        self.sketch += np.bincount(bins, minlength=sketch.BINS)
        np.add.at(self.sums, endpoint, micros)
        np.add.at(self.sketches, endpoint * np.int64(sketch.BINS) + bins, np.int32(1))


def least(run: Callable[[], None]) -> float:
    """CPU seconds of the quickest round."""
    found = []
    for _ in range(ROUNDS):
        before = time.process_time()
        run()
        found.append(time.process_time() - before)
    return min(found)


def measure(size: int, endpoints: int, shape: Shape) -> tuple[float, float]:
    """Seconds of one apply, of the live state and of the floor."""
    blocks = [block(size, endpoints, shape) for _ in range(BLOCKS)]
    applies = max(BLOCKS, min(MOST_APPLIES, EVENTS // size))
    plan = [blocks[i % BLOCKS] for i in range(applies)]
    live = LiveState(LIMIT, NOW + 0.5, 0.0)

    def run() -> None:
        for one in plan:
            live.apply(one)
        live.top_endpoints(10)

    run()
    read = least(lambda: live.top_endpoints(10) and None)
    floor = Floor()

    def plain() -> None:
        for one in plan:
            floor.add(one)

    return (least(run) - read) / applies, least(plain) / applies


def main() -> None:
    print(f"{'endpoints':>9} {'block':>6} {'':16}{'us/apply':>9} {'ns/event':>9} {'x floor':>8}")
    for endpoints in ENDPOINTS:
        for size in SIZES:
            for name, shape in SHAPES.items():
                taken, plain = measure(size, endpoints, shape)
                events = f"{taken * 1e6:9.1f} {taken / size * 1e9:9.1f} {taken / plain:8.1f}"
                print(f"{endpoints:9} {size:6} {name:16}{events}", flush=True)


if __name__ == "__main__":
    main()

"""A million distinct paths, through the naming of endpoints and the live state."""

import os
from pathlib import Path

import numpy as np
from sample_events import MICROSECONDS, NOW, word

from aegisd.events.block import Block, Text
from aegisd.events.counters import OTHER
from aegisd.events.protocol import REQUEST
from aegisd.live.state import LiveState
from aegisd.wire.naming.endpoints import EndpointNamer

LIMIT = 2000
EVENTS, SIZE = 1_000_000, 10_000
SECONDS_A_BLOCK = 33  # 55 minutes in all: eleven slots are closed, and the hour still holds all
SETTLED = 200_000  # events after which what has a bound has come to it, but for closed slots

PATH_CHARACTERS = 250
MAX_GROWTH_BYTES = 120 * 1024 * 1024
MAX_GROWTH_ONCE_SETTLED = 60 * 1024 * 1024
"""The paths alone, were they kept, are 300 MB, and 240 MB from where all is settled."""


def block(first: int, now: int) -> Block:
    """Requests for distinct paths: of ten, eight are a scanner's, one a user's, one a file's."""
    numbers = range(first, first + SIZE)
    filler = ".html" * PATH_CHARACTERS  # no identifier
    forms = [f"/scan/{{}}{filler}"[: PATH_CHARACTERS - 6] for _ in range(8)]
    forms += ["/users/{}", f"/files/{{}}/{filler}"[: PATH_CHARACTERS - 6]]
    paths = [forms[n % 10].format(n if n % 10 == 8 else word(n)) for n in numbers]
    return Block(
        REQUEST,
        SIZE,
        {
            "timestamp": np.full(SIZE, now * MICROSECONDS, np.int64),
            "status_code": np.full(SIZE, 200, np.int16),
            "duration_us": np.arange(first, first + SIZE, dtype=np.int64),
        },
        {
            "method": Text.constant("GET", SIZE),
            "path": Text(paths, np.arange(SIZE, dtype="i4")),
            "route": Text.constant(None, SIZE),
            "backend": Text.constant(None, SIZE),
        },
    )


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_million_distinct_paths_take_bounded_memory_and_are_all_counted() -> None:
    naming = EndpointNamer(templates=True, patterns=["/files/{path*}"])
    live = LiveState(LIMIT, NOW, 0.0)
    growth = {}
    before = resident()
    for i, first in enumerate(range(0, EVENTS, SIZE)):
        now = NOW + i * SECONDS_A_BLOCK
        live.advance(now, now - NOW)
        live.apply(naming.name(block(first, now)))
        growth[first + SIZE] = resident() - before

    figures = {f.path: f.requests for f in live.top_endpoints(EVENTS)}
    assert sum(figures.values()) == EVENTS
    assert (figures["/users/{id}"], figures["/files/{path*}"]) == (EVENTS // 10, EVENTS // 10)
    assert figures[OTHER] == EVENTS * 8 // 10 - (LIMIT - 2)
    assert len(figures) == LIMIT + 1
    assert live.window("1h").counters["requests"] == EVENTS

    assert growth[EVENTS] < MAX_GROWTH_BYTES
    assert growth[EVENTS] - growth[SETTLED] < MAX_GROWTH_ONCE_SETTLED

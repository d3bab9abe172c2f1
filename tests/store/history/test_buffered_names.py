"""Lists of names over events that wait: right, and without a sketch for each name."""

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store.cluster import bounded
from store.databases import (
    DAY,
    NODE,
    NOON,
    begin,
    block,
    database,
    eventually,
    running,
    storage_in,
    write,
)

from aegisd.events.block import Block, Text
from aegisd.events.counters import OTHER
from aegisd.events.protocol import RATE_LIMIT, REQUEST
from aegisd.events.units import SECOND_US
from aegisd.store.history.history import History
from aegisd.store.history.ranges import Range
from aegisd.store.rollups.rollup import MAX_NAMES

MINUTE = 60 * SECOND_US
NAMES = 20_000
MINUTES = NAMES // MAX_NAMES
RANGE = Range(NOON - MINUTES * MINUTE, NOON, 900)

BYTES_A_NAME = 500
"""Of a list. A sketch alone would take 12 kB."""


def named(kind: str, column: str, count: int) -> Block:
    """An event for each of so many names, no more of them in a minute than are kept."""
    one = block(kind, [{}])
    order = np.arange(count, dtype=np.int32)
    numbers = {name: np.repeat(values, count) for name, values in one.numbers.items()}
    numbers["timestamp"] = NOON - MINUTE - order.astype(np.int64) // MAX_NAMES * MINUTE
    texts = {name: Text.constant(text.values[0], count) for name, text in one.texts.items()}
    texts[column] = Text([f"{i:06}" for i in range(count)], order)
    return Block(kind, count, numbers, texts)


async def listed(history: History, kind: str, limit: int) -> list[Any]:
    if kind == REQUEST:
        return (await history.top_endpoints(RANGE, None, limit)).figures
    return (await history.rate_limits(RANGE, None, limit)).figures[2]


@pytest.mark.parametrize(("kind", "column"), [(REQUEST, "endpoint"), (RATE_LIMIT, "key")])
@bounded
async def test_list_of_names_makes_no_sketch_for_each_waiting_name(
    dsn: str, tmp_path: Path, kind: str, column: str
) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await begin(postgres, NOON - 40 * DAY)
        storage.append([named(kind, column, NAMES)])
        history = History(postgres, storage.backlog, NODE)
        gc.collect()
        tracemalloc.start()
        try:
            found = await listed(history, kind, 10)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    names = [row.path if kind == REQUEST else row.key for row in found]
    assert names == [f"{i:06}" for i in range(10)]
    assert peak < NAMES * BYTES_A_NAME


def crowded() -> list[Block]:
    """More names in a minute than are kept, some of them what stands for the rest."""
    minutes = [NOON - (1 + i % 3) * MINUTE for i in range(900)]
    names = [OTHER if i % 50 == 0 else f"/{i % 7 * i}" for i in range(900)]
    requests = [
        {
            "timestamp": moment,
            "method": OTHER if i % 100 == 0 else "GET",
            "endpoint": name,
            "status_code": 500 if i % 4 == 0 else 200,
            "duration_us": i * 1000,
        }
        for i, (moment, name) in enumerate(zip(minutes, names, strict=True))
    ]
    decisions = [
        {"timestamp": moment, "key": name, "allowed": i % 3 > 0}
        for i, (moment, name) in enumerate(zip(minutes, names, strict=True))
    ]
    return [block(REQUEST, requests), block(RATE_LIMIT, decisions)]


@pytest.mark.parametrize("limit", [1, 3, 100, 1000])
@bounded
async def test_waiting_names_are_listed_like_stored_ones(
    dsn: str, tmp_path: Path, limit: int
) -> None:
    """Some are of the database, too, and some lie outside of the range."""
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await begin(postgres, NOON - 40 * DAY)
        await write(postgres, *crowded(), node="other")
        outside = [{"timestamp": NOON, "endpoint": "/2"}] * 900
        storage.append([*crowded(), block(REQUEST, outside)])
        history = History(postgres, storage.backlog, NODE)
        waiting = [await listed(history, kind, limit) for kind in (REQUEST, RATE_LIMIT)]
        async with running(storage.writer):
            await eventually(lambda: not storage.backlog.events)
        stored = [await listed(history, kind, limit) for kind in (REQUEST, RATE_LIMIT)]
    assert waiting == stored
    if limit == 1000:
        assert sum(row.requests for row in waiting[0]) == 1800
        assert sum(row.checked for row in waiting[1]) == 1800
        assert waiting[1][-1].key == OTHER

"""Weeks of three nodes' events: stored and folded bit by bit, some late, the last not folded."""

import random
from typing import Any

from attrs import frozen
from store.databases import DAY, NOON, ask, block, write
from store.folds import Time

from aegisd.events.units import SECOND_US
from aegisd.store.database.postgres import Postgres
from aegisd.store.schema.levels import floor

MINUTE, HOUR = 60 * SECOND_US, 3600 * SECOND_US
NOW = NOON + 34 * MINUTE + 20 * SECOND_US  # within an hour and a minute that are not closed
NODES = ("a", "b", 'it\'s "c"')
STATUSES = (0, 101, 200, 200, 200, 204, 304, 399, 400, 404, 429, 500, 599, 600, 999)
_CHANCE = random.Random(7460)


@frozen
class Event:
    """What came in; the duration in microseconds, None where there was none."""

    moment: int
    node: str
    kind: str = "request"
    method: str = ""
    endpoint: str = ""
    status: int = 0
    duration: int | None = None
    key: str = ""
    allowed: bool = True


def _events(count: int, start: int, end: int, *nodes: str) -> list[Event]:
    made = []
    for _ in range(count):
        moment = _CHANCE.randrange(start, end)
        if _CHANCE.random() < 0.2:  # at the edge of a bucket
            moment = max(start, floor(moment, _CHANCE.choice([10, 60, 3600])))
        node = _CHANCE.choice(nodes)
        if _CHANCE.random() < 0.25:
            key, allowed = _CHANCE.choice(["k1", "k2", "k3"]), _CHANCE.random() < 0.7
            made.append(Event(moment, node, "rate_limit", key=key, allowed=allowed))
            continue
        durations = [None, 0, 1, _CHANCE.randrange(50_000), int(_CHANCE.lognormvariate(10, 2))]
        made.append(
            Event(
                moment,
                node,
                method=_CHANCE.choice(["GET", "POST"]),
                endpoint=_CHANCE.choice(["/", "/users/{id}", "/é", "(other)"]),
                status=_CHANCE.choice(STATUSES),
                duration=_CHANCE.choice(durations),
            )
        )
    return made


_A, _B, _C = NODES
STAGES = [  # what is stored, and when it is folded
    (_events(400, NOW - 19 * DAY, NOW - 10 * DAY, _A, _B), NOW - 10 * DAY),
    (_events(400, NOW - 10 * DAY, NOW - 3 * HOUR, _A), NOW - 3 * HOUR),  # one node by itself
    (
        _events(500, NOW - 3 * HOUR, NOW - 10 * MINUTE, *NODES)
        + _events(40, NOW - 5 * DAY, NOW - 4 * DAY, _C)
        + _events(40, NOW - 15 * DAY, NOW - 5 * HOUR, *NODES),
        NOW - 10 * MINUTE,
    ),
    (
        _events(300, NOW - 10 * MINUTE, NOW, *NODES)
        + _events(40, NOW - 2 * DAY, NOW, _B)
        + _events(40, NOW - 15 * DAY, NOW, *NODES),
        None,
    ),
]
EVENTS = [event for events, _ in STAGES for event in events]


async def fill(postgres: Postgres, dsn: str) -> None:
    """Store all that, from a database on that nothing was written to."""
    await postgres.prepare()
    await ask(
        dsn,
        "UPDATE rollup_progress SET folded_at = 'epoch', days_closed = to_timestamp($1),"
        " hours_closed = to_timestamp($1)",
        floor(NOW - 20 * DAY, 86_400) / SECOND_US,
    )
    for events, fold_at in STAGES:
        for node in NODES:
            await _store(postgres, [event for event in events if event.node == node], node)
        if fold_at is not None:
            assert await Time(fold_at).keeper(postgres).fold()


async def _store(postgres: Postgres, events: list[Event], node: str) -> None:
    requests: list[dict[str, Any]] = [
        {
            "timestamp": event.moment,
            "method": event.method,
            "path": event.endpoint,
            "endpoint": event.endpoint,
            "status_code": event.status,
        }
        | ({} if event.duration is None else {"duration_us": event.duration})
        for event in events
        if event.kind == "request"
    ]
    decisions = [
        {"timestamp": event.moment, "key": event.key, "allowed": event.allowed}
        for event in events
        if event.kind == "rate_limit"
    ]
    blocks = [block(kind, rows) for kind, rows in zip(KINDS, (requests, decisions), strict=True)]
    await write(postgres, *(each for each in blocks if each.size), node=node)


KINDS = ("request", "rate_limit")

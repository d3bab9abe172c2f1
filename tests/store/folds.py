"""Helpers of the folding tests: events of several nodes, and the rollups that these must give."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from attrs import define, frozen
from sketches import sketch_of
from store.databases import NODE, block, write

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Metrics
from aegisd.events.protocol import RATE_LIMIT, REQUEST
from aegisd.events.units import SECOND_US
from aegisd.stats import sketch
from aegisd.store.database.postgres import Postgres, Session
from aegisd.store.rollups.statement import binned
from aegisd.store.schema.levels import DAY, FINE, HOUR, MINUTE, ROLLUP_KINDS, RollupKind, floor
from aegisd.store.upkeep.maintainer import Maintainer

Key = tuple[Any, ...]
Figures = dict[Key, Key]


@define
class Time:
    """The database's time in microseconds since 1970, and a steady one in seconds."""

    now: int
    steady: float = 0.0
    here: int | None = None  # the time of this machine, where it is another one

    def pass_(self, seconds: float) -> None:
        """Let time pass on all clocks."""
        self.now += round(seconds * SECOND_US)
        self.steady += seconds

    def clocks(self) -> tuple[float, float]:
        return (self.now if self.here is None else self.here) / SECOND_US, self.steady

    async def database(self, _: Session) -> int:
        return self.now

    def keeper(self, postgres: Postgres, **settings: Any) -> "Keeper":
        """A maintainer that goes by this time."""
        alerts = AlertTable(postgres, NODE)
        return Keeper(postgres, Metrics(**settings), self.clocks, alerts, self.database)


class Keeper(Maintainer):
    """A maintainer that can also fold alone."""

    async def fold(self) -> bool:
        """Fold what the writers added, and no more; False where it is another's turn."""
        return await self._read_clock_and_policy() and await self._fold()


@frozen
class Event:
    """An event that a node accepted; the duration is in microseconds, None where there was none."""

    moment: int
    node: str
    kind: str
    names: tuple[str, ...]
    status: int = 0
    duration: int | None = None
    allowed: bool = True


def events(
    chance: random.Random, count: int, nodes: Iterable[str], moment: Callable[[], int]
) -> list[Event]:
    """``count`` events of ``nodes``, each at a moment that ``moment`` gives."""
    made = []
    for _ in range(count):
        node = chance.choice([*nodes])
        if chance.random() < 0.3:
            key, allowed = (chance.choice(["k", "é"]),), chance.random() < 0.5
            made.append(Event(moment(), node, RATE_LIMIT, key, allowed=allowed))
            continue
        names = (chance.choice(["GET", "POST"]), chance.choice(["/", "/é"]))
        duration = chance.choice([None, 0, int(chance.lognormvariate(10, 2))])
        status = chance.choice([0, 200, 200, 304, 429, 503])
        made.append(Event(moment(), node, REQUEST, names, status, duration))
    return made


async def store(postgres: Postgres, made: Iterable[Event]) -> None:
    """Write each node's events in a transaction of its own."""
    by_node = defaultdict(list)
    for event in made:
        by_node[event.node].append(event)
    for node, own in by_node.items():
        requests = [
            {
                "timestamp": event.moment,
                "method": event.names[0],
                "endpoint": event.names[1],
                "status_code": event.status,
            }
            | ({} if event.duration is None else {"duration_us": event.duration})
            for event in own
            if event.kind == REQUEST
        ]
        decisions = [
            {"timestamp": event.moment, "key": event.names[0], "allowed": event.allowed}
            for event in own
            if event.kind == RATE_LIMIT
        ]
        kinds = ((REQUEST, requests), (RATE_LIMIT, decisions))
        await write(postgres, *(block(kind, rows) for kind, rows in kinds if rows), node=node)


def figures(kind: RollupKind, made: list[Event]) -> Key:
    """The figures of a rollup of these events."""
    requests = [event.status for event in made if event.kind == REQUEST]
    hundreds = [sum(status // 100 == hundred for status in requests) for hundred in (2, 3, 4, 5)]
    counters = {
        "requests": len(requests),
        **{f"status_{i + 2}xx": count for i, count in enumerate(hundreds)},
        "status_other": len(requests) - sum(hundreds),
        "failed": sum(not 1 <= status <= 399 for status in requests),
        "rate_limited": requests.count(429),
        "checked": sum(event.kind == RATE_LIMIT for event in made),
        "denied": sum(not event.allowed for event in made),
        "timed": sum(event.duration is not None for event in made),
    }
    found: Key = tuple(counters[name] for name in kind.counters)
    if kind.timed:
        micros = [event.duration for event in made if event.duration is not None]
        bins = sketch_of(np.array(micros, np.int64))
        found += (sum(micros), min(micros, default=None), max(micros, default=None), bins.tobytes())
    return found


def expected(
    kind: RollupKind, level: int, made: Iterable[Event], node: str | None, start: int
) -> Figures:
    """The figures of the events from ``start`` on, by bucket and name."""
    only = {"endpoint": REQUEST, "rate_limit": RATE_LIMIT}.get(kind.name)
    groups = defaultdict(list)
    for event in made:
        bucket = floor(event.moment, level)
        if node in (None, event.node) and only in (None, event.kind) and bucket >= start:
            groups[bucket, *(event.names if kind.names else ())].append(event)
    return {key: figures(kind, group) for key, group in groups.items()}


async def found(
    session: Session, kind: RollupKind, level: int, node: str | None, start: int
) -> Figures:
    """The same from the rollups: the level up to where it is closed, finer ones, the pieces."""
    ((hours, days),) = await session.fetch("SELECT hours_closed, days_closed FROM rollup_progress")
    ends = {DAY: (days, HOUR), HOUR: (hours, MINUTE)}
    parts, at = [], level
    names = "".join(f"{name}, " for name in kind.names)
    columns = ", ".join([*kind.counters, *(TIMED if kind.timed else ())])
    who = "" if node is None else " AND node = $2"
    low = 0
    while at in ends:  # late pieces of what is closed stand in the level itself
        end, finer = ends[at]
        parts.append((kind.table(at), low, end))
        low, at = max(low, end), finer
    parts.append((kind.table(at), low, None))
    rows = " UNION ALL ".join(
        f"SELECT bucket, {names}{columns} FROM {table}"
        f" WHERE {who[5:] or 'NOT summed'} AND bucket >= {moment(low)}"
        + (f" AND bucket < {moment(end)}" if end is not None else "")
        for table, low, end in parts
    )
    rows += f" UNION ALL SELECT bucket, {names}{columns} FROM {kind.pieces_table} WHERE true{who}"
    added = [f"sum({name})::bigint" for name in kind.counters]
    if kind.timed:
        added += ["sum(duration_sum_us)::bigint", "min(duration_min_us)::bigint"]
        added += ["max(duration_max_us)::bigint", "sum(sketch)"]
    group = ", ".join(str(i + 1) for i in range(1 + len(kind.names)))
    answer = await session.fetch(
        f"SELECT {binned(level)} AS b, {names}{', '.join(added)} FROM ({rows}) r"
        f" WHERE bucket >= $1 GROUP BY {group}",
        start,
        *(() if node is None else (node,)),
    )
    width = 1 + len(kind.names)
    if not kind.timed:
        return {row[:width]: row[width:] for row in answer}
    return {
        row[:width]: (*row[width:-1], sketch.decode_each([row[-1]]).tobytes()) for row in answer
    }


TIMED = ("duration_sum_us", "duration_min_us", "duration_max_us", "sketch")


def moment(microseconds: int) -> str:
    return f"to_timestamp({microseconds // SECOND_US})"


async def assert_same(
    postgres: Postgres, made: list[Event], nodes: Iterable[str], kept: dict[int, int]
) -> None:
    """Every level holds each event once, for all nodes together and for each."""

    async def work(session: Session) -> None:
        for kind in ROLLUP_KINDS:
            for level in kind.levels:
                for node in (None, *nodes):
                    args = (node, kept[level])
                    there = await found(session, kind, level, *args)
                    assert there == expected(kind, level, made, *args), (kind.name, level, node)

    await postgres.read(work)


LEVELS = (FINE, MINUTE, HOUR, DAY)

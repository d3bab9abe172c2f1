"""Reads what rollups come to: a series, the names that rank first, the nodes.

Each adds the buffered events to what the database has.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.errors import DatabaseUnavailable
from aegisd.events.block import Block
from aegisd.stats import sketch
from aegisd.store.database import Session
from aegisd.store.history import queries
from aegisd.store.history.buffered_names import BufferedNames
from aegisd.store.history.cover import Progress, Stretch, cover
from aegisd.store.history.ranges import Range
from aegisd.store.history.sums import Key, Sums, SumsByKey, add_rollups, keys_of
from aegisd.store.rollups import (
    EventsByName,
    decisions_by_key,
    fine_rollups,
    requests_by_endpoint,
)
from aegisd.store.schema import DAY, ENDPOINTS, REQUESTS, RollupKind, floor


@frozen
class State:
    """A session that sees one state of the database, and the events in memory that it lacks."""

    session: Session
    progress: Progress
    buffered: list[Block]


async def series(
    state: State, range_: Range, node: str | None, endpoint: Key | None, *, timed: bool
) -> dict[int, Sums]:
    """The sums of each bucket that has any, of all requests or of one endpoint's.

    With ``timed`` also their durations. The buckets of an endpoint are whole minutes.
    """
    kind, bucket = REQUESTS if endpoint is None else ENDPOINTS, range_.bucket
    levels = tuple(level for level in kind.levels if level <= bucket)
    stretches = cover(range_.start, range_.end, levels, state.progress)
    sql, args = queries.series(kind, stretches, node, bucket, endpoint, timed=timed)
    rows = await state.session.fetch(sql, *args)
    added: SumsByKey = {
        (start,): Sums.of_row(kind.counters, row, timed=timed) for start, *row in rows
    }
    if timed:
        sketches = _decoded([row[-1] for row in rows])
        for sums, durations in zip(added.values(), sketches, strict=True):
            sums.durations = durations

    def start_of(moment: int, _: tuple[str, ...]) -> Key:
        return (floor(moment, bucket),)

    if endpoint is None:
        rollups = fine_rollups(state.buffered)
        add_rollups(added, rollups, keys_of(rollups, stretches, start_of), kind)
    else:
        _Buffered.of(state, kind, stretches).add_to(added, {endpoint}, start_of)
    return {int(start): sums for (start,), sums in added.items()}


async def top(
    state: State, kind: RollupKind, range_: Range, node: str | None, limit: int
) -> list[tuple[Key, Sums]]:
    """The ``limit`` names that rank first; OTHER is at the end, if there is room."""
    stretches = cover(range_.start, range_.end, kind.levels, state.progress)
    buffered = _Buffered.of(state, kind, stretches)
    sql, args = queries.names(kind, stretches, node, limit, buffered.names.columns)
    names = len(kind.names)
    stored = {row[:names]: row[names:] for row in await state.session.fetch(sql, *args)}
    found: SumsByKey = {
        name: Sums.of_row(kind.rank, stored[name]) if name in stored else Sums()
        for name in buffered.names.rank_with(stored, limit)
    }
    buffered.add_to(found, found.keys(), lambda _, name: name)
    if kind.shown and found:
        await _add_shown(state.session, kind, stretches, node, found)
    return list(found.items())


async def nodes(state: State, range_: Range, own: str) -> dict[str, int]:
    """The requests of each node that wrote; the buffered ones are of the node ``own``."""
    stretches = cover(range_.start, range_.end, REQUESTS.levels, state.progress)
    sql, args = queries.nodes(stretches)
    found = {str(node): int(count) for node, count in await state.session.fetch(sql, *args)}
    added: SumsByKey = {}
    rollups = fine_rollups(state.buffered)
    add_rollups(added, rollups, keys_of(rollups, stretches, lambda *_: (own,)), REQUESTS)
    for sums in added.values():
        found[own] = found.get(own, 0) + sums.counters["requests"]
    return found


@frozen
class _Buffered:
    """The buffered events of a kind that has names, and these names within some stretches."""

    kind: RollupKind
    stretches: Sequence[Stretch]
    events: EventsByName | None
    names: BufferedNames

    @classmethod
    def of(cls, state: State, kind: RollupKind, stretches: Sequence[Stretch]) -> "_Buffered":
        by_name = requests_by_endpoint if kind is ENDPOINTS else decisions_by_key
        events = by_name(state.buffered)
        return cls(kind, stretches, events, BufferedNames.of(kind, events, stretches))

    def add_to(
        self,
        sums: SumsByKey,
        names: Collection[Key],
        key: Callable[[int, tuple[str, ...]], Key],
    ) -> None:
        """Add the events that have one of these names, each to the sums of its key."""
        chosen = self.names.having(names)
        if self.events is not None and chosen.any():
            rollups = self.events.rollups(chosen)
            add_rollups(sums, rollups, keys_of(rollups, self.stretches, key), self.kind)


def _as_columns(names: Iterable[Key], kind: RollupKind) -> list[list[str]]:
    """The names as columns: a list for each of the kind's names."""
    rows = list(names)
    return [[str(row[i]) for row in rows] for i in range(len(kind.names))]


async def _add_shown(
    session: Session,
    kind: RollupKind,
    stretches: Sequence[Stretch],
    node: str | None,
    top: SumsByKey,
) -> None:
    """Add the other figures that the database has of these names."""
    large = max(sums.counters[kind.rank[0]] for sums in top.values()) > sketch.MAX_COUNT
    sql, args = queries.shown(kind, stretches, node, _as_columns(top, kind), DAY if large else None)
    names = len(kind.names)
    rows = await session.fetch(sql, *args)
    for row, durations in zip(rows, _decoded([row[-1] for row in rows]), strict=True):
        sums = Sums.of_row(kind.shown, row[names:], timed=True)
        sums.durations = durations
        top[row[:names]].merge(sums)


def _decoded(numerics: Sequence[bytes]) -> NDArray[np.int64]:
    try:
        return sketch.decode_each(numerics)
    except ValueError as error:
        raise DatabaseUnavailable(
            f"a sketch of the rollups can't be read ({error}); was it changed by hand?"
        ) from None

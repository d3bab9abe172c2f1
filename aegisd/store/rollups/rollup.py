"""Adds the requests and decisions of a batch up into rollups: its pieces. Pure.

A rollup has a bucket (its start in microseconds since 1970), a name, counters and, of requests, a
sketch of the durations. There are three kinds:

- requests and decisions together, by 10 s, without a name;
- requests by minute and endpoint. The MAX_NAMES endpoints with most requests in a minute keep their
  names, the others are added up as OTHER;
- decisions by minute and key. The MAX_NAMES keys with most denials keep their names.
"""

from collections.abc import Sequence

import numpy as np
from attrs import evolve, frozen

from aegisd.events.block import Block, Integers, Mask, Text
from aegisd.events.counters import (
    DECISION_COUNTERS,
    OTHER,
    OUTCOME,
    REQUEST_COUNTERS,
    outcome_adds,
)
from aegisd.events.protocol import RATE_LIMIT, REQUEST
from aegisd.events.units import SECOND_US
from aegisd.stats import sketch
from aegisd.stats.durations import Durations
from aegisd.stats.grouping import Groups
from aegisd.store.schema import FINE, MINUTE

FINE_US, MINUTE_US = FINE * SECOND_US, MINUTE * SECOND_US

MAX_NAMES = 200
"""Names of a bucket. What lies beyond are mostly a scanner's, and never among the busiest."""

_OUTCOME_ADDS = outcome_adds(REQUEST_COUNTERS)


@frozen(eq=False)
class DurationSums:
    """The durations of each rollup: how many, sum, least and greatest (microseconds), sketch.

    A rollup without durations has a ``least`` above its ``greatest``. The sketches are their
    occupied bins, as ``sketch.encode`` takes them: ``counts[k]`` durations are in bin ``bins[k]``
    of rollup ``rows[k]``; rows and bins ascend.
    """

    timed: Integers
    total: Integers
    least: Integers
    greatest: Integers
    rows: Integers
    bins: Integers
    counts: Integers


@frozen(eq=False)
class Rollups:
    """Rollups of one kind: the bucket, the names, the counters and the durations of each."""

    starts: Integers
    names: dict[str, Text]
    counters: dict[str, Integers]
    durations: DurationSums | None = None

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.starts)


@frozen(eq=False)
class Pieces:
    """The rollups of one batch; each kind may be empty."""

    requests: Rollups
    endpoints: Rollups
    keys: Rollups


@frozen(eq=False)
class EventsByName:
    """Events of one kind in groups by minute and name, with only the counters that names rank by.

    There may be as many groups as events, and only a few of them be of interest: ``rollups`` adds
    up all figures of those.
    """

    starts: Integers
    names: dict[str, Text]
    counters: dict[str, Integers]
    _block: Block
    _groups: Groups

    def rollups(self, chosen: Mask | None = None) -> Rollups:
        """The rollups of all groups, or of those that ``chosen`` marks."""
        if chosen is None:
            return _add_up(self._block, self._groups, self.starts, self.names)
        events = chosen[self._groups.index]
        places = chosen.cumsum() - 1
        groups = Groups(self._groups.codes[chosen], places[self._groups.index[events]])
        names = {name: Text(text.values, text.index[chosen]) for name, text in self.names.items()}
        return _add_up(self._block.take(events), groups, self.starts[chosen], names)


def _add_up(block: Block, groups: Groups, starts: Integers, names: dict[str, Text]) -> Rollups:
    if block.kind == RATE_LIMIT:
        return Rollups(starts, names, _count_decisions(block, groups))
    return Rollups(starts, names, _count_requests(block, groups), _add_durations(block, groups))


def roll_up(blocks: Sequence[Block]) -> Pieces:
    """The pieces of ``blocks``, which hold each kind of event once at most."""
    return Pieces(fine_rollups(blocks), _endpoint_rollups(blocks), _key_rollups(blocks))


def _of_kind(blocks: Sequence[Block], kind: str) -> Block | None:
    return next((block for block in blocks if block.kind == kind and block.size), None)


def _no_rollups(names: tuple[str, ...], counters: tuple[str, ...], *, timed: bool) -> Rollups:
    nothing = np.zeros(0, np.int64)
    return Rollups(
        nothing,
        {name: Text([], np.zeros(0, np.int32)) for name in names},
        dict.fromkeys(counters, nothing),
        DurationSums(*[nothing] * 7) if timed else None,
    )


def fine_rollups(blocks: Sequence[Block]) -> Rollups:
    """Requests and decisions by 10 s."""
    requests, decisions = _of_kind(blocks, REQUEST), _of_kind(blocks, RATE_LIMIT)
    buckets = [
        Groups.by_code(_timestamps(block) // FINE_US)
        for block in (requests, decisions)
        if block is not None
    ]
    starts = np.unique(np.concatenate([np.zeros(0, np.int64), *(each.codes for each in buckets)]))
    size = len(starts)
    counters = {name: np.zeros(size, np.int64) for name in REQUEST_COUNTERS + DECISION_COUNTERS}
    durations = DurationSums(*[np.zeros(size, np.int64)] * 4, *[np.zeros(0, np.int64)] * 3)
    durations = evolve(durations, least=durations.least + 1)
    if requests is not None:
        groups = buckets[0].within(starts)
        counters |= _count_requests(requests, groups)
        durations = _add_durations(requests, groups)
    if decisions is not None:
        counters |= _count_decisions(decisions, buckets[-1].within(starts))
    return Rollups(starts * FINE_US, {}, counters, durations)


def _endpoint_rollups(blocks: Sequence[Block]) -> Rollups:
    """Requests by minute and endpoint."""
    named = requests_by_endpoint(blocks)
    if named is None:
        return _no_rollups(("method", "endpoint"), REQUEST_COUNTERS, timed=True)
    return named.rollups()


def requests_by_endpoint(blocks: Sequence[Block]) -> EventsByName | None:
    """Requests by minute and endpoint; None where there are none."""
    block = _of_kind(blocks, REQUEST)
    if block is None:
        return None
    methods, paths = (block.texts[name].distinct() for name in ("method", "endpoint"))
    width = len(paths.values)
    other = len(methods.values) * width
    groups = _by_name(block, methods.index.astype(np.int64) * width + paths.index, other)
    busy = groups.sizes()
    groups = _bound_names(groups, busy, np.zeros_like(busy), other)
    minute, name = np.divmod(groups.codes, other + 1)
    return EventsByName(
        minute * MINUTE_US,
        {
            "method": _with_other(methods, name // width),
            "endpoint": _with_other(paths, np.where(name == other, width, name % width)),
        },
        {"requests": groups.sizes()},
        block,
        groups,
    )


def _key_rollups(blocks: Sequence[Block]) -> Rollups:
    """Decisions by minute and key."""
    named = decisions_by_key(blocks)
    if named is None:
        return _no_rollups(("key",), DECISION_COUNTERS, timed=False)
    return named.rollups()


def decisions_by_key(blocks: Sequence[Block]) -> EventsByName | None:
    """Decisions by minute and key; None where there are none."""
    block = _of_kind(blocks, RATE_LIMIT)
    if block is None:
        return None
    names = block.texts["key"].distinct()
    other = len(names.values)
    groups = _by_name(block, names.index.astype(np.int64), other)
    counters = _count_decisions(block, groups)
    groups = _bound_names(groups, counters["denied"], counters["checked"], other)
    minute, name = np.divmod(groups.codes, other + 1)
    return EventsByName(
        minute * MINUTE_US,
        {"key": _with_other(names, name)},
        _count_decisions(block, groups),
        block,
        groups,
    )


def _timestamps(block: Block) -> Integers:
    return block.numbers["timestamp"].astype(np.int64, copy=False)


def _with_other(text: Text, index: Integers) -> Text:
    """The texts at ``index``; OTHER is behind the last."""
    return Text([*text.values, OTHER], index.astype(np.int32))


def _by_name(block: Block, names: Integers, other: int) -> Groups:
    """Groups by minute and name; a code is minute * (other + 1) + name."""
    return Groups.by_code(_timestamps(block) // MINUTE_US * (other + 1) + names)


def _bound_names(groups: Groups, first: Integers, second: Integers, other: int) -> Groups:
    """The groups with at most MAX_NAMES names a minute; the rest get the name ``other``.

    The names kept are those with the greatest ``first``, and of equal ones the greatest ``second``:
    figures of each group.
    """
    minutes = groups.codes // (other + 1)
    order = np.lexsort((groups.codes, -second, -first, minutes))
    ranked = minutes[order]
    rank = np.arange(len(order)) - np.searchsorted(ranked, ranked)
    beyond = order[rank >= MAX_NAMES]
    if not len(beyond):
        return groups
    codes = groups.codes.copy()
    codes[beyond] = minutes[beyond] * (other + 1) + other
    distinct, index = np.unique(codes, return_inverse=True)
    return Groups(distinct, index.reshape(-1)[groups.index])


def _count_requests(block: Block, groups: Groups) -> dict[str, Integers]:
    outcomes = OUTCOME.take(block.numbers["status_code"].astype(np.intp))
    counters = groups.count(outcomes, len(_OUTCOME_ADDS)) @ _OUTCOME_ADDS
    return dict(zip(REQUEST_COUNTERS, counters.T, strict=True))


def _count_decisions(block: Block, groups: Groups) -> dict[str, Integers]:
    decisions = groups.count(block.numbers["allowed"].astype(np.intp), 2)
    return {"checked": decisions.sum(axis=1), "denied": decisions[:, 0]}


def _add_durations(block: Block, groups: Groups) -> DurationSums:
    durations = Durations.of(block.numbers["duration_us"].astype(np.int64, copy=False))
    groups = groups.where(durations.has_duration)
    size = len(groups.codes)
    least = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(least, groups.index, durations.micros)
    greatest = np.full(size, -1, np.int64)
    np.maximum.at(greatest, groups.index, durations.micros)
    pairs, counts = np.unique(groups.index * sketch.BINS + durations.bins, return_counts=True)
    rows, bins = np.divmod(pairs, sketch.BINS)
    return DurationSums(
        groups.sizes(), groups.sum(durations.micros), least, greatest, rows, bins, counts
    )

"""Adds events up into rollups: what the requests and decisions of a span of time come to. Pure.

A rollup has a span (its start in microseconds since 1970), a name within it, counters and a sketch
of the durations. Requests and decisions are added up by 10 s without a name, requests by minute and
endpoint, decisions by minute and key. Of a minute's endpoints the MAX_NAMES with most requests keep
their names, of its keys those with most denials; the others stand together as OTHER.
"""

from collections.abc import Sequence

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from aegisd.events.block import Block, Integers, Mask, Text
from aegisd.events.counters import CLASS_ADDS, COLUMN, OTHER, STATUS_CLASS
from aegisd.events.protocol import RATE_LIMIT, REQUEST
from aegisd.stats import sketch
from aegisd.stats.durations import Durations

SECOND = 1_000_000  # microseconds
FINE_SECONDS = 10
NAMED_SECONDS = 60

MAX_NAMES = 200
"""Of a bucket: beyond, names are mostly those of scanners, and none is among the busiest."""

REQUEST_COUNTERS = (
    "requests",
    "status_2xx",
    "status_3xx",
    "status_4xx",
    "status_5xx",
    "status_other",
    "failed",
    "rate_limited",
)
DECISION_COUNTERS = ("checked", "denied")

_DENSE = 4
"""Codes that lie so close are looked up in a table, others are sorted."""


def _adds() -> NDArray[np.int64]:
    """What a request of each class of status adds to REQUEST_COUNTERS."""
    columns = {name: CLASS_ADDS[:, i] for name, i in COLUMN.items()}
    columns["failed"] = columns["requests"] - columns["succeeded"]
    return np.stack([columns[name] for name in REQUEST_COUNTERS], axis=1)


_ADDS = _adds()


@frozen(eq=False)
class DurationSums:
    """The durations of each rollup: how many, sum, least and greatest (microseconds), sketch.

    Where there is none, ``least`` is above ``greatest``. The sketches' occupied bins stand as in
    ``sketch.encode``: ``counts[k]`` is that of bin ``bins[k]`` of rollup ``rows[k]``, ascending.
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
    """Rollups of one kind: for each its span, its names, its counters and its durations."""

    starts: Integers
    names: dict[str, Text]
    counters: dict[str, Integers]
    durations: DurationSums | None = None

    @property
    def size(self) -> int:
        """How many."""
        return len(self.starts)


@frozen(eq=False)
class Pieces:
    """What a batch comes to; each part may be empty."""

    requests: Rollups
    endpoints: Rollups
    keys: Rollups


@frozen(eq=False)
class _Groups:
    """The distinct codes, ascending, and for each event which of them is its own."""

    codes: Integers
    of: NDArray[np.intp]

    def count(self, values: NDArray[np.intp], width: int) -> NDArray[np.int64]:
        """How many events of each group have each value below ``width``."""
        n = len(self.codes)
        return np.bincount(self.of * width + values, minlength=n * width).reshape(n, width)


@frozen(eq=False)
class Named:
    """Events of one kind by minute and name, with the counters alone by which names rank.

    There may be as many as events, and most are of no further interest: ``rollups`` adds up all
    figures of those that are.
    """

    starts: Integers
    names: dict[str, Text]
    counters: dict[str, Integers]
    _block: Block
    _groups: _Groups

    def rollups(self, chosen: Mask | None = None) -> Rollups:
        """The rollups of all, or of those that ``chosen`` marks."""
        if chosen is None:
            return _added(self._block, self._groups, self.starts, self.names)
        events = chosen[self._groups.of]
        places = chosen.cumsum() - 1
        groups = _Groups(self._groups.codes[chosen], places[self._groups.of[events]])
        names = {name: Text(text.values, text.index[chosen]) for name, text in self.names.items()}
        return _added(self._block.take(events), groups, self.starts[chosen], names)


def _added(block: Block, groups: _Groups, starts: Integers, names: dict[str, Text]) -> Rollups:
    if block.kind == RATE_LIMIT:
        return Rollups(starts, names, _count_decisions(block, groups))
    return Rollups(starts, names, _count_requests(block, groups), _durations(block, groups))


def roll_up(blocks: Sequence[Block]) -> Pieces:
    """The pieces of ``blocks``, of which each kind is there once at most."""
    return Pieces(fine(blocks), endpoints(blocks), keys(blocks))


def _of_kind(blocks: Sequence[Block], kind: str) -> Block | None:
    return next((block for block in blocks if block.kind == kind and block.size), None)


def _none(names: tuple[str, ...], counters: tuple[str, ...], *, timed: bool) -> Rollups:
    nothing = np.zeros(0, np.int64)
    return Rollups(
        nothing,
        {name: Text([], np.zeros(0, np.int32)) for name in names},
        dict.fromkeys(counters, nothing),
        DurationSums(*[nothing] * 7) if timed else None,
    )


def fine(blocks: Sequence[Block]) -> Rollups:
    """Requests and decisions by 10 s."""
    requests, decisions = _of_kind(blocks, REQUEST), _of_kind(blocks, RATE_LIMIT)
    spans = [_spans(block, FINE_SECONDS) for block in (requests, decisions) if block is not None]
    starts = np.unique(np.concatenate([np.zeros(0, np.int64), *(each.codes for each in spans)]))
    rollups = _none((), REQUEST_COUNTERS + DECISION_COUNTERS, timed=True)
    size = len(starts)
    counters = {name: np.zeros(size, np.int64) for name in rollups.counters}
    durations = DurationSums(*[np.zeros(size, np.int64)] * 4, *[np.zeros(0, np.int64)] * 3)
    durations = evolve(durations, least=durations.least + 1)
    if requests is not None:
        groups = _within(starts, spans[0])
        counters |= _count_requests(requests, groups)
        durations = _durations(requests, groups)
    if decisions is not None:
        counters |= _count_decisions(decisions, _within(starts, spans[-1]))
    return Rollups(starts * FINE_SECONDS * SECOND, {}, counters, durations)


def _within(codes: Integers, groups: _Groups) -> _Groups:
    """The same events as groups of more codes."""
    return _Groups(codes, np.searchsorted(codes, groups.codes)[groups.of])


def endpoints(blocks: Sequence[Block]) -> Rollups:
    """Requests by minute and endpoint."""
    named = named_endpoints(blocks)
    if named is None:
        return _none(("method", "endpoint"), REQUEST_COUNTERS, timed=True)
    return named.rollups()


def named_endpoints(blocks: Sequence[Block]) -> Named | None:
    """Requests by minute and endpoint; None where there are none."""
    block = _of_kind(blocks, REQUEST)
    if block is None:
        return None
    methods, paths = (_distinct(block.texts[name]) for name in ("method", "endpoint"))
    width = len(paths.values)
    other = len(methods.values) * width
    groups = _named(block, methods.index.astype(np.int64) * width + paths.index, other)
    busy = np.bincount(groups.of, minlength=len(groups.codes))
    groups = _bounded(groups, busy, np.zeros_like(busy), other)
    minute, name = np.divmod(groups.codes, other + 1)
    return Named(
        minute * NAMED_SECONDS * SECOND,
        {
            "method": _or_other(methods, name // width),
            "endpoint": _or_other(paths, np.where(name == other, width, name % width)),
        },
        {"requests": np.bincount(groups.of, minlength=len(groups.codes))},
        block,
        groups,
    )


def keys(blocks: Sequence[Block]) -> Rollups:
    """Decisions by minute and key."""
    named = named_keys(blocks)
    return _none(("key",), DECISION_COUNTERS, timed=False) if named is None else named.rollups()


def named_keys(blocks: Sequence[Block]) -> Named | None:
    """Decisions by minute and key; None where there are none."""
    block = _of_kind(blocks, RATE_LIMIT)
    if block is None:
        return None
    names = _distinct(block.texts["key"])
    other = len(names.values)
    groups = _named(block, names.index.astype(np.int64), other)
    counters = _count_decisions(block, groups)
    groups = _bounded(groups, counters["denied"], counters["checked"], other)
    minute, name = np.divmod(groups.codes, other + 1)
    return Named(
        minute * NAMED_SECONDS * SECOND,
        {"key": _or_other(names, name)},
        _count_decisions(block, groups),
        block,
        groups,
    )


def _distinct(text: Text) -> Text:
    return text.distinct()


def _or_other(text: Text, index: Integers) -> Text:
    """The texts at ``index``, OTHER behind the last."""
    return Text([*text.values, OTHER], index.astype(np.int32))


def _spans(block: Block, seconds: int) -> _Groups:
    return _grouped(block.numbers["timestamp"].astype(np.int64) // (seconds * SECOND))


def _named(block: Block, names: Integers, other: int) -> _Groups:
    """Groups by minute and name; a code is minute * (other + 1) + name."""
    minutes = block.numbers["timestamp"].astype(np.int64) // (NAMED_SECONDS * SECOND)
    return _grouped(minutes * (other + 1) + names)


def _grouped(codes: Integers) -> _Groups:
    low = int(codes.min())
    width = int(codes.max()) - low + 1
    if width > _DENSE * len(codes):
        distinct, of = np.unique(codes, return_inverse=True)
        return _Groups(distinct, of.reshape(-1))
    at = codes - low
    there = np.zeros(width, np.bool_)
    there[at] = True
    places = there.cumsum() - 1
    return _Groups(np.flatnonzero(there) + low, places[at])


def _bounded(groups: _Groups, first: Integers, second: Integers, other: int) -> _Groups:
    """The groups, with at most MAX_NAMES names a minute, the rest under the name ``other``.

    Names are kept by ``first``, then by ``second``: figures of each group, the greatest first.
    """
    minutes = groups.codes // (other + 1)
    order = np.lexsort((groups.codes, -second, -first, minutes))
    ranked = minutes[order]
    rank = np.arange(len(order)) - np.searchsorted(ranked, ranked)
    codes = groups.codes.copy()
    beyond = order[rank >= MAX_NAMES]
    if not len(beyond):
        return groups
    codes[beyond] = minutes[beyond] * (other + 1) + other
    distinct, of = np.unique(codes, return_inverse=True)
    return _Groups(distinct, of.reshape(-1)[groups.of])


def _count_requests(block: Block, groups: _Groups) -> dict[str, Integers]:
    classes = STATUS_CLASS.take(block.numbers["status_code"].astype(np.intp))
    counters = groups.count(classes, len(_ADDS)) @ _ADDS
    return dict(zip(REQUEST_COUNTERS, counters.T, strict=True))


def _count_decisions(block: Block, groups: _Groups) -> dict[str, Integers]:
    decisions = groups.count(block.numbers["allowed"].astype(np.intp), 2)
    return {"checked": decisions.sum(axis=1), "denied": decisions[:, 0]}


def _durations(block: Block, groups: _Groups) -> DurationSums:
    durations = Durations.of(block.numbers["duration_us"].astype(np.int64, copy=False))
    of = groups.of if durations.timed is None else groups.of[durations.timed]
    size = len(groups.codes)
    total = np.zeros(size, np.int64)
    np.add.at(total, of, durations.micros)
    least = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(least, of, durations.micros)
    greatest = np.full(size, -1, np.int64)
    np.maximum.at(greatest, of, durations.micros)
    pairs, counts = np.unique(of * sketch.BINS + durations.bins, return_counts=True)
    rows, bins = np.divmod(pairs, sketch.BINS)
    return DurationSums(np.bincount(of, minlength=size), total, least, greatest, rows, bins, counts)

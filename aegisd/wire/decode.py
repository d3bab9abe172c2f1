"""Bytes in, Blocks and rejects out: the one place where messages become columns.

A burst of messages is decoded together. What is plain in it, and that is mostly all, ``scan``
reads at once, with numpy over the burst's bytes. The other messages are unpacked one by one,
their events are put side by side, and events with the same keys become columns at once: which
names they use, and which they lack, is found once for each set of keys. Any bytes give an
answer: what can't be kept is a reject, never an exception.

Every event of the burst has a position, its number in the order of arrival. What can't be read
as a message takes one position. So events = accepted + rejected, always.
"""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
from attrs import evolve, frozen

from aegisd.wire import columns
from aegisd.wire.block import Block, Integers, Numbers, Text, concatenate
from aegisd.wire.burst import Burst, Reject
from aegisd.wire.columns import Clock, Faults
from aegisd.wire.flows import Flows
from aegisd.wire.messages import Messages
from aegisd.wire.protocol import (
    BACKEND,
    KINDS,
    SOURCE,
    SYSTEM,
    Field,
    FieldType,
    Reason,
    aliases,
)
from aegisd.wire.salvage import unpack_message
from aegisd.wire.scan import Scanned, left_alone, scan
from aegisd.wire.table import read_tables

MIN_SCAN_BYTES = 2048
"""A smaller burst is read sooner message by message."""

_ALIASES = {kind: aliases(kind) for kind in KINDS}


@frozen(eq=False)
class Decoded:
    """What a burst held.

    ``starts`` has the first position of each message, and behind them the number of events.
    """

    blocks: list[Block]
    rejects: list[Reject]  # one for each reason and field
    altered: int
    flows: Flows
    starts: Integers

    def message_of(self, position: int) -> int:
        """The number of the message that the event at ``position`` came in."""
        return int(np.searchsorted(self.starts, position, side="right")) - 1


class Decoder:
    """Decodes bursts. It remembers how sets of known keys are read, and nothing of the events.

    ``max_age`` is the age in microseconds beyond which an event is out of range.
    """

    def __init__(self, max_age: int) -> None:
        self._max_age = max_age
        self._plans: dict[tuple[str, tuple[str, ...]], _Plan] = {}

    @np.errstate(invalid="ignore")  # a signalling NaN is a NaN: refused, without a warning
    def decode(self, messages: Messages, now: int) -> Decoded:
        """Decode a burst; ``now`` is in microseconds since 1970."""
        clock = Clock(now, self._max_age)
        scanned = (scan if messages.nbytes >= MIN_SCAN_BYTES else left_alone)(messages, clock)
        burst = _open(messages, scanned)
        blocks: dict[str, list[tuple[Block, Integers]]] = {}
        altered = 0
        nowhere = np.zeros(0, np.int64)  # the order of requests doesn't matter
        for plain in scanned.blocks:
            block, changed = _tidy(plain)
            altered += changed
            blocks.setdefault(block.kind, []).append((block, nowhere))
        for read, faults, positions in self._read(burst, clock):
            block, where, kind = read, positions, read.kind
            for reason, name, rows in faults.groups():
                burst.refuse(reason, name, where[rows].tolist())
            good = faults.good
            if good is not None:
                block, where = block.take(good), where[good]
            if not block.size:
                continue
            block, changed = _tidy(block)
            altered += changed
            blocks.setdefault(kind, []).append((block, where))
        flows = Flows.concatenate([Flows.of(burst.flows), *scanned.flows])
        sources, changed = columns.tidy(flows.sources, SOURCE.limit)
        if changed:
            flows = evolve(flows, sources=sources)
        return Decoded(
            [_whole(kind, parts, burst) for kind, parts in blocks.items()],
            burst.rejects(),
            altered + changed,
            flows,
            np.concatenate([np.zeros(1, np.int64), scanned.counts.cumsum()]),
        )

    def _read(self, burst: Burst, clock: Clock) -> Iterator[tuple[Block, Faults, Integers]]:
        """Blocks, what is wrong with which of their events, and the events' positions."""
        for (kind, keys), (events, positions) in self._grouped(burst).items():
            block, faults = self._plan(kind, keys).read(events, clock)
            yield block, faults, np.array(positions, np.int64)
        yield from read_tables(burst.tables, clock)

    def _grouped(self, burst: Burst) -> "_Groups":
        """The burst's events by kind and the keys that are read, not in the order of arrival."""
        groups: _Groups = {}
        shapes: _Groups = {}
        for default, (events, positions) in burst.events.items():
            for event, position in zip(events, positions, strict=True):
                if type(event) is not dict:
                    burst.refuse(Reason.MALFORMED, "", [position])
                    continue
                kind = default
                if "kind" in event:
                    given = event["kind"]
                    if given is not None:
                        kind = given
                    if type(kind) is not str:
                        burst.refuse(Reason.BAD_TYPE, "kind", [position])
                        continue
                if kind not in KINDS:
                    burst.refuse(Reason.UNKNOWN_KIND, "kind", [position])
                    continue
                shape = tuple(event)
                group = shapes.get((kind, shape))
                if group is None:
                    read = _keys_read(kind, shape)
                    group = shapes[kind, shape] = groups.setdefault((kind, read), ([], []))
                group[0].append(event)
                group[1].append(position)
        return groups

    def _plan(self, kind: str, keys: tuple[str, ...]) -> "_Plan":
        plan = self._plans.get((kind, keys))
        if plan is None:
            plan = self._plans[kind, keys] = _Plan(kind, keys)
        return plan


def _open(messages: Messages, scanned: Scanned) -> Burst:
    """Open the messages that ``scanned`` left, and complete its counts."""
    burst = Burst()
    counts = scanned.counts
    left = (counts < 0).nonzero()[0]
    ends = np.maximum(counts, 0).cumsum()
    passed = 0
    for i in left.tolist():
        before = int(ends[i])
        burst.size += before - passed  # the positions of what was scanned
        passed = before
        data = messages[i]
        start = burst.size
        burst.message = i
        burst.add(unpack_message(data), len(data))
        counts[i] = burst.size - start
    return burst


_Groups = dict[tuple[str, tuple[Any, ...]], tuple[list[Any], list[int]]]


def _keys_read(kind: str, shape: tuple[Any, ...]) -> tuple[str, ...]:
    """The keys that the fields of events with these keys come under, in one order.

    So there are no more groups than sets of names that the protocol knows: who puts a key of
    their own into every event, or turns them about, would else make a column of every event.
    """
    known = _ALIASES[kind]
    return tuple(sorted({known[key]: key for key in shape if key in known}.values()))


def _whole(kind: str, parts: list[tuple[Block, Integers]], burst: Burst) -> Block:
    """One block of ``parts``. Of kinds whose latest report counts, in the order of arrival."""
    block = concatenate(part for part, _ in parts)[0]
    if kind not in (BACKEND, SYSTEM):
        return block
    where = np.concatenate([positions for _, positions in parts])
    if kind == SYSTEM:
        sources = _filled(block.texts[SOURCE.name], burst.sources_of(where))
        block = block.with_text(SOURCE.name, sources)
    return block.ordered(np.argsort(where))  # even of one part: see _grouped


def _filled(text: Text, other: Text) -> Text:
    """``text``, and ``other`` where it has none."""
    if None not in text.values:
        return text
    none = np.array([value is None for value in text.values], np.bool_)[text.index]
    index = np.where(none, other.index + np.int32(len(text.values)), text.index)
    return Text([*text.values, *other.values], index)


def _tidy(block: Block) -> tuple[Block, int]:
    texts = dict(block.texts)
    altered = 0
    for field in KINDS[block.kind]:
        if field.type is FieldType.TEXT:
            texts[field.name], changed = columns.tidy(texts[field.name], field.limit)
            altered += changed
    return Block(block.kind, block.size, block.numbers, texts), altered


class _Plan:
    """How events of one kind with the same keys are read; each key is of another field."""

    def __init__(self, kind: str, keys: tuple[str, ...]) -> None:
        self._kind = kind
        given = {_ALIASES[kind][key]: key for key in keys}
        fields = KINDS[kind]
        self._present = [
            (field, itemgetter(given[field.name])) for field in fields if field.name in given
        ]
        self._absent = [field for field in fields if field.name not in given]
        self._missing = next((field for field in self._absent if field.required), None)

    def read(self, events: list[dict[str, Any]], clock: Clock) -> tuple[Block, Faults]:
        """The events' block, and what is wrong with which of them."""
        size = len(events)
        faults = Faults(size)
        raws = [(field, list(map(get, events))) for field, get in self._present]
        self._mark_missing(raws, faults)
        if self._missing is not None:
            return Block(self._kind, size), faults
        made: dict[str, Numbers | Text] = {
            field.name: columns.read(field, raw, faults, clock) for field, raw in raws
        }
        made |= {field.name: columns.absent(field, size, clock) for field in self._absent}
        numbers = {name: column for name, column in made.items() if not isinstance(column, Text)}
        texts = {name: column for name, column in made.items() if isinstance(column, Text)}
        return Block(self._kind, size, numbers, texts), faults

    def _mark_missing(self, raws: list[tuple[Field, list[object]]], faults: Faults) -> None:
        """Required fields that are nil, or that these keys don't have, in the table's order."""
        present = {field.name: raw for field, raw in raws}
        for field in KINDS[self._kind]:
            if not field.required:
                continue
            if field.name in present:
                columns.mark_missing(field, present[field.name], faults)
            else:
                faults.mark(faults.all, Reason.MISSING_FIELD, field.name)
                return

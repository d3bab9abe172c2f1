"""Bytes in, Blocks and rejects out: the one place where messages become columns.

There are two ways, and one answer. ``quick`` reads what is plain, and that is mostly all. The
other messages are opened one by one (``opening``), their events are put side by side (``burst``),
and events with the same keys become columns at once: which names they use, and which they lack,
is found once for each set of keys. Any bytes give an answer: what can't be kept is a reject, never
an exception.

A burst is decoded in parts of a bounded number of events, and what takes long without events comes
as parts without any: whoever drives it may do other things between two parts. Events = accepted +
rejected, always; what can't be read as a message counts as one.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from attrs import Factory, define, evolve, frozen

from aegisd.config.settings import Privacy
from aegisd.events.block import Block, Integers, Text, concatenate
from aegisd.events.flows import Flows
from aegisd.events.protocol import BACKEND, KINDS, SOURCE, SYSTEM, FieldType
from aegisd.wire.careful import columns
from aegisd.wire.careful.columns import Clock, Faults
from aegisd.wire.careful.envelopes import Burst, Message, Reject
from aegisd.wire.careful.opening import Head, Whole, opening
from aegisd.wire.careful.plans import Plan, grouped
from aegisd.wire.careful.table import MAX_READ_ROWS, read_tables
from aegisd.wire.naming.endpoints import EndpointNamer
from aegisd.wire.privacy import protect
from aegisd.wire.quick import Quick

MAX_PART_EVENTS = 2048
"""Where a part ends. Decoding, naming, counting and keeping so many take two milliseconds, or ten
where each has a path of its own, and nothing else runs meanwhile. More would hardly be cheaper."""

MAX_PART_BYTES = 256 * 1024
"""The same for events that are large."""


@frozen(eq=False)
class Decoded:
    """What a part of a burst held. ``counts[i]`` of its events came in message ``messages[i]``.

    A message's events come in the order in which they stand in it. ``unreadable`` has the numbers
    of messages that are none.
    """

    blocks: list[Block]
    rejects: list[Reject]  # one for each reason and field
    altered: int
    flows: Flows
    messages: list[int]
    counts: list[int]
    unreadable: list[int]


class Decoder:
    """Decodes bursts into blocks that may be kept.

    ``max_age`` is the age in microseconds beyond which an event is out of range. ``privacy`` says
    what is removed from requests, ``namer`` gives them their endpoints. The decoder remembers how
    sets of known keys are read; of the events only the namer remembers something, the paths.
    """

    def __init__(self, max_age: int, privacy: Privacy, namer: EndpointNamer) -> None:
        self._max_age = max_age
        self._privacy = privacy
        self._namer = namer
        self._quick = Quick()
        self._plans: dict[tuple[str, tuple[str, ...]], Plan] = {}

    def decode(self, messages: Sequence[bytes], now: int) -> Iterator[Decoded]:
        """Decode a burst, part by part; ``now`` is in microseconds since 1970."""
        clock = Clock(now, self._max_age)
        part = _Part()
        opened, left = self._quick.open(messages, clock)
        for events in opened:
            part.flows.append(events.flows)
            within_bytes = MAX_PART_BYTES * len(events.events) // events.nbytes + 1
            size = min(within_bytes, MAX_PART_EVENTS)
            for block, numbers, counts in events.parts(size, clock):
                part.add(*self._kept(block))
                part.count(numbers, counts)
                if part.size >= size:
                    yield part.decoded()
                    part = _Part()
        for burst in _opened(messages, left):
            if burst is None:
                yield part.decoded()
                part = _Part()
                continue
            blocks = self._blocks(burst, clock)
            for block in (piece for whole in blocks for piece in whole.bounded(MAX_PART_EVENTS)):
                part.add(*self._kept(block))
                if part.size >= MAX_PART_EVENTS:
                    yield part.decoded()
                    part = _Part()
            part.take(burst)
            if burst.full:
                yield part.decoded()
                part = _Part()
        if part.numbers or part.flows:
            yield part.decoded()

    def _blocks(self, burst: Burst, clock: Clock) -> Iterator[Block]:
        """The burst's events that are right, tables' by and by; the others it is told to refuse."""
        kinds: dict[str, list[tuple[Block, Integers]]] = {}
        for (kind, keys), (events, places) in grouped(burst).items():
            block, faults = self._plan(kind, keys).read(events, clock)
            good = _good(block, faults, np.array(places, np.int64), burst)
            if good is not None:
                kinds.setdefault(kind, []).append(good)
        for block, faults, positions in read_tables(burst.tables, clock):
            good = _good(block, faults, positions, burst)
            if good is None:
                continue
            if block.kind in (BACKEND, SYSTEM):
                kinds.setdefault(block.kind, []).append(good)
            else:
                yield good[0]
        for kind, parts in kinds.items():
            yield from _whole(kind, parts, burst).parts(MAX_READ_ROWS)

    def _kept(self, block: Block) -> tuple[Block, int]:
        """The block as it may be kept, and how many of its texts had to be altered."""
        tidied, altered = _tidy(block)
        return self._namer.name(protect(tidied, self._privacy)), altered

    def _plan(self, kind: str, keys: tuple[str, ...]) -> "Plan":
        plan = self._plans.get((kind, keys))
        if plan is None:
            plan = self._plans[kind, keys] = Plan(kind, keys)
        return plan


@define
class _Part:
    """A part that is being put together."""

    size: int = 0
    blocks: list[Block] = Factory(list)
    rejects: list[Reject] = Factory(list)
    altered: int = 0
    flows: list[Flows] = Factory(list)
    numbers: list[int] = Factory(list)
    counts: list[int] = Factory(list)
    unreadable: list[int] = Factory(list)

    def add(self, block: Block, altered: int) -> None:
        """Take a block that may be kept; ``altered`` of its texts are not as they were sent."""
        self.blocks.append(block)
        self.altered += altered
        self.size += block.size

    def count(self, numbers: list[int], counts: list[int]) -> None:
        """Take note of how many events came in which messages."""
        self.numbers += numbers
        self.counts += counts

    def take(self, burst: Burst) -> None:
        """Take note of all but the events of a burst that was opened."""
        self.flows.append(Flows.of(burst.flows))
        self.rejects += burst.rejects()
        self.unreadable += burst.unreadable
        self.count(burst.numbers, burst.counts())

    def decoded(self) -> Decoded:
        """What is in it."""
        flows = Flows.concatenate(self.flows)
        if len(flows.counts):
            sources, changed = columns.tidy(flows.sources, SOURCE.limit)
            self.altered += changed
            flows = evolve(flows, sources=sources)
        return Decoded(
            self.blocks,
            self.rejects,
            self.altered,
            flows,
            self.numbers,
            self.counts,
            self.unreadable,
        )


def _opened(messages: Sequence[bytes], numbers: Iterable[int]) -> Iterator[Burst | None]:
    """Bursts of the messages with these numbers, of a bounded size; None after each long step."""
    burst = Burst()
    for number in numbers:
        message: Message | None = None
        for step in opening(messages[number]):
            if step is None:
                yield None
            elif isinstance(step, Whole):
                burst.add(number, step.message, len(messages[number]))
            elif isinstance(step, Head):
                message = burst.begin(number, step.envelope, step.count)
                if message is None:
                    break  # it is refused
            elif message is not None:
                burst.more(message, step)
            if burst.full:
                yield burst
                burst = Burst()
    if burst.numbers:
        yield burst


def _good(
    block: Block, faults: Faults, positions: Integers, burst: Burst
) -> tuple[Block, Integers] | None:
    """The events without a fault, and their positions; the others are refused."""
    for reason, name, rows in faults.groups():
        burst.refuse(reason, name, positions[rows])
    good = faults.good
    if good is not None:
        block, positions = block.take(good), positions[good]
    return (block, positions) if block.size else None


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
    """The block with its texts cut to their limits, and how many of them were altered."""
    texts = dict(block.texts)
    altered = 0
    for field in KINDS[block.kind]:
        if field.type is FieldType.TEXT:
            texts[field.name], changed = columns.tidy(texts[field.name], field.limit)
            altered += changed
    return Block(block.kind, block.size, block.numbers, texts), altered

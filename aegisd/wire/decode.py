"""Bytes in, Blocks and rejects out: the one place where messages become columns.

A burst of messages is decoded together. Each message is unpacked on its own, its events are
put side by side with those of the whole burst, and events with the same keys become columns at
once: which names they use, and which they lack, is found once for each set of keys. Any bytes
give an answer: what can't be kept is a reject, never an exception.

Every event of the burst has a position, its number in the order of arrival. What can't be read
as a message takes one position. So events = accepted + rejected, always.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.wire import columns
from aegisd.wire.block import Block, Integers, Numbers, Text, concatenate
from aegisd.wire.columns import Clock, Faults
from aegisd.wire.protocol import (
    BACKEND,
    ENVELOPE_KEYS,
    KINDS,
    REQUEST,
    SOURCE,
    SYSTEM,
    VERSION,
    Field,
    FieldType,
    Reason,
    camel_case,
)
from aegisd.wire.salvage import unpack_message

MAX_PLANS = 1024
"""Sets of keys whose reading is remembered; a gateway uses a handful."""

_ALIASES = {
    kind: {name: field.name for field in fields for name in (field.name, camel_case(field.name))}
    for kind, fields in KINDS.items()
}


@frozen(eq=False)
class Reject:
    """Events refused for one reason. ``positions`` are theirs in the burst."""

    reason: Reason
    field: str
    positions: Integers


@frozen
class Flow:
    """A message that says who sent it: ``count`` events, ``seq`` of them emitted before."""

    source: str
    seq: int | None
    count: int


@frozen(eq=False)
class Decoded:
    """What a burst held.

    ``starts`` has the first position of each message, and behind them the number of events.
    """

    blocks: list[Block]
    rejects: list[Reject]  # one for each reason and field
    altered: int
    flows: list[Flow]
    starts: Integers

    def message_of(self, position: int) -> int:
        """The number of the message that the event at ``position`` came in."""
        return int(np.searchsorted(self.starts, position, side="right")) - 1


class Decoder:
    """Decodes bursts. It remembers how sets of keys are read, and nothing of the events.

    ``max_age`` is the age in microseconds beyond which an event is out of range.
    """

    def __init__(self, max_age: int) -> None:
        self._max_age = max_age
        self._plans: dict[tuple[str, tuple[Any, ...]], _Plan] = {}

    def decode(self, messages: Sequence[bytes], now: int) -> Decoded:
        """Decode a burst; ``now`` is in microseconds since 1970."""
        burst = _Burst()
        for data in messages:
            burst.add(unpack_message(data))
        clock = Clock(now, self._max_age)
        blocks: dict[str, list[tuple[Block, Integers]]] = {}
        altered = 0
        for (kind, shape), (events, positions) in self._grouped(burst).items():
            plan = self._plan(kind, shape)
            block, faults = plan.read(events, clock)
            where = np.array(positions, np.int64)
            for reason, name, rows in faults.groups():
                burst.refuse(reason, name, where[rows].tolist())
            good = faults.good
            if good is not None:
                block, where = block.take(good), where[good]
            if not block.size:
                continue
            if kind == SYSTEM:
                block = block.with_text(
                    SOURCE.name, _filled(block.texts[SOURCE.name], burst.sources_of(where))
                )
            block, changed = _tidy(block)
            altered += changed
            blocks.setdefault(kind, []).append((block, where))
        return Decoded(
            [_in_order(kind, parts) for kind, parts in blocks.items()],
            burst.rejects(),
            altered + burst.altered,
            burst.flows,
            np.array([*burst.starts, burst.size], np.int64),
        )

    def _grouped(self, burst: "_Burst") -> "_Groups":
        """The burst's events by kind and known keys."""
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
                    # by its known keys: those who put a key of their own into every event
                    # would else make a column of every event
                    known = tuple(key for key in shape if key in _ALIASES[kind])
                    group = shapes[kind, shape] = groups.setdefault((kind, known), ([], []))
                group[0].append(event)
                group[1].append(position)
        return groups

    def _plan(self, kind: str, shape: tuple[Any, ...]) -> "_Plan":
        plan = self._plans.get((kind, shape))
        if plan is None:
            plan = _Plan(kind, shape)
            if len(self._plans) < MAX_PLANS:
                self._plans[kind, shape] = plan
        return plan


_Groups = dict[tuple[str, tuple[Any, ...]], tuple[list[Any], list[int]]]


def _in_order(kind: str, parts: list[tuple[Block, Integers]]) -> Block:
    """One block of ``parts``. Of kinds whose latest report counts, in the order of arrival."""
    block = concatenate(part for part, _ in parts)[0]
    if len(parts) > 1 and kind in (BACKEND, SYSTEM):
        block = block.ordered(np.argsort(np.concatenate([where for _, where in parts])))
    return block


def _filled(text: Text, other: Text) -> Text:
    """``text``, and ``other`` where it has none."""
    if None not in text.values:
        return text
    pairs = zip(text.rows(), other.rows(), strict=True)
    return Text.of([theirs if own is None else own for own, theirs in pairs])


def _tidy(block: Block) -> tuple[Block, int]:
    texts = dict(block.texts)
    altered = 0
    for field in KINDS[block.kind]:
        if field.type is FieldType.TEXT:
            texts[field.name], changed = columns.tidy(texts[field.name], field.limit)
            altered += changed
    return Block(block.kind, block.size, block.numbers, texts), altered


class _Plan:
    """How events of one kind with the same keys are read."""

    def __init__(self, kind: str, shape: tuple[Any, ...]) -> None:
        self._kind = kind
        keys: dict[str, str] = {}  # the field's name -> the key it comes under, the last counts
        for key in shape:
            keys[_ALIASES[kind][key]] = key
        fields = KINDS[kind]
        self._present = [
            (field, itemgetter(keys[field.name])) for field in fields if field.name in keys
        ]
        self._absent = [field for field in fields if field.name not in keys]
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


class _Burst:
    """The messages of a burst, opened: events by their default kind, and what the envelopes say."""

    def __init__(self) -> None:
        self.size = 0
        self.altered = 0
        self.starts: list[int] = []
        self.events: dict[str, tuple[list[Any], list[int]]] = {}
        self._refused: dict[tuple[Reason, str], list[int]] = {}
        self.flows: list[Flow] = []
        self._senders: list[tuple[int, int, str]] = []

    def add(self, message: Any) -> None:
        """Open one unpacked message."""
        self.starts.append(self.size)
        if type(message) is list:
            self._events(message, REQUEST)
        elif type(message) is not dict:
            self._refuse(Reason.MALFORMED, "", 1)
        elif message.get("events") is not None or message.get("columns") is not None:
            self._envelope(message)
        elif "source" in message and "seq" in message and ENVELOPE_KEYS.issuperset(message):
            self._envelope(message | {"events": []})  # a heartbeat without even a list
        elif "source" in message or "seq" in message:
            self._alone(message)
        else:
            self._events([message], REQUEST)

    def refuse(self, reason: Reason, field: str, positions: Iterable[int]) -> None:
        """Refuse events."""
        self._refused.setdefault((reason, field), []).extend(positions)

    def rejects(self) -> list[Reject]:
        """What was refused: few, however many the events, since each is looked at again."""
        return [
            Reject(reason, field, np.sort(np.array(positions, np.int64)))
            for (reason, field), positions in self._refused.items()
        ]

    def sources_of(self, positions: Integers) -> Text:
        """Who sent each event, as its envelope says."""
        starts = [start for start, _, _ in self._senders]
        names: list[str | None] = []
        for position in positions.tolist():
            i = bisect_right(starts, position) - 1
            _, end, name = self._senders[i] if i >= 0 else (0, 0, None)
            names.append(name if position < end else None)
        return Text.of(names)

    def _events(self, events: list[Any], kind: str) -> None:
        held, positions = self.events.setdefault(kind, ([], []))
        held += events
        positions += range(self.size, self.size + len(events))
        self.size += len(events)

    def _refuse(self, reason: Reason, field: str, count: int) -> None:
        """Refuse a whole message of ``count`` events."""
        self.refuse(reason, field, range(self.size, self.size + count))
        self.size += count

    def _envelope(self, message: dict[str, Any]) -> None:
        events = message.get("events")
        if message.get("columns") is not None or type(events) is not list:
            field = "events" if message.get("columns") is None else "columns"
            self._refuse(Reason.MALFORMED, field, 1)
            return
        fault = self._flow_fault(message)
        if fault is None:
            self._flow(message, len(events))  # also of a refused message: it was not lost
            fault = self._fault(message)
        if fault is not None:
            self._refuse(*fault, max(1, len(events)))
            return
        kind = message.get("kind")
        self._events(events, REQUEST if kind is None else kind)

    def _alone(self, event: dict[str, Any]) -> None:
        fault = self._flow_fault(event)
        if fault is not None:
            self._refuse(*fault, 1)
            return
        self._flow(event, 1)
        self._events([event], REQUEST)

    def _fault(self, message: dict[str, Any]) -> tuple[Reason, str] | None:
        version, kind = message.get("v"), message.get("kind")
        if version is not None and type(version) is not int:
            return Reason.BAD_TYPE, "v"
        if version not in (None, VERSION):
            return Reason.OUT_OF_RANGE, "v"
        if kind is not None and type(kind) is not str:
            return Reason.BAD_TYPE, "kind"
        return None

    def _flow_fault(self, message: dict[str, Any]) -> tuple[Reason, str] | None:
        source, seq = message.get("source"), message.get("seq")
        if source is not None and type(source) is not str:
            return Reason.BAD_TYPE, "source"
        if seq is not None and type(seq) is not int:
            return Reason.BAD_TYPE, "seq"
        if seq is not None and source is None:
            return Reason.MISSING_FIELD, "source"
        if seq is not None and seq < 0:
            return Reason.BAD_SEQ, "seq"
        return None

    def _flow(self, message: dict[str, Any], count: int) -> None:
        source = message.get("source")
        if source is None:
            return
        name = columns.clean(source, SOURCE.limit)
        self.altered += name != source
        self.flows.append(Flow(name, message.get("seq"), count))
        self._senders.append((self.size, self.size + count, name))

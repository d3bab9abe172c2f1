"""Bytes in, Blocks and rejects out: the one place where messages become columns.

A burst of messages is decoded together. Each message is unpacked on its own, its events are
put side by side with those of the whole burst, and events with the same keys become columns at
once: which names they use, and which they lack, is found once for each set of keys. Any bytes
give an answer: what can't be kept is a reject, never an exception.

Every event of the burst has a position, its number in the order of arrival. What can't be read
as a message takes one position. So events = accepted + rejected, always.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.wire import columns
from aegisd.wire.block import Block, Integers, Numbers, Text, concatenate
from aegisd.wire.columns import Clock, Faults
from aegisd.wire.protocol import (
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
    rejects: list[Reject]
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
        blocks: list[Block] = []
        altered = 0
        for (kind, shape), (events, positions) in self._grouped(burst).items():
            plan = self._plan(kind, shape)
            block, faults = plan.read(events, clock)
            where = np.array(positions, np.int64)
            burst.rejects += [Reject(r, f, where[rows]) for r, f, rows in faults.groups()]
            good = faults.good
            if good is not None:
                block, where = block.take(good), where[good]
            if not block.size:
                continue
            if kind == SYSTEM and block.texts[SOURCE.name].values == [None]:
                block = block.with_text(SOURCE.name, burst.sources_of(where))
            block, changed = _tidy(block)
            altered += changed
            blocks.append(block)
        return Decoded(
            concatenate(blocks),
            burst.rejects,
            altered + burst.altered,
            burst.flows,
            np.array([*burst.starts, burst.size], np.int64),
        )

    def _grouped(self, burst: "_Burst") -> "_Groups":
        """The burst's events by kind and keys."""
        groups: _Groups = {}
        for default, (events, positions) in burst.events.items():
            for event, position in zip(events, positions, strict=True):
                if type(event) is not dict:
                    burst.reject(Reason.MALFORMED, "", position)
                    continue
                kind = default
                if "kind" in event:
                    given = event["kind"]
                    if given is not None:
                        kind = given
                    if type(kind) is not str:
                        burst.reject(Reason.BAD_TYPE, "kind", position)
                        continue
                if kind not in KINDS:
                    burst.reject(Reason.UNKNOWN_KIND, "kind", position)
                    continue
                group = groups.get((kind, tuple(event)))
                if group is None:
                    group = groups[kind, tuple(event)] = ([], [])
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
            if isinstance(key, str) and key in _ALIASES[kind]:
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
        self.rejects: list[Reject] = []
        self.flows: list[Flow] = []
        self._flow_starts: list[tuple[int, int, str]] = []

    def add(self, message: Any) -> None:
        """Open one unpacked message."""
        self.starts.append(self.size)
        if type(message) is list:
            self._events(message, REQUEST)
        elif type(message) is not dict:
            self._refuse(Reason.MALFORMED, "", 1)
        elif "events" in message or "columns" in message:
            self._envelope(message)
        elif "source" in message and "seq" in message and ENVELOPE_KEYS.issuperset(message):
            self._envelope(message | {"events": []})  # a heartbeat without even a list
        elif "source" in message or "seq" in message:
            self._alone(message)
        else:
            self._events([message], REQUEST)

    def reject(self, reason: Reason, field: str, position: int) -> None:
        """Refuse one event."""
        self.rejects.append(Reject(reason, field, np.array([position], np.int64)))

    def sources_of(self, positions: Integers) -> Text:
        """Who sent each event, as its envelope says."""
        names: list[str | None] = []
        for position in positions.tolist():
            hits = (name for start, end, name in self._flow_starts if start <= position < end)
            names.append(next(hits, None))
        return Text.of(names)

    def _events(self, events: list[Any], kind: str) -> None:
        held, positions = self.events.setdefault(kind, ([], []))
        held += events
        positions += range(self.size, self.size + len(events))
        self.size += len(events)

    def _refuse(self, reason: Reason, field: str, count: int) -> None:
        """Refuse a whole message of ``count`` events."""
        positions = np.arange(self.size, self.size + count, dtype=np.int64)
        self.rejects.append(Reject(reason, field, positions))
        self.size += count

    def _envelope(self, message: dict[str, Any]) -> None:
        events = message.get("events")
        if "columns" in message or type(events) is not list:
            self._refuse(Reason.MALFORMED, "columns" if "columns" in message else "events", 1)
            return
        fault = self._fault(message)
        if fault is not None:
            self._refuse(*fault, max(1, len(events)))
            return
        self._flow(message, len(events))
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
        return self._flow_fault(message)

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
        self._flow_starts.append((self.size, self.size + count, name))

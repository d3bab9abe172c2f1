"""Reads the plain requests of a burst all at once, without an object for any of them.

The messages of a burst look alike: maps with the same keys, one by one, in lists, or in
envelopes around lists; ``shapes`` walks through them together. Where the events of a list start
is found by looking for the key that its first event starts with. Whether these places are the
events' boundaries the walk proves: each event must end where the next one starts, and the last
one where its message ends.

Only what is plain is read here. A message in which anything is unusual (another kind, a nested
value, any fault) is left alone as a whole, for ``decode`` to open on its own. So what is read
here has no rejects, and every fault is judged in one place.
"""

import numpy as np
from attrs import frozen

from aegisd.wire import columns
from aegisd.wire.block import ABSENT, Block, Integers, Mask, Numbers, Text
from aegisd.wire.columns import Clock, Faults
from aegisd.wire.flows import MAX_SEQ, Flows
from aegisd.wire.messages import Messages
from aegisd.wire.octets import NIL, Memory, Values, every
from aegisd.wire.protocol import KINDS, REQUEST, VERSION, Field, FieldType, Reason, aliases
from aegisd.wire.shapes import Shape, walk

MAX_OPENINGS = 4
"""First keys by which the events of lists are looked for: one for each make of emitter."""
MIN_COLUMNS_BYTES = 512
COLUMNS_WITHIN_BYTES = 128
"""How far into an envelope one looks for its columns: behind version, kind, source and seq."""

_FIELDS = {name.encode(): field for name, field in aliases(REQUEST).items()}
_KIND, _SOURCE, _SEQ, _VERSION = b"kind", b"source", b"seq", b"v"
_COLUMNS = b"\xa7columns"
_ENVELOPES_OWN = frozenset({b"events", b"columns"})

Pending = list[tuple[Integers, Integers]]
Senders = list[tuple[Integers, Text, Integers]]


@frozen(eq=False)
class Scanned:
    """What was read: ``counts`` has each message's events, -1 where it was left alone."""

    blocks: list[Block]
    flows: list[Flows]
    counts: Integers


def left_alone(messages: Messages, clock: Clock) -> Scanned:
    """Nothing read."""
    del clock
    return Scanned([], [], np.full(len(messages), -1, np.int64))


def scan(messages: Messages, clock: Clock) -> Scanned:
    """Read what is plain."""
    return _Scan(messages, clock).run()


class _Scan:
    def __init__(self, messages: Messages, clock: Clock) -> None:
        self._memory = Memory(messages.data)
        self._messages = messages
        self._clock = clock
        self._counts = np.full(len(messages), -1, np.int64)
        self._read = np.zeros(len(messages), np.int64)
        self._events: list[tuple[Block, Integers]] = []  # the numbers are those of messages
        self._senders: Senders = []  # messages, their sources and seqs

    def run(self) -> Scanned:
        starts = self._messages.starts
        tags = self._memory.octets[starts]
        maps = self._but_columns(np.flatnonzero((tags & 0xF0) == 0x80))
        arrays = np.flatnonzero(((tags & 0xF0) == 0x90) | ((tags & 0xFE) == 0xDC))
        lists = [(arrays, starts[arrays])] if len(arrays) else []
        for shape in walk(self._memory, starts[maps]) if len(maps) else []:
            lists += self._map(shape, maps[shape.rows])
        if lists:
            self._lists(*_in_order(lists))
        return self._whole()

    def _but_columns(self, maps: Integers) -> Integers:
        """Those of the messages that are no columns messages, which are not for here.

        They are large: among small messages nobody looks for them, and the walk leaves them.
        """
        if self._messages.nbytes < MIN_COLUMNS_BYTES * len(self._messages):
            return maps
        find, starts = self._messages.data.find, self._messages.starts
        places = starts[maps].tolist()
        found = [find(_COLUMNS, at, at + COLUMNS_WITHIN_BYTES) < 0 for at in places]
        return maps[np.array(found, np.bool_)]

    def _map(self, shape: Shape, messages: Integers) -> Pending:
        """Read messages that are maps: events, or envelopes, whose lists come back."""
        if _ENVELOPES_OWN & shape.values.keys():
            return []
        good, senders = self._said(shape, messages)
        if _VERSION in shape.values and shape.opens:
            version = shape.values[_VERSION]
            found, _, wrong = self._memory.integers(version)
            good &= _but(found == VERSION, wrong)  # nil stands as 0, and is not plain
        if _KIND in shape.values:
            good &= self._are_requests(shape)
        if not every(good):
            shape, messages = shape.take(good), messages[good]
        self._senders += senders
        if shape.opens:
            return [(messages, shape.at)]
        self._counts[messages] = 1
        self._take(shape, messages, self._messages.ends[messages])
        return []

    def _lists(self, messages: Integers, at: Integers) -> None:
        """Read the lists of events at ``at``, in the order of their messages."""
        memory = self._memory
        lengths, first = memory.array_heads(at, memory.octets[at])
        ends = self._messages.ends[messages]
        starts = self._openings(first[(lengths > 0) & (first < ends)])
        low, high = starts.searchsorted(first), starts.searchsorted(ends)
        # as many maps as the list says, and the first of them where it begins
        whole = (high - low == lengths) & (lengths > 0)
        whole[whole] = starts[low[whole]] == first[whole]
        if not every(whole) or int(lengths.sum()) != len(starts):
            messages, lengths, ends = messages[whole], lengths[whole], ends[whole]
            starts = starts[_within(low[whole], high[whole], len(starts))]
        if not len(starts):
            return
        self._counts[messages] = lengths
        owners = np.repeat(messages, lengths)
        next_starts = np.append(starts[1:], 0)
        next_starts[lengths.cumsum() - 1] = ends
        for shape in walk(memory, starts):
            requests = shape.take(self._are_requests(shape)) if _KIND in shape.values else shape
            self._take(requests, owners[requests.rows], next_starts[requests.rows])

    def _openings(self, first: Integers) -> Integers:
        """Where a map seems to start with the key that one of the maps at ``first`` starts with."""
        memory = self._memory
        found: list[Integers] = []
        for _ in range(MAX_OPENINGS):
            if not len(first):
                break
            start = int(first[len(first) // 2]) + 1
            token = memory.data[start : start + 1 + (memory.data[start] & 0x1F)]
            places = np.flatnonzero(memory.octets[: memory.end] == token[0])
            places = places[memory.equal(places, token)] - 1
            found.append(places[(memory.octets[places] & 0xF0) == 0x80])
            first = first[~memory.equal(first + 1, token)]
        if len(found) == 1:
            return found[0]
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def _take(self, shape: Shape, messages: Integers, ends: Integers) -> None:
        """Read events that end where they should."""
        good = shape.at == ends
        if not every(good):
            shape, messages = shape.take(good), messages[good]
        if not len(messages):
            return
        block, plain = self._block(shape)
        if plain is not None:
            block, messages = block.take(plain), messages[plain]
        self._read += np.bincount(messages, minlength=len(self._read))
        self._events.append((block, messages))

    def _whole(self) -> Scanned:
        """The events of messages of which every event was read."""
        whole = self._read == self._counts
        self._counts[~whole] = -1
        blocks = []
        for block, messages in self._events:
            rows = whole[messages]
            kept = block if every(rows) else block.take(rows)
            if kept.size:
                blocks.append(kept)
        return Scanned(blocks, self._flows(), self._counts)

    def _flows(self) -> list[Flows]:
        flows = []
        for messages, sources, seqs in self._senders:
            counts = self._counts[messages]
            read = counts >= 0
            kept = Text(sources.values, sources.index[read])
            flows.append(Flows(messages[read], kept, seqs[read], counts[read]))
        return flows

    def _block(self, shape: Shape) -> tuple[Block, Mask | None]:
        """The requests' block, and which of them are plain (None: all)."""
        size = len(shape.rows)
        given = {_FIELDS[key]: values for key, values in shape.values.items() if key in _FIELDS}
        faults = Faults(size)
        nothing = Text.constant(None, size)  # one for all fields: most texts are absent
        numbers: dict[str, Numbers] = {}
        texts: dict[str, Text] = {}
        for field in KINDS[REQUEST]:
            values = given.get(field.name)
            if values is None:
                if field.required:
                    faults.mark(faults.all, Reason.MISSING_FIELD, field.name)
                is_text = field.type is FieldType.TEXT
                column = nothing if is_text else columns.absent(field, size, self._clock)
            elif field.type is FieldType.TEXT:
                column = self._text(field, values, faults)
            else:
                column = self._number(field, values, faults)
            if isinstance(column, Text):
                texts[field.name] = column
            else:
                numbers[field.name] = column
        return Block(REQUEST, size, numbers, texts), faults.good

    def _text(self, field: Field, values: Values, faults: Faults) -> Text:
        text, wrong = self._memory.texts(values)
        if wrong is not None:
            faults.mark(wrong, Reason.BAD_TYPE, field.name)
        if field.required and None in text.values:
            faults.mark(values.tags == NIL, Reason.MISSING_FIELD, field.name)
        return text

    def _number(self, field: Field, values: Values, faults: Faults) -> Numbers:
        memory = self._memory
        read = memory.integers if field.type is FieldType.STATUS else memory.floats
        found, none, wrong = read(values)
        if wrong is not None:
            faults.mark(wrong, Reason.BAD_TYPE, field.name)
        if none is not None and field.required:
            faults.mark(none, Reason.MISSING_FIELD, field.name)
        return columns.check(field, found, faults, self._clock, none)

    def _are_requests(self, shape: Shape) -> Mask:
        """Which say that they are requests, or don't say."""
        values = shape.values[_KIND]
        text, wrong = self._memory.texts(values)
        known = np.array([kind in (None, REQUEST) for kind in text.values], np.bool_)
        return _but(known[text.index], wrong)

    def _said(self, shape: Shape, messages: Integers) -> tuple[Mask, Senders]:
        """Who sent the messages, where they say so; and which of them say it rightly."""
        said = shape.values
        if _SOURCE not in said:
            return np.full(len(messages), _SEQ not in said), []
        values = said[_SOURCE]
        sources, wrong = self._memory.texts(values)
        good = _but(values.tags != NIL, wrong)
        seqs = np.full(len(messages), ABSENT)
        if _SEQ in said:
            values = said[_SEQ]
            seqs, _, wrong = self._memory.integers(values)
            good &= _but((seqs >= 0) & (seqs <= MAX_SEQ), wrong)
            good &= values.tags != NIL
        return good, [(messages, sources, seqs)]


def _within(low: Integers, high: Integers, size: int) -> Mask:
    """Which of ``size`` places lie in one of the spans, which don't overlap."""
    steps = np.zeros(size + 1, np.int64)
    np.add.at(steps, low, 1)
    np.add.at(steps, high, -1)
    within: Mask = steps.cumsum()[:-1] > 0
    return within


def _but(mask: Mask, wrong: Mask | None) -> Mask:
    return mask if wrong is None else mask & ~wrong


def _in_order(lists: Pending) -> tuple[Integers, Integers]:
    """All lists by the order of their messages."""
    if len(lists) == 1:
        return lists[0]
    messages = np.concatenate([messages for messages, _ in lists])
    at = np.concatenate([at for _, at in lists])
    order = np.argsort(messages)
    return messages[order], at[order]

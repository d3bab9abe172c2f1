"""Takes unpacked messages apart: into events, tables, and what their envelopes say.

A message is an event, a list of events, or an envelope around a list or a table. A bad envelope
rejects the whole message. The events are not looked into here: ``groups`` and ``tables`` do that.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from attrs import define, frozen

from aegisd.events.block import Integers, Text
from aegisd.events.flows import MAX_SEQ, FlowRow
from aegisd.events.protocol import ENVELOPE_KEYS, MAX_ROWS, REQUEST, SOURCE, VERSION, Reason
from aegisd.wire.careful.forms import TableRejected
from aegisd.wire.careful.opening import UNREADABLE
from aegisd.wire.careful.tables import MAX_READ_ROWS, Table, open_table
from aegisd.wire.texts import clean

Fault = tuple[Reason, str]
"""Why a message or event is rejected, and for which of its keys."""

MAX_EVENTS = 1024
"""So many events are read at once, beside those in tables. Each takes microseconds to open."""

FREE_ROWS = 1024
"""A columns message may have so many rows whatever its length. Further rows must take a byte each,
as they do in all forms except one value for all rows. Otherwise a burst of small messages could be
millions of events, and gigabytes of memory."""


@frozen(eq=False)
class Reject:
    """Events rejected for one reason and field.

    Event ``i`` came in message ``message_numbers[i]`` of the burst, as its event ``indexes[i]``.
    """

    reason: Reason
    field: str
    message_numbers: Integers
    indexes: Integers


@define
class Envelope:
    """What is known of a message's events before they are read. A list has no envelope: defaults.

    ``kind`` is the kind of events that name none. ``added`` of its events have been added.
    """

    number: int  # of the message
    kind: str
    added: int = 0
    source: str | None = None  # as it is kept


class OpenedMessages:
    """Messages of a burst that were taken apart and are read together.

    ``size`` counts their events, rejected ones too. Each has a position, from 0 on in the order of
    arrival. The first and the last message may be here in part: a large message's events come in
    lists, and fill several ``OpenedMessages``.

    ``message_numbers[i]`` is the place of message ``i`` in the burst. Its events begin at the
    position ``_starts[i]``, and ``_earlier[i]`` of its events are in an earlier ``OpenedMessages``.
    """

    def __init__(self) -> None:
        self.size = 0
        self.events: dict[str, tuple[list[Any], list[int]]] = {}  # and positions, by default kind
        self.tables: list[tuple[Table, int]] = []  # with the position of the first row
        self.table_rows = 0
        self.message_numbers: list[int] = []
        self._starts: list[int] = []
        self._earlier: list[int] = []
        self.unreadable: list[int] = []  # numbers of what is no message at all
        self._rejected: dict[Fault, list[Integers]] = {}  # positions
        self.flows: list[FlowRow] = []
        self._sources: list[tuple[int, int, str]] = []  # positions from, to before; source

    @property
    def full(self) -> bool:
        """Whether it is at its bounds, and should be read."""
        return self.size - self.table_rows >= MAX_EVENTS or self.table_rows >= MAX_READ_ROWS

    def add_message(self, number: int, message: Any, length: int) -> None:
        """Take an unpacked message apart. ``length`` is its length in bytes."""
        self._begin(number)
        if message is UNREADABLE:  # it is rejected below, too, as one malformed event
            self.unreadable.append(number)
        if type(message) is list:
            self.add_events(Envelope(number, REQUEST), message)
        elif type(message) is not dict:
            self._reject_message(Reason.MALFORMED, "", 1)
        elif message.get("columns") is not None:
            self._add_table(message, length)
        elif message.get("events") is not None:
            self._add_enveloped(message)
        elif _is_heartbeat(message):
            self._add_enveloped(message | {"events": []})
        elif "source" in message or "seq" in message:
            self._add_single(message)
        else:
            self._append([message], REQUEST)

    def start_message(
        self, number: int, message: dict[str, Any] | None, count: int
    ) -> Envelope | None:
        """Begin a message of ``count`` events, which are added later; None if it is rejected.

        ``message`` is the message without its events, None for a list.
        """
        self._begin(number)
        if message is None:
            return Envelope(number, REQUEST)
        if message.get("columns") is not None:
            self._reject_message(Reason.MALFORMED, "columns", 1)
            return None
        return self._checked_envelope(message, count)

    def add_events(self, envelope: Envelope, events: list[Any]) -> None:
        """Add the next events of a message, which may have begun in an earlier one of these."""
        if not self.message_numbers or self.message_numbers[-1] != envelope.number:
            self._begin(envelope.number, envelope.added)
        if envelope.source is not None:
            self._sources.append((self.size, self.size + len(events), envelope.source))
        envelope.added += len(events)
        self._append(events, envelope.kind)

    def reject(self, reason: Reason, field: str, positions: Integers) -> None:
        """Reject events."""
        self._rejected.setdefault((reason, field), []).append(positions)

    def rejects(self) -> list[Reject]:
        """What was rejected: one for each reason and field, however many events."""
        made = []
        starts = np.array(self._starts, np.int64)
        for (reason, field), positions in self._rejected.items():
            where = np.sort(np.concatenate(positions))
            row = starts.searchsorted(where, side="right") - 1
            indexes = where - starts[row] + np.array(self._earlier, np.int64)[row]
            message_numbers = np.array(self.message_numbers, np.int64)[row]
            made.append(Reject(reason, field, message_numbers, indexes))
        return made

    def counts(self) -> list[int]:
        """How many events of each message are here; as ``message_numbers``."""
        return [end - start for start, end in pairwise([*self._starts, self.size])]

    def sources_of(self, positions: Integers) -> Text:
        """The source of each event's envelope, None if it has none."""
        sources = [(0, 0, None), *self._sources]
        starts, ends, names = zip(*sources, strict=True)
        source = np.searchsorted(np.array(starts), positions, side="right") - 1
        source[positions >= np.array(ends)[source]] = 0  # nobody's
        return Text(names, source.astype(np.int32))

    def _begin(self, number: int, earlier: int = 0) -> None:
        self.message_numbers.append(number)
        self._starts.append(self.size)
        self._earlier.append(earlier)

    def _append(self, events: list[Any], kind: str) -> None:
        held, positions = self.events.setdefault(kind, ([], []))
        held += events
        positions += range(self.size, self.size + len(events))
        self.size += len(events)

    def _reject_message(self, reason: Reason, field: str, count: int) -> None:
        """Reject a whole message that counts as ``count`` events."""
        self.reject(reason, field, np.arange(self.size, self.size + count))
        self.size += count

    def _add_enveloped(self, message: dict[str, Any]) -> None:
        events = message["events"]
        if type(events) is not list:
            self._reject_message(Reason.MALFORMED, "events", 1)
        elif (envelope := self._checked_envelope(message, len(events))) is not None:
            self.add_events(envelope, events)

    def _checked_envelope(self, message: dict[str, Any], count: int) -> Envelope | None:
        if not self._accept_envelope(message, count):
            return None
        kind, source = message.get("kind"), message.get("source")
        return Envelope(
            self.message_numbers[-1],
            REQUEST if kind is None else kind,
            source=None if source is None else clean(source, SOURCE.limit),
        )

    def _add_table(self, message: dict[str, Any], length: int) -> None:
        if message.get("events") is not None:
            self._reject_message(Reason.MALFORMED, "columns", 1)
            return
        fault = _rows_fault(message.get("n"), length)
        # without a good ``n`` nobody knows how many events it is: it counts as one
        size: int = message["n"] if fault is None else 1
        if not self._accept_envelope(message, size, fault):
            return
        kind, source = message.get("kind"), message.get("source")
        try:
            table = open_table(REQUEST if kind is None else kind, size, message["columns"])
        except TableRejected as rejected:
            self._reject_message(rejected.reason, rejected.field, max(1, size))
        else:
            if size:
                self.tables.append((table, self.size))
                self.table_rows += size
            if source is not None:
                name = clean(source, SOURCE.limit)
                self._sources.append((self.size, self.size + size, name))
            self.size += size

    def _accept_envelope(
        self, message: dict[str, Any], count: int, fault: Fault | None = None
    ) -> bool:
        """Note the flow of ``count`` events; reject them for ``fault`` or a fault found here."""
        flow_fault = _flow_fault(message)
        if flow_fault is None:
            self._note_flow(message, count)  # of a rejected message too: it was not lost
        fault = flow_fault or _envelope_fault(message) or fault
        if fault is not None:
            self._reject_message(*fault, max(1, count))
        return fault is None

    def _add_single(self, event: dict[str, Any]) -> None:
        """Add an event that is a message of its own, and names its source or seq."""
        fault = _flow_fault(event)
        if fault is not None:
            self._reject_message(*fault, 1)
            return
        self._note_flow(event, 1)
        self._append([event], REQUEST)

    def _note_flow(self, message: dict[str, Any], count: int) -> None:
        source = message.get("source")
        if source is not None:
            self.flows.append((self.message_numbers[-1], source, message.get("seq"), count))


def _envelope_fault(message: dict[str, Any]) -> Fault | None:
    """What is wrong with the version or the kind of an envelope."""
    version, kind = message.get("v"), message.get("kind")
    if version is not None and type(version) is not int:
        return Reason.BAD_TYPE, "v"
    if version not in (None, VERSION):
        return Reason.OUT_OF_RANGE, "v"
    if kind is not None and type(kind) is not str:
        return Reason.BAD_TYPE, "kind"
    return None


def _flow_fault(message: dict[str, Any]) -> Fault | None:
    """What is wrong with the source or the seq of a message."""
    source, seq = message.get("source"), message.get("seq")
    if source is not None and type(source) is not str:
        return Reason.BAD_TYPE, "source"
    if seq is not None and type(seq) is not int:
        return Reason.BAD_TYPE, "seq"
    if seq is not None and source is None:
        return Reason.MISSING_FIELD, "source"
    if seq is not None and not 0 <= seq <= MAX_SEQ:
        return Reason.BAD_SEQ, "seq"
    return None


def _is_heartbeat(message: dict[str, Any]) -> bool:
    """Whether a message without ``events`` is a heartbeat: it has a source and a seq, no event."""
    numbered = message.get("source") is not None and message.get("seq") is not None
    return numbered and ENVELOPE_KEYS.issuperset(message)


def most_rows(length: int) -> int:
    """The most events that a message of ``length`` bytes can hold."""
    return max(FREE_ROWS, length)


def _rows_fault(rows: object, length: int) -> Fault | None:
    """What is wrong with the ``n`` of a message of ``length`` bytes."""
    if rows is None:
        return Reason.MISSING_FIELD, "n"
    if type(rows) is not int:
        return Reason.BAD_TYPE, "n"
    if not 0 <= rows <= min(MAX_ROWS, most_rows(length)):
        return Reason.OUT_OF_RANGE, "n"
    return None

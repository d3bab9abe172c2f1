"""Opens the messages of a burst: which events they hold, and what their envelopes say.

A message is an event, a list of events or an envelope around one. Events are put side by side
by the kind they have when they name none; each has its position in the burst. The events of a
large message may come by and by, in one burst after the other.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from attrs import define, frozen

from aegisd.events.block import Integers, Text
from aegisd.events.flows import MAX_SEQ, FlowRow
from aegisd.events.protocol import ENVELOPE_KEYS, MAX_ROWS, REQUEST, SOURCE, VERSION, Reason
from aegisd.wire.careful import columns
from aegisd.wire.careful.forms import Refused
from aegisd.wire.careful.opening import UNREADABLE
from aegisd.wire.careful.table import MAX_READ_ROWS, Table, open_table

Fault = tuple[Reason, str]
"""Why a message is refused, and for what in it."""

MAX_EVENTS = 1024
"""Of a burst that is read: each is opened on its own, which takes microseconds."""

FREE_ROWS = 1024
"""Rows beyond these must take a byte each, as they do in every form but one value for all rows:
else a burst of small messages would be millions of events, and gigabytes of memory."""


@frozen(eq=False)
class Reject:
    """Events refused for one reason: the message that each came in, and its number in it."""

    reason: Reason
    field: str
    messages: Integers
    indexes: Integers


@define
class Message:
    """A message whose events come by and by: what they are and whose, and how many have come."""

    number: int
    kind: str
    seen: int = 0
    source: str | None = None  # as it is kept


class Burst:
    """Opened messages: events by their default kind, and what the envelopes say.

    Each event has a position, its number in the order of arrival.
    """

    def __init__(self) -> None:
        self.size = 0
        self.events: dict[str, tuple[list[Any], list[int]]] = {}
        self.tables: list[tuple[Table, int]] = []  # with the position of its first row
        self.rows = 0  # of all tables
        self.numbers: list[int] = []  # of the messages, and where the events of each begin
        self._starts: list[int] = []
        self._passed: list[int] = []  # events of it that came in an earlier burst
        self.unreadable: list[int] = []  # numbers of messages that are none
        self._refused: dict[Fault, list[Integers]] = {}
        self.flows: list[FlowRow] = []  # the rows of ``Flows``
        self._senders: list[tuple[int, int, str]] = []

    @property
    def full(self) -> bool:
        """Whether so much is in it that it should be read."""
        return self.size - self.rows >= MAX_EVENTS or self.rows >= MAX_READ_ROWS

    def add(self, number: int, message: Any, length: int) -> None:
        """Open one unpacked message that was ``length`` bytes long."""
        self._begin(number)
        if message is UNREADABLE:
            self.unreadable.append(number)
        if type(message) is list:
            self.more(Message(number, REQUEST), message)
        elif type(message) is not dict:
            self._refuse(Reason.MALFORMED, "", 1)
        elif message.get("columns") is not None:
            self._columns(message, length)
        elif message.get("events") is not None:
            self._envelope(message)
        elif _is_heartbeat(message):
            self._envelope(message | {"events": []})  # a heartbeat without even a list
        elif "source" in message or "seq" in message:
            self._alone(message)
        else:
            self._events([message], REQUEST)

    def begin(self, number: int, envelope: dict[str, Any] | None, count: int) -> Message | None:
        """Open a message of ``count`` events, which come by ``more``; None where it is refused."""
        self._begin(number)
        if envelope is None:
            return Message(number, REQUEST)
        if envelope.get("columns") is not None:
            self._refuse(Reason.MALFORMED, "columns", 1)
            return None
        return self._opened_events(envelope, count)

    def more(self, message: Message, events: list[Any]) -> None:
        """Take the next events of a message, which may have begun in an earlier burst."""
        if not self.numbers or self.numbers[-1] != message.number:
            self._begin(message.number, message.seen)
        if message.source is not None:
            self._senders.append((self.size, self.size + len(events), message.source))
        message.seen += len(events)
        self._events(events, message.kind)

    def refuse(self, reason: Reason, field: str, positions: Integers) -> None:
        """Refuse events."""
        self._refused.setdefault((reason, field), []).append(positions)

    def rejects(self) -> list[Reject]:
        """What was refused: few, however many the events, since each is looked at again."""
        made = []
        starts = np.array(self._starts, np.int64)
        for (reason, field), positions in self._refused.items():
            where = np.sort(np.concatenate(positions))
            row = starts.searchsorted(where, side="right") - 1
            indexes = where - starts[row] + np.array(self._passed, np.int64)[row]
            made.append(Reject(reason, field, np.array(self.numbers, np.int64)[row], indexes))
        return made

    def counts(self) -> list[int]:
        """The events of each message that are here."""
        return [end - start for start, end in pairwise([*self._starts, self.size])]

    def sources_of(self, positions: Integers) -> Text:
        """Who sent each event, as its envelope says."""
        senders = [(0, 0, None), *self._senders]
        starts, ends, names = zip(*senders, strict=True)
        sender = np.searchsorted(np.array(starts), positions, side="right") - 1
        sender[positions >= np.array(ends)[sender]] = 0  # nobody's
        return Text(names, sender.astype(np.int32))

    def _begin(self, number: int, passed: int = 0) -> None:
        self.numbers.append(number)
        self._starts.append(self.size)
        self._passed.append(passed)

    def _events(self, events: list[Any], kind: str) -> None:
        held, positions = self.events.setdefault(kind, ([], []))
        held += events
        positions += range(self.size, self.size + len(events))
        self.size += len(events)

    def _refuse(self, reason: Reason, field: str, count: int) -> None:
        """Refuse a whole message of ``count`` events."""
        self.refuse(reason, field, np.arange(self.size, self.size + count))
        self.size += count

    def _envelope(self, message: dict[str, Any]) -> None:
        events = message["events"]
        if type(events) is not list:
            self._refuse(Reason.MALFORMED, "events", 1)
        elif (opened := self._opened_events(message, len(events))) is not None:
            self.more(opened, events)

    def _opened_events(self, message: dict[str, Any], count: int) -> Message | None:
        if not self._opened(message, count):
            return None
        kind, source = message.get("kind"), message.get("source")
        return Message(
            self.numbers[-1],
            REQUEST if kind is None else kind,
            source=None if source is None else columns.clean(source, SOURCE.limit),
        )

    def _columns(self, message: dict[str, Any], length: int) -> None:
        if message.get("events") is not None:
            self._refuse(Reason.MALFORMED, "columns", 1)
            return
        fault = _rows_fault(message.get("n"), length)
        # where nobody knows how many its rows are, a message counts as one event
        size: int = message["n"] if fault is None else 1
        if not self._opened(message, size, fault):
            return
        kind, source = message.get("kind"), message.get("source")
        try:
            table = open_table(REQUEST if kind is None else kind, size, message["columns"])
        except Refused as refused:
            self._refuse(refused.reason, refused.field, max(1, size))
        else:
            if size:
                self.tables.append((table, self.size))
                self.rows += size
            if source is not None:
                name = columns.clean(source, SOURCE.limit)
                self._senders.append((self.size, self.size + size, name))
            self.size += size

    def _opened(self, message: dict[str, Any], count: int, fault: Fault | None = None) -> bool:
        """Note who sent ``count`` events; refuse them where the envelope has a fault."""
        flow_fault = self._flow_fault(message)
        if flow_fault is None:
            self._flow(message, count)  # also of a refused message: it was not lost
        fault = flow_fault or self._fault(message) or fault
        if fault is not None:
            self._refuse(*fault, max(1, count))
        return fault is None

    def _alone(self, event: dict[str, Any]) -> None:
        fault = self._flow_fault(event)
        if fault is not None:
            self._refuse(*fault, 1)
            return
        self._flow(event, 1)
        self._events([event], REQUEST)

    def _fault(self, message: dict[str, Any]) -> Fault | None:
        version, kind = message.get("v"), message.get("kind")
        if version is not None and type(version) is not int:
            return Reason.BAD_TYPE, "v"
        if version not in (None, VERSION):
            return Reason.OUT_OF_RANGE, "v"
        if kind is not None and type(kind) is not str:
            return Reason.BAD_TYPE, "kind"
        return None

    def _flow_fault(self, message: dict[str, Any]) -> Fault | None:
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

    def _flow(self, message: dict[str, Any], count: int) -> None:
        source = message.get("source")
        if source is not None:
            self.flows.append((self.numbers[-1], source, message.get("seq"), count))


def _is_heartbeat(message: dict[str, Any]) -> bool:
    """Whether a message without events says how far its source is, and nothing else."""
    numbered = message.get("source") is not None and message.get("seq") is not None
    return numbered and ENVELOPE_KEYS.issuperset(message)


def most_rows(length: int) -> int:
    """How many events a message of ``length`` bytes may hold."""
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

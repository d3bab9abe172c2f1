"""Opens the messages of a burst: which events they hold, and what their envelopes say.

A message is an event, a list of events or an envelope around one. Events are put side by side
by the kind they have when they name none; each has its position in the burst.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.wire import columns
from aegisd.wire.block import Integers, Text
from aegisd.wire.flows import MAX_SEQ
from aegisd.wire.forms import Refused
from aegisd.wire.protocol import ENVELOPE_KEYS, REQUEST, SOURCE, VERSION, Reason
from aegisd.wire.table import Table, open_table

Fault = tuple[Reason, str]
"""Why a message is refused, and for what in it."""

MAX_ROWS = 65_536
"""Rows of a ``columns`` message. They are read in one go, and nothing else runs meanwhile."""

FREE_ROWS = 1024
"""Rows beyond these must take a byte each, as they do in every form but one value for all rows:
else a burst of small messages would be millions of events, and gigabytes of memory."""


@frozen(eq=False)
class Reject:
    """Events refused for one reason. ``positions`` are theirs in the burst."""

    reason: Reason
    field: str
    positions: Integers


class Burst:
    """The messages of a burst, opened: events by their default kind, and what the envelopes say."""

    def __init__(self) -> None:
        self.size = 0
        self.events: dict[str, tuple[list[Any], list[int]]] = {}
        self.tables: list[tuple[Table, int]] = []  # with the position of its first row
        self._refused: dict[tuple[Reason, str], list[int]] = {}
        self.message = 0  # the number of the one that is opened
        self.flows: list[tuple[int, str, int | None, int]] = []  # the rows of ``Flows``
        self._senders: list[tuple[int, int, str]] = []

    def add(self, message: Any, length: int) -> None:
        """Open one unpacked message that was ``length`` bytes long."""
        if type(message) is list:
            self._events(message, REQUEST)
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
        senders = [(0, 0, None), *self._senders]
        starts, ends, names = zip(*senders, strict=True)
        sender = np.searchsorted(np.array(starts), positions, side="right") - 1
        sender[positions >= np.array(ends)[sender]] = 0  # nobody's
        return Text(names, sender.astype(np.int32))

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
        events = message["events"]
        if type(events) is not list:
            self._refuse(Reason.MALFORMED, "events", 1)
        elif self._opened(message, len(events)):
            kind = message.get("kind")
            self._events(events, REQUEST if kind is None else kind)

    def _columns(self, message: dict[str, Any], length: int) -> None:
        if message.get("events") is not None:
            self._refuse(Reason.MALFORMED, "columns", 1)
            return
        fault = _rows_fault(message.get("n"), length)
        # where nobody knows how many its rows are, a message counts as one event
        size: int = message["n"] if fault is None else 1
        if not self._opened(message, size, fault):
            return
        kind = message.get("kind")
        try:
            table = open_table(REQUEST if kind is None else kind, size, message["columns"])
        except Refused as refused:
            self._refuse(refused.reason, refused.field, max(1, size))
        else:
            if size:
                self.tables.append((table, self.size))
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
        if source is None:
            return
        self.flows.append((self.message, source, message.get("seq"), count))
        name = columns.clean(source, SOURCE.limit)
        self._senders.append((self.size, self.size + count, name))


def _is_heartbeat(message: dict[str, Any]) -> bool:
    """Whether a message without events says how far its source is, and nothing else."""
    numbered = message.get("source") is not None and message.get("seq") is not None
    return numbered and ENVELOPE_KEYS.issuperset(message)


def _rows_fault(rows: object, length: int) -> Fault | None:
    """What is wrong with the ``n`` of a message of ``length`` bytes."""
    if rows is None:
        return Reason.MISSING_FIELD, "n"
    if type(rows) is not int:
        return Reason.BAD_TYPE, "n"
    if not 0 <= rows <= min(MAX_ROWS, max(FREE_ROWS, length)):
        return Reason.OUT_OF_RANGE, "n"
    return None

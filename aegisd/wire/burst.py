"""Opens the messages of a burst: which events they hold, and what their envelopes say.

A message is an event, a list of events or an envelope around one. Events are put side by side
by the kind they have when they name none; each has its position in the burst.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np
from attrs import frozen

from aegisd.wire import columns
from aegisd.wire.block import Integers, Text
from aegisd.wire.protocol import ENVELOPE_KEYS, REQUEST, SOURCE, VERSION, Reason


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


class Burst:
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

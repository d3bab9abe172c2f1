"""Makes columns of events that came one by one, as maps.

Events of the same kind with the same keys are a group, and are read at once. Which names a group
uses, and which fields it lacks, is found once for its set of keys: a ``GroupReader`` knows it.
"""

from operator import itemgetter
from typing import Any

import numpy as np

from aegisd.events.block import Block, Numbers, Text
from aegisd.events.protocol import KINDS, Field, Reason, aliases
from aegisd.wire import checks
from aegisd.wire.careful.envelopes import OpenedMessages
from aegisd.wire.checks import Faults, TimeLimits

_ALIASES = {kind: aliases(kind) for kind in KINDS}

EventGroups = dict[tuple[str, tuple[Any, ...]], tuple[list[Any], list[int]]]
"""Events and their positions, by their kind and by those of their keys that are read."""


def group_events(opened: OpenedMessages) -> EventGroups:
    """The groups of all events; anything that is no event is rejected.

    A group's events are not in the order of arrival: those whose envelope names the kind come
    apart from those that name it themselves.
    """
    groups: EventGroups = {}
    shapes: EventGroups = {}
    rejected: dict[tuple[Reason, str], list[int]] = {}
    for default, (events, positions) in opened.events.items():
        for event, position in zip(events, positions, strict=True):
            if type(event) is not dict:
                rejected.setdefault((Reason.MALFORMED, ""), []).append(position)
                continue
            kind = default
            if "kind" in event:
                given = event["kind"]
                if given is not None:
                    kind = given
                if type(kind) is not str:
                    rejected.setdefault((Reason.BAD_TYPE, "kind"), []).append(position)
                    continue
            if kind not in KINDS:
                rejected.setdefault((Reason.UNKNOWN_KIND, "kind"), []).append(position)
                continue
            shape = tuple(event)
            group = shapes.get((kind, shape))
            if group is None:
                read = _keys_read(kind, shape)
                group = shapes[kind, shape] = groups.setdefault((kind, read), ([], []))
            group[0].append(event)
            group[1].append(position)
    for fault, places in rejected.items():
        opened.reject(*fault, np.array(places, np.int64))
    return groups


def _keys_read(kind: str, shape: tuple[Any, ...]) -> tuple[str, ...]:
    """Those keys of ``shape`` that name a field, sorted; if two name the same field, the last.

    So there are only as many groups as there are sets of names that the protocol knows. An
    emitter that puts a new key into every event, or changes their order, would otherwise make a
    group of every event.
    """
    known = _ALIASES[kind]
    return tuple(sorted({known[key]: key for key in shape if key in known}.values()))


class GroupReader:
    """Reads groups of events of one kind with the same keys; each key names another field."""

    def __init__(self, kind: str, keys: tuple[str, ...]) -> None:
        self._kind = kind
        given = {_ALIASES[kind][key]: key for key in keys}
        fields = KINDS[kind]
        self._present = [
            (field, itemgetter(given[field.name])) for field in fields if field.name in given
        ]
        self._absent = [field for field in fields if field.name not in given]
        self._missing = next((field for field in self._absent if field.required), None)

    @np.errstate(invalid="ignore")  # a signalling NaN is a NaN: rejected, without a warning
    def read(self, events: list[dict[str, Any]], limits: TimeLimits) -> tuple[Block, Faults]:
        """The events' block, and their faults. It has no columns if a required field lacks."""
        size = len(events)
        faults = Faults(size)
        raws = [(field, list(map(get, events))) for field, get in self._present]
        self._mark_missing(raws, faults)
        if self._missing is not None:
            return Block(self._kind, size), faults
        made: dict[str, Numbers | Text] = {
            field.column: checks.read_column(field, raw, faults, limits) for field, raw in raws
        }
        made |= {field.column: checks.absent_column(field, size, limits) for field in self._absent}
        numbers = {name: column for name, column in made.items() if not isinstance(column, Text)}
        texts = {name: column for name, column in made.items() if isinstance(column, Text)}
        return Block(self._kind, size, numbers, texts), faults

    def _mark_missing(self, raws: list[tuple[Field, list[object]]], faults: Faults) -> None:
        """Mark required fields that are nil or not among the keys, in the protocol's order."""
        present = {field.name: raw for field, raw in raws}
        for field in KINDS[self._kind]:
            if not field.required:
                continue
            if field.name in present:
                checks.mark_missing(field, present[field.name], faults)
            else:
                faults.mark_all(Reason.MISSING_FIELD, field.name)
                return

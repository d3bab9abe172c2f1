"""How events that were opened are read: by their kind and the keys that they have.

Events with the same keys become columns at once. Which names they use, and which fields they lack,
is found once for each set of keys.
"""

from operator import itemgetter
from typing import Any

import numpy as np

from aegisd.events.block import Block, Numbers, Text
from aegisd.events.protocol import KINDS, Field, Reason, aliases
from aegisd.wire.careful import columns
from aegisd.wire.careful.columns import Clock, Faults
from aegisd.wire.careful.envelopes import Burst

_ALIASES = {kind: aliases(kind) for kind in KINDS}

Groups = dict[tuple[str, tuple[Any, ...]], tuple[list[Any], list[int]]]
"""Events, and their positions in the burst, by their kind and the keys that are read of them."""


def grouped(burst: Burst) -> Groups:
    """The burst's events by kind and the keys that are read, not in the order of arrival."""
    groups: Groups = {}
    shapes: Groups = {}
    refused: dict[tuple[Reason, str], list[int]] = {}
    for default, (events, positions) in burst.events.items():
        for event, position in zip(events, positions, strict=True):
            if type(event) is not dict:
                refused.setdefault((Reason.MALFORMED, ""), []).append(position)
                continue
            kind = default
            if "kind" in event:
                given = event["kind"]
                if given is not None:
                    kind = given
                if type(kind) is not str:
                    refused.setdefault((Reason.BAD_TYPE, "kind"), []).append(position)
                    continue
            if kind not in KINDS:
                refused.setdefault((Reason.UNKNOWN_KIND, "kind"), []).append(position)
                continue
            shape = tuple(event)
            group = shapes.get((kind, shape))
            if group is None:
                read = _keys_read(kind, shape)
                group = shapes[kind, shape] = groups.setdefault((kind, read), ([], []))
            group[0].append(event)
            group[1].append(position)
    for fault, places in refused.items():
        burst.refuse(*fault, np.array(places, np.int64))
    return groups


def _keys_read(kind: str, shape: tuple[Any, ...]) -> tuple[str, ...]:
    """The keys that the fields of events with these keys come under, in one order.

    So there are no more groups than sets of names that the protocol knows: who puts a key of
    their own into every event, or turns them about, would else make a column of every event.
    """
    known = _ALIASES[kind]
    return tuple(sorted({known[key]: key for key in shape if key in known}.values()))


class Plan:
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

    @np.errstate(invalid="ignore")  # a signalling NaN is a NaN: refused, without a warning
    def read(self, events: list[dict[str, Any]], clock: Clock) -> tuple[Block, Faults]:
        """The events' block, and what is wrong with which of them."""
        size = len(events)
        faults = Faults(size)
        raws = [(field, list(map(get, events))) for field, get in self._present]
        self._mark_missing(raws, faults)
        if self._missing is not None:
            return Block(self._kind, size), faults
        made: dict[str, Numbers | Text] = {
            field.column: columns.read(field, raw, faults, clock) for field, raw in raws
        }
        made |= {field.column: columns.absent(field, size, clock) for field in self._absent}
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

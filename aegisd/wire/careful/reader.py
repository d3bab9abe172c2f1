"""The careful way as a whole: messages in, blocks and rejects out.

1. ``opening`` unpacks a message, in short steps if it is large or odd.
2. ``envelopes`` takes it apart: events, tables, sources. Enough messages are collected.
3. ``groups`` and ``tables`` check the events and make blocks of them.

A fault is why an event is rejected. ``OpenedMessages`` makes the rejects of all faults; nothing
else in ``wire`` makes any.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from aegisd.events.block import Block, Integers, Text, concatenate
from aegisd.events.protocol import BACKEND, SOURCE, SYSTEM
from aegisd.wire.careful.envelopes import Envelope, OpenedMessages
from aegisd.wire.careful.groups import GroupReader, group_events
from aegisd.wire.careful.opening import MessageStart, WholeMessage, open_message
from aegisd.wire.careful.tables import MAX_READ_ROWS, read_tables
from aegisd.wire.checks import Faults, TimeLimits


class CarefulReader:
    """Reads any message. It remembers how groups of events are read, and nothing of the events."""

    def __init__(self) -> None:
        self._group_readers: dict[tuple[str, tuple[str, ...]], GroupReader] = {}

    def open(
        self, messages: Sequence[bytes], message_numbers: Iterable[int]
    ) -> Iterator[OpenedMessages | None]:
        """Open the messages with these numbers, a bounded size at a time; None is a pause."""
        opened = OpenedMessages()
        for number in message_numbers:
            envelope: Envelope | None = None
            for step in open_message(messages[number]):
                if step is None:
                    yield None
                elif isinstance(step, WholeMessage):
                    opened.add_message(number, step.message, len(messages[number]))
                elif isinstance(step, MessageStart):
                    envelope = opened.start_message(number, step.message, step.count)
                    if envelope is None:
                        break  # it is rejected
                elif envelope is not None:
                    opened.add_events(envelope, step)
                if opened.full:
                    yield opened
                    opened = OpenedMessages()
        if opened.message_numbers:
            yield opened

    def read(self, opened: OpenedMessages, limits: TimeLimits) -> Iterator[Block]:
        """Blocks of the good events; the others are rejected in ``opened``, once the last came."""
        kinds: dict[str, list[tuple[Block, Integers]]] = {}
        for (kind, keys), (events, places) in group_events(opened).items():
            block, faults = self._group_reader(kind, keys).read(events, limits)
            good = _accepted(block, faults, np.array(places, np.int64), opened)
            if good is not None:
                kinds.setdefault(kind, []).append(good)
        for block, faults, positions in read_tables(opened.tables, limits):
            good = _accepted(block, faults, positions, opened)
            if good is None:
                continue
            if block.kind in (BACKEND, SYSTEM):
                kinds.setdefault(block.kind, []).append(good)
            else:
                yield good[0]
        for kind, parts in kinds.items():
            yield from _joined(kind, parts, opened).parts(MAX_READ_ROWS)

    def _group_reader(self, kind: str, keys: tuple[str, ...]) -> GroupReader:
        reader = self._group_readers.get((kind, keys))
        if reader is None:
            reader = self._group_readers[kind, keys] = GroupReader(kind, keys)
        return reader


def _accepted(
    block: Block, faults: Faults, positions: Integers, opened: OpenedMessages
) -> tuple[Block, Integers] | None:
    """The events without a fault and their positions, None if there are none; reject the others."""
    for reason, name, rows in faults.by_reason():
        opened.reject(reason, name, positions[rows])
    good = faults.faultless
    if good is not None:
        block, positions = block.take(good), positions[good]
    return (block, positions) if block.size else None


def _joined(kind: str, parts: list[tuple[Block, Integers]], opened: OpenedMessages) -> Block:
    """One block of all parts.

    Backend and system reports are put in the order of arrival, since the latest one counts. Even a
    single part may not be in that order: see ``group_events``.
    """
    block = concatenate(part for part, _ in parts)[0]
    if kind not in (BACKEND, SYSTEM):
        return block
    positions = np.concatenate([positions for _, positions in parts])
    if kind == SYSTEM:
        sources = _filled(block.texts[SOURCE.name], opened.sources_of(positions))
        block = block.with_text(SOURCE.name, sources)
    return block.ordered(np.argsort(positions))


def _filled(text: Text, other: Text) -> Text:
    """``text``, with the texts of ``other`` in the rows where it has none."""
    if None not in text.values:
        return text
    none = np.array([value is None for value in text.values], np.bool_)[text.index]
    index = np.where(none, other.index + np.int32(len(text.values)), text.index)
    return Text([*text.values, *other.values], index)

"""What must hold for any bytes, and how a burst that breaks it is printed and replayed.

libFuzzer and files have bursts as frames: each message behind its length.
"""

from collections.abc import Callable, Sequence

import numpy as np
from sample_events import (
    MAX_AGE,
    MICROSECONDS,
    NOW,
    DecodedBurst,
    decode,
    decoded_by,
    faults,
    flows,
    keep_all_decoder,
    rows,
    sort,
)

from aegisd.events.block import ABSENT, Block
from aegisd.events.protocol import (
    BACKEND,
    KINDS,
    MAX_AHEAD_SECONDS,
    MAX_DURATION_MS,
    SYSTEM,
    FieldType,
)

_LENGTH_BYTES = 2


def check(messages: Sequence[bytes]) -> None:
    """Decode a burst in both ways. ``AssertionError``, or what decoding raises, is a finding.

    1. Both ways give the same, and each event is accepted or rejected: ``sample_events.decode``.
    2. A message means the same alone as among others.
    3. Every value that is accepted is within the protocol's limits.
    """
    together = decode(*messages)
    alone = [decoded_by(keep_all_decoder(), [data]) for data in messages]
    assert np.diff(together.starts).tolist() == [int(each.starts[-1]) for each in alone]
    assert _content([together], [0]) == _content(alone, together.starts[:-1].tolist())
    for block in together.blocks:
        _within_limits(block)


def failure(messages: Sequence[bytes], fails: Callable[[Sequence[bytes]], None] = check) -> str:
    """The fewest of the messages that still fail, and the command that replays them."""
    few = list(messages)
    for i in reversed(range(len(few))):
        fewer = few[:i] + few[i + 1 :]
        try:
            fails(fewer)
        except Exception:  # whatever it is, it is the finding
            few = fewer
    told = " ".join(data.hex() or "''" for data in few)
    return f"to replay it: cd tests && ../.venv/bin/python -m fuzz replay {told}"


def framed(messages: Sequence[bytes]) -> bytes:
    """Messages of less than 64 KiB as one piece."""
    return b"".join(len(data).to_bytes(_LENGTH_BYTES, "big") + data for data in messages)


def unframed(data: bytes) -> list[bytes]:
    """The messages of any bytes; the last may be shorter than it says."""
    messages, at = [], 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        messages.append(data[start:at])
    return messages


def _content(parts: list[DecodedBurst], starts: list[int]) -> object:
    """All that was decoded; where only the latest report counts, in the order of arrival."""
    held = [row for part in parts for row in rows(part.blocks)]
    ordered = {kind: [row for row in held if row["kind"] == kind] for kind in (BACKEND, SYSTEM)}
    rejects = [
        (start + position, reason, field)
        for part, start in zip(parts, starts, strict=True)
        for position, reason, field in faults(part)
    ]
    sent = sorted((flow for part in parts for flow in flows(part)), key=repr)
    altered = sum(part.altered for part in parts)
    return sort(held), ordered, rejects, sent, altered


def _within_limits(block: Block) -> None:
    ranges = {
        FieldType.STATUS: (0, 999),
        FieldType.DURATION: (0, MAX_DURATION_MS * 1000),
        FieldType.TIMESTAMP: (
            NOW * MICROSECONDS - MAX_AGE,
            (NOW + MAX_AHEAD_SECONDS) * MICROSECONDS,
        ),
        FieldType.COUNT: (0, 2**63 - 1),
    }
    for field in KINDS[block.kind]:
        if field.name in block.texts:
            text = block.texts[field.name]
            assert len(text.index) == block.size
            for value in {text.values[i] for i in text.index.tolist()}:
                if value is None:
                    assert not field.required, field
                elif field.type is FieldType.CHOICE:
                    assert value in field.choices
                else:
                    assert len(value.encode()) <= field.limit, field
                    assert "\0" not in value
            continue
        column = block.numbers[field.column]
        assert len(column) == block.size
        if field.type in ranges:
            low, high = ranges[field.type]
            gone = column == ABSENT
            assert not (field.required and gone.any()), field
            assert (gone | ((column >= low) & (column <= high))).all(), field

"""Walks through the maps of a burst, all at once, key by key.

At each step the next key of all maps is compared with that of one of them; those that have
another go on their own way later. The value's tag tells where the next key is. What comes out is
a ``Shape`` for each set of keys: which maps have it, and where their values are.
"""

import numpy as np
from attrs import field, frozen

from aegisd.wire.block import Integers, Mask
from aegisd.wire.octets import Memory, Values, every

MAX_SHAPES = 32
"""Shapes that are followed in a burst. Gateways have a handful; who gives every event a shape of
its own shall not make every event a walk."""

EVENTS = b"events"


@frozen(eq=False)
class Shape:
    """Maps with the same keys in the same order. ``rows`` are their numbers.

    ``at`` is where each goes on: after the walk, its end; or its events, where ``opens`` says
    that a list of events is the last value.
    """

    rows: Integers
    at: Integers
    left: int  # pairs still to be walked
    values: dict[bytes, Values] = field(factory=dict)  # of a key given twice the last
    opens: bool = False

    def take(self, rows: Mask) -> "Shape":
        """Of the maps that ``rows`` marks."""
        values = {key: values.take(rows) for key, values in self.values.items()}
        return Shape(self.rows[rows], self.at[rows], self.left, values, self.opens)


def walk(memory: Memory, at: Integers) -> list[Shape]:
    """The shapes of the maps at ``at``; maps that are not plain are in none."""
    headers = memory.octets[at]
    waiting = []
    for header in np.flatnonzero(np.bincount(headers, minlength=256)[0x80:0x90]).tolist():
        rows = np.flatnonzero(headers == 0x80 | header)
        waiting.append(Shape(rows, at[rows] + 1, header))
    shapes: list[Shape] = []
    steps = 0
    while waiting and steps < MAX_SHAPES:
        steps += 1
        waiting.sort(key=lambda shape: len(shape.rows))  # a flood of odd ones comes last
        shape = _follow(memory, waiting.pop(), waiting)
        if shape is not None and len(shape.rows):
            shapes.append(shape)
    return shapes


def _follow(memory: Memory, shape: Shape, waiting: list[Shape]) -> Shape | None:
    """Walk to the end of the maps that have one map's keys; the others go to ``waiting``."""
    while shape.left:
        if not len(shape.rows):
            return None
        start = int(shape.at[len(shape.at) // 2])  # not the first: most have what the middle has
        tag = int(memory.octets[start])
        token = memory.data[start : start + 1 + (tag & 0x1F)]
        same = memory.equal(shape.at, token)
        if not every(same):
            waiting.append(shape.take(~same))
            shape = shape.take(same)
        if not 0xA0 <= tag < 0xC0:
            return None  # a key that is no short text: not plain
        value_at = shape.at + len(token)
        tags = memory.octets[value_at]
        if shape.left == 1 and token[1:] == EVENTS:
            return Shape(shape.rows, value_at, 0, shape.values, opens=True)
        sizes = memory.sizes(value_at, tags)
        plain = sizes > 0
        if not every(plain):
            shape, value_at, tags, sizes = (
                shape.take(plain), value_at[plain], tags[plain], sizes[plain]
            )  # fmt: skip
        values = shape.values | {token[1:]: Values(value_at, tags, sizes)}
        shape = Shape(shape.rows, value_at + sizes, shape.left - 1, values)
    return shape

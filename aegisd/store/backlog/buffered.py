"""Records in memory, and the batches that are made of them. Pure."""

from collections.abc import Iterable

from attrs import frozen

from aegisd.events.block import Block

Placed = tuple[int, Block]
"""A block, and the position of its first event."""


@frozen(eq=False)
class BufferedRecord:
    """A record in memory: its events have the positions from ``position`` up to ``end``."""

    position: int
    blocks: list[Block]
    since: int  # when its events were accepted, in seconds since 1970
    end: int
    nbytes: int  # in memory, about

    @classmethod
    def of(cls, position: int, blocks: list[Block], since: int, end: int) -> "BufferedRecord":
        """A record of these blocks."""
        return cls(position, blocks, since, end, sum(block.nbytes for block in blocks))

    @property
    def positions(self) -> int:
        """How many positions it has. Its blocks have fewer events where they can't be read."""
        return self.end - self.position

    def placed(self) -> list[Placed]:
        """Its blocks with their positions."""
        position, found = self.position, []
        for block in self.blocks:
            found.append((position, block))
            position += block.size
        return found

    def after(self, position: int) -> list[Block]:
        """Its blocks, from the event at ``position`` on."""
        if position <= self.position:
            return self.blocks
        return [block for _, block in _between(self.placed(), position, self.end)]


@frozen(eq=False)
class Batch:
    """The events between two positions, for one transaction."""

    start: int
    end: int
    blocks: list[Placed]

    @property
    def events(self) -> int:
        """How many events it has."""
        return sum(block.size for _, block in self.blocks)

    def part(self, start: int, end: int) -> "Batch":
        """The events from ``start`` to ``end``."""
        return Batch(start, end, _between(self.blocks, start, end))

    def halves(self) -> tuple["Batch", "Batch"]:
        """Two batches of half the events each."""
        half, passed, middle = self.events // 2, 0, self.end
        for position, block in self.blocks:
            if passed + block.size > half:
                middle = position + half - passed
                break
            passed += block.size
        return self.part(self.start, middle), self.part(middle, self.end)


def _between(blocks: Iterable[Placed], start: int, end: int) -> list[Placed]:
    """The blocks, cut down to the events from ``start`` up to ``end``."""
    parts = []
    for position, block in blocks:
        low, high = max(start - position, 0), min(end - position, block.size)
        if low < high:
            parts.append((position + low, block.part(low, high)))
    return parts

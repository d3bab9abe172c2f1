"""Records in memory, and the batches that are made of them. Pure."""

from attrs import frozen

from aegisd.events.block import Block


@frozen(eq=False)
class BufferedRecord:
    """A record in memory: its events have the positions from ``position`` up to ``end``."""

    position: int
    blocks: list[Block]
    since: int  # when they came, in seconds since 1970
    end: int
    nbytes: int  # in memory, about

    @classmethod
    def of(cls, position: int, blocks: list[Block], since: int, end: int) -> "BufferedRecord":
        """A record of these blocks."""
        return cls(position, blocks, since, end, sum(block.nbytes for block in blocks))

    @property
    def events(self) -> int:
        """How many positions it has; more than its blocks have events where they can't be read."""
        return self.end - self.position

    def placed(self) -> list[tuple[int, Block]]:
        """Its blocks, each with the position of its first event."""
        position, found = self.position, []
        for block in self.blocks:
            found.append((position, block))
            position += block.size
        return found

    def after(self, position: int) -> list[Block]:
        """Its events from ``position`` on."""
        if position <= self.position:
            return self.blocks
        return [block for _, block in Batch(0, 0, self.placed()).part(position, self.end).blocks]


@frozen(eq=False)
class Batch:
    """The events between two positions, for one transaction."""

    start: int
    end: int
    blocks: list[tuple[int, Block]]  # each with the position of its first event

    @property
    def events(self) -> int:
        """How many."""
        return sum(block.size for _, block in self.blocks)

    def part(self, start: int, end: int) -> "Batch":
        """The events from ``start`` to ``end``."""
        parts = []
        for position, block in self.blocks:
            low, high = max(start - position, 0), min(end - position, block.size)
            if low < high:
                parts.append((position + low, block.part(low, high)))
        return Batch(start, end, parts)

    def halves(self) -> tuple["Batch", "Batch"]:
        """Two batches of half the events each."""
        half, passed, middle = self.events // 2, 0, self.end
        for position, block in self.blocks:
            if passed + block.size > half:
                middle = position + half - passed
                break
            passed += block.size
        return self.part(self.start, middle), self.part(middle, self.end)

"""Which rollups together cover a range of time: the coarsest ones that fit into it. Pure."""

from attrs import frozen

from aegisd.store.schema import DAY, HOUR, ceil, floor


@frozen
class Progress:
    """Up to where hours and days are closed, and so have their rollups."""

    hours_closed: int
    days_closed: int

    def end_of(self, level: int) -> int | None:
        """Up to where a level has rollups of all folded events; None where it has no such end."""
        return {HOUR: self.hours_closed, DAY: self.days_closed}.get(level)


@frozen
class Stretch:
    """A stretch of a range that the rollups of one level cover."""

    level: int
    start: int
    end: int


def cover(start: int, end: int, levels: tuple[int, ...], progress: Progress) -> list[Stretch]:
    """The stretches that together are the range, of as few rollups as possible, in order of time.

    ``levels`` ascend. The coarsest level covers all its whole buckets that are closed, finer levels
    what is left at both ends. The range is widened to whole buckets of the finest level.
    """
    *finer, coarsest = levels
    if not finer:
        start, end = floor(start, coarsest), ceil(end, coarsest)
        return [Stretch(coarsest, start, end)] if start < end else []
    closed = progress.end_of(coarsest)
    low = ceil(start, coarsest)
    high = floor(end if closed is None else min(end, closed), coarsest)
    rest = tuple(finer)
    if low >= high:
        return cover(start, end, rest, progress)
    return [
        *cover(start, low, rest, progress),
        Stretch(coarsest, low, high),
        *cover(high, end, rest, progress),
    ]

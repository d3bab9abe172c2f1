"""Which rollups together cover a range of time. Pure."""

from attrs import frozen

from aegisd.store.schema import DAY, HOUR, ceil, floor


@frozen
class Progress:
    """Up to where hours and days are closed: their rollups are there."""

    hours: int
    days: int

    def of(self, level: int) -> int | None:
        """Up to where a level is complete, but for what is not folded yet; None is all the way."""
        return {HOUR: self.hours, DAY: self.days}.get(level)


@frozen
class Stretch:
    """A stretch of a range that the rollups of one level cover."""

    level: int
    start: int
    end: int


def cover(start: int, end: int, levels: tuple[int, ...], progress: Progress) -> list[Stretch]:
    """The fewest rollups that together are the range, in the order of time.

    ``levels`` ascend. The coarsest level covers what it can, finer ones what is left at both
    ends; the range is widened to whole buckets of the finest.
    """
    *finer, coarsest = levels
    if not finer:
        start, end = floor(start, coarsest), ceil(end, coarsest)
        return [Stretch(coarsest, start, end)] if start < end else []
    closed = progress.of(coarsest)
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

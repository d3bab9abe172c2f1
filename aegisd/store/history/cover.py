"""Which rollups together cover a range of time: the coarsest ones that fit into it. Pure."""

from attrs import frozen

from aegisd.store.schema import DAY, HOUR, ceil, floor


@frozen
class Progress:
    """Up to where hours and days are closed: rollups of an hour or a day are complete before."""

    hours_closed: int
    days_closed: int

    def end_of(self, level: int) -> int | None:
        """Up to where a level has all folded events; None for a level that is never behind.

        Pieces are folded into finer levels at once, into hours and days when these are closed.
        """
        return {HOUR: self.hours_closed, DAY: self.days_closed}.get(level)


@frozen
class Stretch:
    """A stretch of a range that the rollups of one level cover."""

    level: int
    start: int
    end: int


def cover(start: int, end: int, levels: tuple[int, ...], progress: Progress) -> list[Stretch]:
    """Cut the range into stretches, in order of time, so that few rollups cover it.

    ``levels`` ascend. The coarsest level covers all its buckets that lie in the range and are
    closed. The finer levels cover what is left at both ends. The range is first widened to whole
    buckets of the finest level.
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

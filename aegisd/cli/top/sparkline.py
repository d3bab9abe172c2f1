"""A series as one line of block characters. Pure."""

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], columns: int) -> str:
    """The newest values as blocks from 0 to their peak; a space for no value.

    Where there are more values than columns, a column shows the largest of its values.
    """
    together = -(-len(values) // max(1, columns)) or 1
    # columns end at the newest value, so that the last one is always as wide as the others
    first = len(values) % together
    starts = range(first, len(values), together)
    groups = [values[:first]] * bool(first) + [values[at : at + together] for at in starts]
    peaks = [peak(group) for group in groups]
    top = peak(values) or 1.0
    return "".join(" " if value is None else _block(value / top) for value in peaks)


def peak(values: Sequence[float | None]) -> float | None:
    """The largest value; None where there is none."""
    return max((value for value in values if value is not None), default=None)


def _block(share: float) -> str:
    return BLOCKS[min(len(BLOCKS) - 1, int(min(max(share, 0), 1) * len(BLOCKS)))]

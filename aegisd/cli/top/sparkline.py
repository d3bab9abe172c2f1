"""A series as one line of block characters. Pure."""

from collections.abc import Sequence

from attrs import frozen

BLOCKS = "▁▂▃▄▅▆▇█"


@frozen
class Point:
    """A bucket: its start in microseconds since 1970, and its value or None."""

    timestamp: int
    value: float | None


def peak(points: Sequence[Point]) -> float | None:
    """The largest value."""
    return max((point.value for point in points if point.value is not None), default=None)


def sparkline(points: Sequence[Point], columns: int) -> str:
    """The points as blocks from 0 to their peak, at most ``columns``; a space for no value.

    Where there are more points than columns, a column shows the largest of its points. Columns
    begin at multiples of their length, so that they keep their points while the series moves on.
    """
    if not points:
        return ""
    times = [point.timestamp for point in points]
    step = max(1, times[1] - times[0]) if len(times) > 1 else 1
    span = max(times) - min(times)
    # buckets per column: few enough columns, wherever the first one begins
    together = 1 if len(points) <= columns else span // (step * max(1, columns - 1)) + 1
    grouped = _grouped(points, step * together)[-max(1, columns) :]
    top = peak(points) or 1
    return "".join(" " if value is None else _block(value / top) for value in grouped)


def _grouped(points: Sequence[Point], step: int) -> list[float | None]:
    groups: dict[int, list[Point]] = {}
    for point in points:
        groups.setdefault(point.timestamp // step, []).append(point)
    return [peak(group) for group in groups.values()]


def _block(share: float) -> str:
    return BLOCKS[min(len(BLOCKS) - 1, int(min(max(share, 0), 1) * len(BLOCKS)))]

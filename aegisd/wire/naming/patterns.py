"""Finds the first configured pattern that a path matches, in one pass over the path's segments.

Each pattern is a bit of an integer. At each place of the path, the bits of the patterns that don't
match the segment there are cleared. So all patterns are followed at once, without backtracking.
"""

from collections.abc import Sequence

from aegisd.config.patterns import parse


class Patterns:
    """Patterns in the notation of ``config/patterns``; the first in order wins."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        patterns = [parse(text) for text in texts]
        self._depth = max((len(pattern.segments) for pattern in patterns), default=0)
        # for each place, the patterns that have there: this segment; a placeholder; their rest
        self._fixed: list[dict[str, int]] = [{} for _ in range(self._depth)]
        self._filled = [0] * self._depth
        self._rest = [0] * self._depth
        # for each number of segments, the patterns that may have so many; the last is for all above
        self._by_length = [0] * (self._depth + 2)
        for number, pattern in enumerate(patterns):
            bit, size = 1 << number, len(pattern.segments)
            for place, segment in enumerate(pattern.segments):
                if segment is None:
                    self._filled[place] |= bit
                else:
                    fixed = self._fixed[place]
                    fixed[segment] = fixed.get(segment, 0) | bit
            if pattern.rest:
                for place in range(size, self._depth):
                    self._rest[place] |= bit
            for length in range(size + 1, self._depth + 2) if pattern.rest else (size,):
                self._by_length[length] |= bit

    def first(self, path: str) -> str | None:
        """The text of the first pattern that ``path``, which has no query, matches."""
        segments = path.split("/", self._depth)
        left = self._by_length[len(segments)] if self._texts else 0
        for place, segment in enumerate(segments[: self._depth]):
            if not left:
                return None
            takes = self._fixed[place].get(segment, 0) | self._rest[place]
            left &= takes | self._filled[place] if segment else takes
        return self._texts[(left & -left).bit_length() - 1] if left else None

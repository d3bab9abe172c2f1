"""Finds the first of the user's patterns that a path matches, in one pass over its segments.

Each pattern is a bit. A segment leaves the bits of those patterns that take it at its place, so
all patterns are followed at once, and no path makes this go back.
"""

from collections.abc import Sequence

from aegisd.config.patterns import parse


class Patterns:
    """Patterns as ``config/patterns`` describes them; the first in order counts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        patterns = [parse(text) for text in texts]
        self._depth = max((len(pattern.segments) for pattern in patterns), default=0)
        # by place: those with this very segment, with a placeholder, and those in their rest
        self._fixed: list[dict[str, int]] = [{} for _ in range(self._depth)]
        self._filled = [0] * self._depth
        self._rest = [0] * self._depth
        # by number of segments, all greater numbers in the last: those of that length
        self._long = [0] * (self._depth + 2)
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
                self._long[length] |= bit

    def first(self, path: str) -> str | None:
        """The text of the first pattern that ``path``, which has no query, matches."""
        segments = path.split("/", self._depth)
        left = self._long[len(segments)] if self._texts else 0
        for place, segment in enumerate(segments[: self._depth]):
            if not left:
                return None
            takes = self._fixed[place].get(segment, 0) | self._rest[place]
            left &= takes | self._filled[place] if segment else takes
        return self._texts[(left & -left).bit_length() - 1] if left else None

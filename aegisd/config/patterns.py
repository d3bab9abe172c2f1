"""Patterns of paths, ``paths.patterns``, in the form of route templates.

A pattern has fixed segments; ``{name}`` stands for one segment that is not empty, and a last
``{name*}`` for all that follows: ``/users/{name}/orders``, ``/files/{path*}``. Regular expressions
are not allowed: a hostile path could make one backtrack for minutes.
"""

import re
from collections.abc import Sequence

from attrs import frozen

MAX_PATTERNS = 500
"""More than a gateway has routes. At the start each pattern is compared with each other one."""

MAX_PATTERN_CHARACTERS = 255
"""A pattern is the name of its endpoint."""

_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*(?P<rest>\*)?\}")

_FIXED = re.compile(r"(?!:)[^{}<>*?#\x00-\x1f\x7f]*")
"""A fixed segment, without what a path can't have and what marks placeholders elsewhere."""


@frozen
class Pattern:
    """A pattern as its segments, with None for a placeholder; ``rest`` is a last ``{name*}``.

    ``rest`` takes at least one more segment, which may be empty: ``/files/{path*}`` matches
    ``/files/`` and all below it, but not ``/files``.
    """

    segments: tuple[str | None, ...]
    rest: bool

    def covers(self, other: "Pattern") -> bool:
        """Whether this pattern matches every path that ``other`` matches."""
        size, other_size = len(self.segments), len(other.segments)
        if self.rest:
            if other_size + other.rest <= size:
                return False
        elif other.rest or other_size != size:
            return False
        pairs = zip(self.segments, other.segments, strict=False)
        return all(own == theirs or (own is None and theirs != "") for own, theirs in pairs)


def parse(text: str) -> Pattern:
    """Read a pattern. Raises ValueError with the rest of a sentence that starts with its key."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"has {len(text)} characters, more than {MAX_PATTERN_CHARACTERS}")
    if not text.startswith("/"):
        raise ValueError(f"'{text}' does not start with /")
    segments: list[str | None] = []
    parts = text.split("/")
    for i, part in enumerate(parts):
        placeholder = _PLACEHOLDER.fullmatch(part)
        if placeholder and placeholder["rest"] and i == len(parts) - 1:
            return Pattern(tuple(segments), rest=True)
        if placeholder and not placeholder["rest"]:
            segments.append(None)
        elif _FIXED.fullmatch(part):
            segments.append(part)
        else:
            raise ValueError(
                f"'{text}': '{part}' is neither fixed text nor {{name}} nor, as the last segment,"
                " {name*}"
            )
    return Pattern(tuple(segments), rest=False)


def problems(texts: Sequence[str]) -> list[str]:
    """The problems of patterns together, each of which is right by itself, as lines."""
    if len(texts) > MAX_PATTERNS:
        return [f"paths.patterns: has {len(texts)} patterns, more than {MAX_PATTERNS}"]
    patterns = [parse(text) for text in texts]
    lines = []
    for i, pattern in enumerate(patterns):
        before = next((k for k in range(i) if patterns[k].covers(pattern)), None)
        if before is not None:
            lines.append(
                f"paths.patterns[{i}]: '{texts[i]}' never counts, since '{texts[before]}' before"
                " it takes all its paths; put the narrower one first"
            )
    return lines

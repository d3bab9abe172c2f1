"""Patterns that users give for paths, in the form of route templates.

A pattern is fixed segments, ``{name}`` for one segment that is not empty, and at the end maybe
``{name*}`` for all that follows: ``/users/{name}/orders``, ``/files/{path*}``. There are no
regular expressions among them: one that backtracks would stop the daemon at a hostile path.
"""

import re
from collections.abc import Sequence

from attrs import frozen

MAX_PATTERNS = 500
"""More than a gateway's routes; all are compared with each other at the start."""

MAX_PATTERN_CHARACTERS = 255
"""The pattern is an endpoint's name, and shown as one."""

_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*(?P<rest>\*)?\}")

_FIXED = re.compile(r"(?!:)[^{}<>*?#\x00-\x1f\x7f]*")
"""Text that a path can have, without what other notations write for a placeholder."""


@frozen
class Pattern:
    """A pattern as its segments: None is a placeholder; ``rest`` says whether more may follow.

    With ``rest`` at least one segment more, empty or not, belongs to the path: ``/files/{path*}``
    is for ``/files/`` and all below it, and not for ``/files``.
    """

    segments: tuple[str | None, ...]
    rest: bool

    def covers(self, other: "Pattern") -> bool:
        """Whether every path of ``other`` is also one of this pattern."""
        size, other_size = len(self.segments), len(other.segments)
        if self.rest:
            if other_size + other.rest <= size:
                return False
        elif other.rest or other_size != size:
            return False
        pairs = zip(self.segments, other.segments, strict=False)
        return all(own == theirs or (own is None and theirs != "") for own, theirs in pairs)


def parse(text: str) -> Pattern:
    """Read a pattern; ValueError holds the rest of the sentence that its key's path starts."""
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
    """What is wrong with patterns together, each right by itself: one line each."""
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

"""Text as a terminal shows it: in cells and styles. Pure.

A character takes 0, 1 or 2 cells (combining marks, most scripts, East Asian wide). A ``Span`` holds
printable text only (``printable.clean``), so no text from outside can command the terminal.
"""

import unicodedata
from enum import Enum

from attrs import field, frozen

from aegisd.cli.printable import clean, is_mark

ELLIPSIS = "…"

_SGR = "\x1b[{}m"


class Style(Enum):
    """How a text looks, as the parameters of SGR (ECMA-48, 8.3.117)."""

    PLAIN = ""
    DIM = "2"
    BOLD = "1"
    HEAD = "7"
    ALARM = "1;7"
    GOOD = "32"
    NEUTRAL = "36"
    WARNING = "33"
    BAD = "1;31"

    def sgr(self, color: bool) -> str:
        """The escape sequence that turns it on, without its colour where ``color`` is False."""
        wanted = [p for p in self.value.split(";") if color or not p.startswith("3")]
        return _SGR.format(";".join(wanted)) if any(wanted) else ""


def width(text: str) -> int:
    """How many cells a cleaned text takes."""
    return sum(map(_cells, text))


def fit(text: str, columns: int) -> str:
    """The text, cleaned, in exactly so many cells: padded with spaces, or cut with an ellipsis."""
    text = clean(text)
    used = width(text)
    if used > columns:
        text = _cut(text, columns - 1) + ELLIPSIS[: max(columns, 0)]
        used = width(text)
    return text + " " * (columns - used)


@frozen
class Span:
    """A text in one style."""

    text: str = field(converter=clean)
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    """A line of spans and plain text."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def cut(spans: Line, columns: int) -> Line:
    """The line in at most so many cells, with an ellipsis where it is cut."""
    if sum(width(span.text) for span in spans) <= columns:
        return spans
    kept = []
    room = columns - 1
    for span in spans:
        if width(span.text) > room:
            kept.append(Span(_cut(span.text, room) + ELLIPSIS[: max(columns, 0)], span.style))
            break
        kept.append(span)
        room -= width(span.text)
    return tuple(kept)


def plain(spans: Line) -> str:
    """The line's text without escape sequences."""
    return "".join(span.text for span in spans).rstrip()


def ansi(spans: Line, color: bool) -> str:
    """The line's text with escape sequences; each style is turned off after its span."""
    parts = []
    for span in spans:
        on = span.style.sgr(color)
        parts.append(f"{on}{span.text}{_SGR.format(0)}" if on else span.text)
    return "".join(parts)


def _cells(character: str) -> int:
    if is_mark(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _cut(text: str, columns: int) -> str:
    used = 0
    for place, character in enumerate(text):
        used += _cells(character)
        if used > columns:
            return text[:place]
    return text

"""Text as a terminal shows it: characters in cells, in a style. Pure.

What is shown comes from outside: paths, names, messages. A character that isn't printable may
be a command to the terminal, so none is ever part of a ``Span``.
"""

import unicodedata
from collections.abc import Callable
from enum import Enum

from attrs import field, frozen

REPLACEMENT = "\ufffd"
ELLIPSIS = "…"

MAX_MARKS = 2
"""Marks on one character. Thai needs two; towers of them would cover the lines above."""

MAX_CHARACTERS = 4096
"""No line of a terminal has more, and the work for a text stays small."""

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
        """The sequence that turns it on; colours only where they are wanted."""
        wanted = [p for p in self.value.split(";") if color or not p.startswith("3")]
        return _SGR.format(";".join(wanted)) if any(wanted) else ""


def clean(text: str) -> str:
    """``text`` with U+FFFD for what isn't printable, and for marks with nothing to stand on."""
    kept: list[str] = []
    marks = MAX_MARKS
    for character in unicodedata.normalize("NFC", text[:MAX_CHARACTERS]):
        if not character.isprintable():  # controls, formats, surrogates, unassigned, line ends
            kept.append(REPLACEMENT)
            marks = MAX_MARKS
        elif not _is_mark(character):
            kept.append(character)
            marks = 0
        elif marks < MAX_MARKS:
            kept.append(character)
            marks += 1
        elif not kept or kept[-1] != REPLACEMENT:
            kept.append(REPLACEMENT)
    return "".join(kept)


def escaped(text: str, escape: Callable[[str], str]) -> str:
    """``text`` with what isn't printable as ``escape`` writes it; it stays in its lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else escape(c) for c in text)


def json_escape(character: str) -> str:
    """A character in a text of JSON."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def toml_escape(character: str) -> str:
    """A character in a text of TOML."""
    return f"\\U{ord(character):08x}"


def width(text: str) -> int:
    """How many cells a clean text takes."""
    return sum(map(_cells, text))


def fit(text: str, columns: int) -> str:
    """The text, cleaned, in exactly so many cells: filled up with spaces, or cut short."""
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
    """The line, at most so many cells wide, with an ellipsis where it is cut."""
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
    """Without any control sequence."""
    return "".join(span.text for span in spans).rstrip()


def ansi(spans: Line, color: bool) -> str:
    """With the sequences of the styles, and none left on at the end."""
    parts = []
    for span in spans:
        on = span.style.sgr(color)
        parts.append(f"{on}{span.text}{_SGR.format(0)}" if on else span.text)
    return "".join(parts)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")


def _cells(character: str) -> int:
    if _is_mark(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _cut(text: str, columns: int) -> str:
    used = 0
    for place, character in enumerate(text):
        used += _cells(character)
        if used > columns:
            return text[:place]
    return text

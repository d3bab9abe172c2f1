"""Text from outside, made fit for a terminal. Pure.

Paths, names and messages come from outside, and a character that isn't printable may be a command
to the terminal. ``clean`` replaces such characters, for text that people read; the escapes keep
them, for output that programs read (TOML, JSON).
"""

import unicodedata
from collections.abc import Callable

REPLACEMENT = "\ufffd"

MAX_MARKS = 2
"""Combining marks on one character. Thai needs two; a tower of them would cover the lines above."""

MAX_CHARACTERS = 4096
"""No line of a terminal has more, and the work for one text stays small."""


def clean(text: str) -> str:
    """``text`` in NFC, with U+FFFD for unprintable characters and superfluous combining marks."""
    kept: list[str] = []
    marks = MAX_MARKS
    for character in unicodedata.normalize("NFC", text[:MAX_CHARACTERS]):
        if not character.isprintable():  # controls, formats, surrogates, unassigned, line ends
            kept.append(REPLACEMENT)
            marks = MAX_MARKS
        elif not is_mark(character):
            kept.append(character)
            marks = 0
        elif marks < MAX_MARKS:
            kept.append(character)
            marks += 1
        elif not kept or kept[-1] != REPLACEMENT:
            kept.append(REPLACEMENT)
    return "".join(kept)


def is_mark(character: str) -> bool:
    """Whether the character is drawn onto the one before it."""
    return unicodedata.category(character) in ("Mn", "Me")


def escape_unprintable(text: str, escape: Callable[[str], str]) -> str:
    """``text`` with each unprintable character as ``escape`` writes it; line ends stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else escape(c) for c in text)


def json_escape(character: str) -> str:
    """A character in a JSON string."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def toml_escape(character: str) -> str:
    """A character in a TOML string."""
    return f"\\U{ord(character):08x}"

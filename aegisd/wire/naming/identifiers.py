"""Tells identifiers from words by the look of a path's segments, and writes a template's segments.

An identifier stands for one thing among many: a number, a UUID, a token, a date, an address. An
API's version number is no identifier. ``template_segment`` puts ``{id}`` in its place, and keeps
what is no part of it: a format, a verb, the name of a key. A segment is percent-decoded only to
look at it: if it is no identifier, the template has it as it was sent.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

PLACEHOLDER = "{id}"

_HINT = re.compile(r"[\d%@(_]")
"""Nearly every identifier has one of these characters; most paths of words have none."""

UUID_HYPHENS = 4
"""A UUID of letters alone has no hint but its hyphens."""

_TAIL = r"(?: \.[a-z]{1,5}\d? | :[a-z]{3,} )"
"""A format (``7.json``) or a verb (``7:cancel``). It stays behind the placeholder, as it tells what
is done with the thing, not which thing it is."""

_TAIL_AT_END = re.compile(rf"{_TAIL}\Z", re.VERBOSE | re.IGNORECASE)

_CHARACTERS = re.compile(r"[\w.~:,=+@&'\"(){} -]++")
"""All characters of an identifier. Others, such as ``*`` or ``[``, are notations that name many
things."""

_WHOLE = re.compile(
    rf"""
      [+-]?\d++ (?: [.,:_-]\d++ )*+ {_TAIL}? \Z          # 123, -1, 2026-11-23, 1.2.3, 123.json
    | v\d++ (?: \.\d++ ){{2,}}+ (?: -[\w.]++ | {_TAIL} )? \Z          # a release: v1.2.3-rc.1
    | [0-9a-f]{{8}} (?: -[0-9a-f]{{4}} ){{3}} -[0-9a-f]{{12}} {_TAIL}? \Z  # a UUID (RFC 9562)
    | [^@]++ @ (?! \dx\b ) .              # ann@example.com, vue@3.4.21, but not logo@2x.png
    | [\w-]++ = \d                        # month=11
    | (?-i: [A-Z][A-Z0-9]++ -\d++ ) {_TAIL}? \Z                          # an issue: ABC-123
    | (?-i: (?: [a-z]++_ )++ (?= [a-z0-9]*+[A-Z] ) [A-Za-z0-9]{{14,}} \Z ) # cus_NffrFeUfNVXHib
    | (?-i: (?= \D*+\d ) (?= [^a-z]*+[a-z] ) (?= [^A-Z]*+[A-Z] ) ) [\w=-]{{20,}} \Z  # base64url
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Forms of identifiers that are a whole segment."""

# a lookbehind of two characters stands behind the part's first one: it looks at the one before
_PART = re.compile(
    rf"""
      [0-9] (?: [0-9]{{3}}
              | [a-z]++ [0-9]++ [a-z]++ [0-9]                             # 7tq9l4
              | (?<! [0-9]. ) [0-9]{{0,2}} (?: [.-][0-9]{{1,3}} ){{3}} (?! [0-9] )  # 10-0-1-23
              | (?<! [a-z0-9]. ) (?: [0-9a-f]{{6,}}+ (?! [g-z] )            # hex of 7 and more
                                   | (?= [0-9]*+[a-z] ) [a-z0-9]{{19}} ) )  # tokens, ULIDs
    | [a-z] (?: [0-9]++ [a-z]++ [0-9]++ [a-z]                             # dqw4w9wg
              | (?<! [a-z0-9]. ) (?= [a-z]*+[0-9] )
                (?: [0-9a-f]{{6,}}+ (?! [g-z] ) | [a-z0-9]{{19}} ) )
    | - (?: (?<= [a-z]{{4}}- ) [0-9]{{3}} {_TAIL}? \Z                      # order-123, not es-419
          | [b-df-hj-np-tv-xz2-9]{{8,10}} -[b-df-hj-np-tv-xz2-9]{{5}} \Z ) # a pod of Kubernetes
    | _ [0-9]{{3}} {_TAIL}? \Z
    """,
    re.VERBOSE,
)
"""Forms of identifiers that are a part of a segment, in small letters. Each begins with a character
that most places don't have, and repeats nothing that it would have to give back (possessive
quantifiers). So the longest path takes only a few times as long as one without any form."""

_KEYED = re.compile(r"(?P<name>[a-z_][\w.]*(?<!_))\((?=[^()]*[\d'=]).*\)", re.IGNORECASE)
"""OData's keys and arguments: ``Products(42)``, ``Customers('ALFKI')``, ``Rate(stars=5)``."""

_VERSION = re.compile(r"\d{1,2}(?:\.\d{1,2})?|\d{4}-\d\d(?:-\d\d)?")

_VERSIONED = frozenset({"api", "rest", "v"})
"""A number behind one of these segments is a version: ``/rest/api/2``, ``/admin/api/2026-01``."""


def may_identify(text: str) -> bool:
    """Whether a path or segment may have an identifier: a quick look that most words fail."""
    return _HINT.search(text) is not None or text.count("-") >= UUID_HYPHENS


def template_segment(segments: Sequence[str], place: int) -> str:
    """What stands in a template for the segment at ``place`` of a path's segments."""
    segment = segments[place]
    if not segment or segment.isalpha():
        return segment
    if segment.isdecimal():
        return segment if _is_version(segments, place) else PLACEHOLDER
    if not may_identify(segment):
        return segment
    look = unquote(segment) if "%" in segment else segment
    if "/" in look:
        return PLACEHOLDER  # an encoded slash: no route has a word with one
    if "(" in look and (keyed := _KEYED.fullmatch(look)):
        return f"{keyed['name']}({PLACEHOLDER})"
    if not _is_identifier(look) or _is_version(segments, place):
        return segment
    tail = None if "@" in look else _TAIL_AT_END.search(segment)
    return PLACEHOLDER + tail[0] if tail else PLACEHOLDER


def _is_identifier(look: str) -> bool:
    if not _CHARACTERS.fullmatch(look):
        return False
    return _WHOLE.match(look) is not None or _PART.search(look.lower()) is not None


def _is_version(segments: Sequence[str], place: int) -> bool:
    if place == 0 or not _VERSION.fullmatch(segments[place]):
        return False
    before = segments[place - 1].lower()
    if before in _VERSIONED:
        return True
    if "." not in segments[place]:
        return False
    # a whole API's version comes first (/1.1/users/7), one of a part in Jira's /rest/agile/1.0
    in_front = before == "" and any(segments[place + 1 :])
    return in_front or segments[max(place - 2, 0)].lower() == "rest"

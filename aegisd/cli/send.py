"""``aegisd send``: events from a shell. They are checked before they go, since nothing answers."""

import json
import time
from collections.abc import Iterable
from typing import Any

import msgpack

from aegisd.cli.address import AnySender
from aegisd.errors import AegisdError, ConfigError
from aegisd.wire.decode import Decoder
from aegisd.wire.protocol import KINDS, REQUEST, FieldType, camel_case

ANY_AGE = 2**62  # how old an event may be is the daemon's own setting


def send_pairs(sender: AnySender, kind: str | None, pairs: list[str]) -> None:
    """Send one event, its fields given as ``key=value``."""
    event: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError([f"'{pair}' is not key=value"])
        event[key] = text
    kind = event.get("kind", kind)
    event |= {key: _value(kind, key, text) for key, text in event.items() if key != "kind"}
    _send(sender, _with_kind(event, kind), "the event")


def send_lines(sender: AnySender, kind: str | None, lines: Iterable[bytes]) -> None:
    """Send an event for each line, a JSON object."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise AegisdError(f"line {number} is not JSON: {error}") from None
        if not isinstance(event, dict):
            raise AegisdError(f"line {number} is not a JSON object")
        _send(sender, _with_kind(event, kind), f"line {number}")


def _with_kind(event: dict[str, Any], kind: str | None) -> dict[str, Any]:
    return event if kind is None or "kind" in event else {"kind": kind} | event


def _value(kind: str | None, key: str, text: str) -> Any:
    """``text`` as the field's type wants it; what JSON doesn't know stays text."""
    for field in KINDS.get(kind or REQUEST, ()):
        is_text = field.type in (FieldType.TEXT, FieldType.CHOICE)
        if is_text and key in (field.name, camel_case(field.name)):
            return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _send(sender: AnySender, event: dict[str, Any], what: str) -> None:
    try:
        data: bytes = msgpack.packb(event)
    except (ValueError, OverflowError, TypeError) as error:
        raise AegisdError(f"{what} can't be sent: {error}") from None
    (decoded,) = Decoder(ANY_AGE).decode([data], round(time.time() * 1_000_000))
    for reject in decoded.rejects:
        raise AegisdError(f"{what} would be rejected: {reject.reason.value} {reject.field}".strip())
    sender.send(event)

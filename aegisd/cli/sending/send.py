"""``aegisd send``: events from a shell. They are checked before they go: often nothing answers.

Of lines from standard input, one that is no event is counted and shown, and the others are sent.
"""

import json
from typing import IO, Any

import msgpack

from aegisd.cli.sending.address import MAX_MESSAGE_BYTES, AnySender, TooLarge
from aegisd.cli.sending.lines import numbered
from aegisd.cli.sending.rejects import Rejects, foreseen
from aegisd.cli.sending.tally import Loss, Tally
from aegisd.errors import AegisdError, ConfigError
from aegisd.events.protocol import KINDS, REQUEST, FieldType, camel_case

MAX_LINE_BYTES = MAX_MESSAGE_BYTES
"""An event of which no daemon takes as much is not held in memory either."""


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
    try:
        rejects = _send(sender, _with_kind(event, kind))
    except _Unsent as error:
        raise AegisdError(f"the event {error}") from None
    if rejects.count:
        why = "".join(f": {why}" for _, why in rejects.listed)
        raise AegisdError(f"the event was rejected{why}")


def send_lines(sender: AnySender, kind: str | None, lines: IO[bytes]) -> None:
    """Send an event for each line, a JSON object. Raises AegisdError where one is lost."""
    tally = Tally()
    try:
        for number, line in numbered(lines, MAX_LINE_BYTES):
            if line.strip():
                _send_line(sender, kind, number, line, tally)
    except AegisdError as error:
        raise AegisdError(f"{error}\n{tally.summary(sender.sent)}, the rest was not sent") from None
    if not tally.whole:
        raise AegisdError("\n".join(filter(None, [tally.summary(sender.sent), sender.note])))


def _send_line(sender: AnySender, kind: str | None, number: int, line: bytes, tally: Tally) -> None:
    try:
        event = _event(line)
    except ValueError as error:
        tally.lose(Loss.UNREAD, number, str(error))
        return
    try:
        tally.send([number], _send(sender, _with_kind(event, kind)))
    except _Unsent as error:
        tally.lose(Loss.UNSENT, number, str(error))


def _event(line: bytes) -> dict[str, Any]:
    """The line's object. Raises ValueError."""
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"is longer than {MAX_LINE_BYTES} bytes")
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise ValueError("is not a JSON object")
    return event


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


class _Unsent(Exception):
    """An event can't be sent, or there is no use in it; its text says why."""


def _send(sender: AnySender, event: dict[str, Any]) -> Rejects:
    """Send an event. Raises _Unsent, and AegisdError where nobody takes events."""
    try:
        data: bytes = msgpack.packb(event)
    except (ValueError, OverflowError, TypeError) as error:
        raise _Unsent(f"can't be sent: {error}") from None
    for _, why in foreseen(data).listed:
        raise _Unsent(f"would be rejected: {why}")
    try:
        return sender.send(event) or Rejects()
    except TooLarge as error:
        raise _Unsent(f"can't be sent: {error}") from None

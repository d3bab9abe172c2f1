"""``aegisd send``: sends events from a shell.

Events are checked before they are sent, since over datagrams nothing answers. A line of standard
input that is no event is counted and shown, and the others are sent.
"""

import json
from pathlib import Path
from typing import IO, Any

import msgpack

from aegisd.cli.sending import (
    MAX_MESSAGE_BYTES,
    Failure,
    MessageTooLarge,
    Rejects,
    SendCounts,
    Sender,
    certain_rejects,
    numbered_lines,
    open_sender,
    standard_input,
)
from aegisd.errors import AegisdError, ConfigError
from aegisd.events.protocol import KINDS, REQUEST, FieldType, camel_case

MAX_LINE_BYTES = MAX_MESSAGE_BYTES
"""No daemon takes a larger event by default, so no longer line is held in memory."""


def send(address: str | None, config: Path | None, kind: str | None, event: list[str]) -> None:
    """Send the event given as ``key=value`` pairs; for ``-`` the lines of standard input."""
    with open_sender(address, config) as sender:
        if event == ["-"]:
            _send_lines(sender, kind, standard_input())
        else:
            _send_pairs(sender, kind, event)


def _send_pairs(sender: Sender, kind: str | None, pairs: list[str]) -> None:
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


def _send_lines(sender: Sender, kind: str | None, lines: IO[bytes]) -> None:
    """Send an event for each line, a JSON object. Raises AegisdError where one is not taken."""
    counts = SendCounts()
    try:
        for number, line in numbered_lines(lines, MAX_LINE_BYTES):
            if line.strip():
                _send_line(sender, kind, number, line, counts)
    except AegisdError as error:
        raise AegisdError(
            f"{error}\n{counts.summary(sender.sent)}, the rest was not sent"
        ) from None
    if not counts.complete:
        raise AegisdError("\n".join(filter(None, [counts.summary(sender.sent), sender.note])))


def _send_line(
    sender: Sender, kind: str | None, number: int, line: bytes, counts: SendCounts
) -> None:
    try:
        event = _event(line)
    except ValueError as error:
        counts.count_failure(Failure.UNREADABLE, number, str(error))
        return
    try:
        counts.count_sent([number], _send(sender, _with_kind(event, kind)))
    except _Unsent as error:
        counts.count_failure(Failure.UNSENT, number, str(error))


def _event(line: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises ValueError."""
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
    """The value of a field: its text for a text field, else the text read as JSON if it is."""
    for field in KINDS.get(kind or REQUEST, ()):
        is_text = field.type in (FieldType.TEXT, FieldType.CHOICE)
        if is_text and key in (field.name, camel_case(field.name)):
            return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class _Unsent(Exception):
    """An event can't be sent, or would be rejected; the text says why."""


def _send(sender: Sender, event: dict[str, Any]) -> Rejects:
    """Send an event. Raises _Unsent, and AegisdError where no daemon takes events."""
    try:
        data: bytes = msgpack.packb(event)
    except (ValueError, OverflowError, TypeError) as error:
        raise _Unsent(f"can't be sent: {error}") from None
    for _, why in certain_rejects(data).listed:
        raise _Unsent(f"would be rejected: {why}")
    try:
        return sender.send(event) or Rejects()
    except MessageTooLarge as error:
        raise _Unsent(f"can't be sent: {error}") from None

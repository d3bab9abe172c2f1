"""What a client may ask: its messages as values. Pure functions."""

import json
from typing import Any

from attrs import frozen

from aegisd.web.http import to_json
from aegisd.web.websocket.topics import TOPICS

ALERTS = "alerts"
NAMES = (*TOPICS, ALERTS)

PONG = '{"type":"pong"}'


@frozen
class Subscribe:
    """Topics to turn on or off; ``delta`` and ``since`` as docs/api.md says, None where absent."""

    topics: dict[str, bool]
    delta: bool | None
    since: str | None


@frozen
class Wrong:
    """A message that can't be followed: ``code`` is for programs, ``message`` for people."""

    code: str
    message: str

    def answer(self) -> str:
        """The error's message."""
        return to_json({"type": "error", "error": {"code": self.code, "message": self.message}})


@frozen
class AskPong:
    """A ping of the client's own."""


def parse(message: str | bytes) -> Subscribe | AskPong | Wrong:
    """Read a client's message."""
    if isinstance(message, bytes):
        return Wrong("bad_message", "a message is text, not binary")
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):
        return Wrong("bad_message", "not JSON")
    match parsed:
        case {"type": "ping"}:
            return AskPong()
        case {"type": "subscribe", "data": dict(topics)}:
            return _subscribe(topics, parsed.get("delta"), parsed.get("since"))
        case {"type": "subscribe"}:
            return Wrong("bad_message", "subscribe needs data, a map of topics")
    return Wrong("unknown_type", "type is subscribe or ping")


def _subscribe(topics: dict[str, Any], delta: Any, since: Any) -> Subscribe | Wrong:
    for topic, on in topics.items():
        if topic not in NAMES:
            return Wrong("unknown_topic", f"{topic!r} is not one of {' '.join(NAMES)}")
        if not isinstance(on, bool):
            return Wrong("bad_message", f"{topic} is true or false")
    if delta is not None and not isinstance(delta, bool):
        return Wrong("bad_message", "delta is true or false")
    if since is not None and not isinstance(since, str):
        return Wrong("bad_message", "since is an alert's id")
    return Subscribe(topics, delta, since)


def subscribed(topics: frozenset[str]) -> str:
    """The answer to a subscription: all topics as they are now."""
    return to_json({"type": "subscribed", "data": {name: name in topics for name in NAMES}})

"""One connection's WebSocket protocol: bytes in, messages and answers out. It does no I/O.

wsproto reads the frames. This adds what a server needs beside it:

1. A message has at most ``max_message_bytes``, however it is cut into frames: else 1009.
2. Frames come at a bounded rate, so that nobody is served at the cost of others. A client may send
   BURST_FRAMES at once and FRAMES_PER_SECOND for ever. Beyond that a ping has no pong, a message is
   ``Excess``; and BURST_FRAMES beyond that, the connection ends: 1008.
3. What ends a connection is said in a close frame (RFC 6455, 7.1.7): 1002 for a breach of the
   protocol, 1007 for text that is no UTF-8.

Of a connection that has ended, no more bytes are read.
"""

import re

from attrs import frozen
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from aegisd.web.http import Request
from aegisd.web.websocket.messages import new_deflate

MAX_MESSAGE_BYTES = 4096
"""A subscription has a few hundred."""

FRAMES_PER_SECOND = 10
BURST_FRAMES = 50

SUBPROTOCOL = "aegisd"

_DEFLATE = re.compile(
    r"permessage-deflate"
    r"(\s*;\s*((server|client)_no_context_takeover|client_max_window_bits(=(9|1[0-5]))?))*"
)
"""An offer that shared frames can meet: they are compressed with the largest window."""


@frozen
class Limits:
    """What one client may send."""

    message_bytes: int = MAX_MESSAGE_BYTES
    frames_per_second: float = FRAMES_PER_SECOND
    burst_frames: int = BURST_FRAMES


@frozen
class Excess:
    """A message beyond the rate: it is not read."""


@frozen
class Answer:
    """Bytes that must be sent."""

    data: bytes


Received = str | bytes | Excess | Answer


class Protocol:
    """The protocol of one connection, from the handshake on."""

    def __init__(self, request: Request, now: float, limits: Limits) -> None:
        self._ws = WSConnection(ConnectionType.SERVER)
        self._limits = limits
        self._left = float(limits.burst_frames)  # of the frames that may come now
        self._updated = now
        self._message = bytearray()  # its parts so far
        self.ended: str | None = None
        """Why the connection ends: a name for a counter; empty where the client closed it."""
        self.compressed = False
        """Whether the client agreed to compression."""
        self.handshake = self._accept(request)
        """The answer to the handshake."""

    def _accept(self, request: Request) -> bytes:
        offers = _values(request, "sec-websocket-extensions")
        offer = next((each for each in offers if _DEFLATE.fullmatch(each)), None)
        self.compressed = offer is not None
        headers = request.headers | {"sec-websocket-extensions": offer or ""}
        self._ws.initiate_upgrade_connection(
            [(name.encode(), value.encode()) for name, value in headers.items()], request.path
        )
        for _ in self._ws.events():
            pass  # wsproto tells the request again
        named = SUBPROTOCOL in _values(request, "sec-websocket-protocol")
        return self._ws.send(
            AcceptConnection(
                subprotocol=SUBPROTOCOL if named else None,
                extensions=[new_deflate()] if self.compressed else [],
            )
        )

    def receive(self, data: bytes, now: float) -> list[Received]:
        """Take bytes; return the messages that are whole and what must be sent, in order."""
        if self._has_ended():
            return []
        self._left += (now - self._updated) * self._limits.frames_per_second
        self._left = min(self._left, self._limits.burst_frames)
        self._updated = now
        self._ws.receive_data(data)
        found: list[Received] = []
        for event in self._ws.events():
            found += self._take(event)
            if self._has_ended():
                break
        return found

    def _has_ended(self) -> bool:
        return self.ended is not None

    def _take(self, event: Event) -> list[Received]:
        if isinstance(event, CloseConnection):
            return self._closed(event)
        if not isinstance(event, Message) or event.frame_finished:
            self._left -= 1
        if self._left < -self._limits.burst_frames:
            return self.close(
                CloseReason.POLICY_VIOLATION, "too many messages", "too_many_messages"
            )
        if isinstance(event, Ping) and self._left >= 0:
            return [Answer(self._ws.send(event.response()))]
        if isinstance(event, TextMessage | BytesMessage):
            return self._add(event)
        return []

    def _add(self, event: TextMessage | BytesMessage) -> list[Received]:
        """Add a part to the message; return the message if that was its last part."""
        data = event.data
        self._message += data.encode() if isinstance(data, str) else data
        if len(self._message) > self._limits.message_bytes:
            why = f"a message has at most {self._limits.message_bytes} bytes"
            return self.close(CloseReason.MESSAGE_TOO_BIG, why, "too_large")
        if not event.message_finished:
            return []
        whole, self._message = bytes(self._message), bytearray()
        if self._left < 0:
            return [Excess()]
        return [whole.decode() if isinstance(event, TextMessage) else whole]

    def _closed(self, event: CloseConnection) -> list[Received]:
        """Answer a close frame; or, as wsproto tells both so, end after a breach."""
        if self._ws.state is ConnectionState.REMOTE_CLOSING:
            self.ended = ""
            return [Answer(self._ws.send(event.response()))]
        bad_text = event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA
        counted = "bad_utf8" if bad_text else "protocol_error"
        return self.close(event.code, event.reason or "", counted)

    def close(self, code: int, why: str, counted: str) -> list[Received]:
        """End the connection with a close frame; ``counted`` is the counter's name."""
        if self.ended is not None:
            return []
        self.ended = counted
        try:
            return [Answer(self._ws.send(CloseConnection(code, why)))]
        except LocalProtocolError:
            return []


def _values(request: Request, header: str) -> list[str]:
    return [value.strip() for value in request.headers.get(header, "").split(",")]

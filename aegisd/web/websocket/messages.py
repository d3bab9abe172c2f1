"""A message to many clients: its frame is built once, and the same bytes are written to each.

A server's frames are not masked (RFC 6455, 5.1), so nothing in them is one client's. A compressed
message may refer to none before it (``server_no_context_takeover``, RFC 7692), so it is the same
for all clients that agreed to compression, too.
"""

from functools import cached_property

from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, TextMessage
from wsproto.extensions import PerMessageDeflate


def new_deflate() -> PerMessageDeflate:
    """Compression as it is agreed with a client: no message refers to an earlier one."""
    return PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)


def _compressing() -> Connection:
    extension = new_deflate()
    extension.accept(extension.name)
    return Connection(ConnectionType.SERVER, [extension])


_PLAIN = Connection(ConnectionType.SERVER)
_COMPRESSED = _compressing()
"""Whole messages leave nothing behind in these: any number of clients can share them."""

PING = bytes(_PLAIN.send(Ping()))


class Message:
    """A text and its frames, each made when it is first asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def plain(self) -> bytes:
        """The frame for a client that did not agree to compression."""
        return bytes(_PLAIN.send(TextMessage(self.text)))

    @cached_property
    def compressed(self) -> bytes:
        """The frame for one that did."""
        return bytes(_COMPRESSED.send(TextMessage(self.text)))

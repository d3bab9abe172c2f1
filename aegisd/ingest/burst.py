"""Bursts of datagrams, and what gathers them.

A burst costs hardly more than a single message, so datagrams are gathered for a moment.
"""

from attrs import frozen

from aegisd.ingest.recvmmsg import CREDENTIALS, Datagrams, Receiver

MAX_BURST_MESSAGES = 4096
MAX_BURST_BYTES = 1024 * 1024
"""A burst ends at one of these. Nothing else runs while the decoder looks at a whole burst, before
its first part."""

GATHER_SECONDS = 0.050
"""A burst is gathered for so long at most. No figure that is shown or stored is finer than that."""


@frozen
class Sender:
    """The process that sent a message, as the kernel tells."""

    pid: int
    uid: int


@frozen(eq=False)
class Burst:
    """Messages that a listener hands on together.

    ``senders`` has the CREDENTIALS of each message, or is empty: only Unix sockets tell (unix(7)).
    ``oversize`` further messages were too large, and are lost. ``full``: the burst is at a bound,
    and more messages may wait in the kernel.
    """

    messages: list[bytes]
    senders: bytes = b""
    oversize: int = 0
    full: bool = False

    def sender(self, message: int) -> Sender | None:
        """Who sent a message; None if the socket does not tell."""
        if not self.senders:
            return None
        return Sender(*CREDENTIALS.unpack_from(self.senders, message * CREDENTIALS.size))


class Gatherer:
    """Gathers bursts from a receiver. ``messages`` and ``bytes`` count all datagrams so far."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._chunks: list[Datagrams] = []  # of the burst that is being gathered
        self._messages = self._bytes = 0  # likewise
        self.messages = 0
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether the burst is at one of its bounds."""
        return self._messages >= MAX_BURST_MESSAGES or self._bytes >= MAX_BURST_BYTES

    def read(self, *, only_held: bool = False) -> None:
        """Add what the receiver holds, and what waits in the kernel, until the burst is full.

        With ``only_held`` nothing is received from the kernel.
        """
        receiver = self._receiver
        while not self.full and (receiver.holds or not only_held):
            chunk = receiver.take(
                MAX_BURST_MESSAGES - self._messages, MAX_BURST_BYTES - self._bytes
            )
            if chunk is None:
                break
            self._chunks.append(chunk)
            self._messages += chunk.size
            self._bytes += chunk.nbytes
            if receiver.emptied and not receiver.holds:
                break

    def take(self) -> Burst | None:
        """The burst that was gathered, None if it is empty; the next one begins."""
        chunks, self._chunks = self._chunks, []
        full = self.full
        self.messages += self._messages
        self.bytes += self._bytes
        self._messages = self._bytes = 0
        if not chunks:
            return None
        messages = [message for chunk in chunks for message in chunk.messages]
        oversize = sum(chunk.size for chunk in chunks) - len(messages)
        return Burst(messages, b"".join([chunk.senders for chunk in chunks]), oversize, full)

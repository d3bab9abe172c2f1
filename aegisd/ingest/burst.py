"""Puts a burst together: messages that are handed over at once, within bounds.

A burst costs hardly more than a message, so datagrams are gathered for a moment.
"""

from attrs import frozen

from aegisd.ingest.receive import CREDENTIALS, Chunk, Receiver

MAX_BURST_MESSAGES = 4096
MAX_BURST_BYTES = 1024 * 1024
"""What decoding looks at before its first part: this bounds the pause."""

GATHER_SECONDS = 0.050
"""How long a burst is gathered. Nothing that is shown or stored is finer than that."""


@frozen
class Sender:
    """The process that sent a message, as the kernel knows it."""

    pid: int
    uid: int


@frozen(eq=False)
class Burst:
    """Messages that are handed over together.

    ``senders`` has CREDENTIALS of each message, where the socket tells (unix(7)). ``oversize`` more
    were larger than any datagram may be and are lost. Where it is ``full``, more may wait.
    """

    messages: list[bytes]
    senders: bytes = b""
    oversize: int = 0
    full: bool = False

    def sender(self, message: int) -> Sender | None:
        """Who sent a message, where the socket tells."""
        if not self.senders:
            return None
        return Sender(*CREDENTIALS.unpack_from(self.senders, message * CREDENTIALS.size))


class Gathering:
    """The burst that is being gathered from a receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._chunks: list[Chunk] = []
        self._messages = self._bytes = 0
        self.messages = 0
        """Datagrams read since the start, and their bytes."""
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether the burst is at one of its bounds."""
        return self._messages >= MAX_BURST_MESSAGES or self._bytes >= MAX_BURST_BYTES

    def read(self, *, only_held: bool = False) -> None:
        """Read what the receiver holds, and what waits in the kernel, until the burst is full."""
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

    def burst(self) -> Burst | None:
        """What was gathered; the next burst begins. None where there is nothing."""
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

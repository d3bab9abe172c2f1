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
class Peer:
    """The process that sent a message, as the kernel tells."""

    pid: int
    uid: int


@frozen(eq=False)
class Burst:
    """Messages that a listener hands on together.

    ``credentials`` has the CREDENTIALS of each message, or is empty: only Unix sockets tell
    (unix(7)). ``oversize`` further messages were too large, and are lost. ``full``: the burst is at
    a bound, and more messages may wait in the kernel.
    """

    messages: list[bytes]
    credentials: bytes = b""
    oversize: int = 0
    full: bool = False

    def peer(self, message: int) -> Peer | None:
        """Who sent a message; None if the socket does not tell."""
        if not self.credentials:
            return None
        return Peer(*CREDENTIALS.unpack_from(self.credentials, message * CREDENTIALS.size))


class Gatherer:
    """Gathers bursts from a receiver. The totals are of all bursts, oversize datagrams too."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._chunks: list[Datagrams] = []  # of the burst that is being gathered
        self._burst_messages = self._burst_bytes = 0  # of its datagrams, oversize ones too
        self.total_messages = 0
        self.total_bytes = 0

    @property
    def full(self) -> bool:
        """Whether the burst is at one of its bounds."""
        return self._burst_messages >= MAX_BURST_MESSAGES or self._burst_bytes >= MAX_BURST_BYTES

    def read(self, *, only_held: bool = False) -> None:
        """Add what the receiver holds, and what waits in the kernel, until the burst is full.

        With ``only_held`` nothing is received from the kernel.
        """
        receiver = self._receiver
        while not self.full and (receiver.holds or not only_held):
            chunk = receiver.take(
                MAX_BURST_MESSAGES - self._burst_messages, MAX_BURST_BYTES - self._burst_bytes
            )
            if chunk is None:
                break
            self._chunks.append(chunk)
            self._burst_messages += chunk.size
            self._burst_bytes += chunk.nbytes
            if receiver.emptied and not receiver.holds:
                break

    def take(self) -> Burst | None:
        """The burst that was gathered, None if it is empty; the next one begins."""
        chunks, self._chunks = self._chunks, []
        full = self.full
        self.total_messages += self._burst_messages
        self.total_bytes += self._burst_bytes
        self._burst_messages = self._burst_bytes = 0
        if not chunks:
            return None
        messages = [message for chunk in chunks for message in chunk.messages]
        oversize = sum(chunk.size for chunk in chunks) - len(messages)
        return Burst(messages, b"".join([chunk.credentials for chunk in chunks]), oversize, full)

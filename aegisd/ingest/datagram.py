"""Drains a datagram socket in bursts.

When the socket becomes readable, what comes within the next few milliseconds is gathered, up to
a bound in messages and bytes, and handed over as one burst: a burst costs hardly more than a
message. UDP waits in the kernel meanwhile, in megabytes of buffer. A Unix socket's queue is
short (net.unix.max_dgram_qlen: 10, or 512 where systemd booted), and its senders wait or give up
when it is full; so it is read while the burst is gathered: every millisecond, or where it is very
short by a thread that waits in the kernel.
"""

import socket
import struct
from collections.abc import Callable
from math import inf
from time import monotonic

import numpy as np
import trio
from attrs import frozen
from numpy.typing import NDArray

from aegisd.ingest.receive import WAIT_SECONDS, Chunk, Receiver, joined
from aegisd.wire.messages import Messages

MAX_BURST_MESSAGES = 4096
MAX_BURST_BYTES = 1024 * 1024
"""A burst is decoded in one go, and nothing else runs meanwhile: this bounds the pause."""

GATHER_SECONDS = WAIT_SECONDS
"""How long a burst is gathered. Nothing that is shown or stored is finer than that."""

READ_SECONDS = 0.001
"""How often a Unix socket is read meanwhile: 512 datagrams in it are 400,000 a second."""

LONG_QUEUE = 256
"""A Unix socket whose queue is shorter is read in the kernel all the while."""

MAX_DATAGRAM_BYTES = 1024 * 1024
"""Larger than any datagram the kernel carries unless its limits were raised."""

MAX_UDP_BYTES = 65_536

SO_MEMINFO = 55  # socket(7) has it since Linux 4.12; Python has no name for it
_MEMINFO = struct.Struct("9I")
_DROPS = 8  # SK_MEMINFO_DROPS, the ninth number


@frozen
class Sender:
    """The process that sent a message, as the kernel knows it."""

    pid: int
    uid: int


@frozen(eq=False)
class Burst:
    """Messages that are handed over together.

    ``senders`` has a row of pid and uid for each message, where the socket tells (unix(7));
    ``oversize`` more were larger than MAX_DATAGRAM_BYTES and are lost.
    """

    messages: Messages
    senders: NDArray[np.int32] | None = None
    oversize: int = 0

    def sender(self, message: int) -> Sender | None:
        """Who sent a message, where the socket tells."""
        return None if self.senders is None else Sender(*self.senders[message].tolist())


class DatagramListener:
    """One Unix or UDP datagram socket. ``handle(listener, burst)`` takes the bursts.

    ``queue`` is how many datagrams a Unix socket's queue holds; a UDP socket's holds bytes.
    """

    def __init__(
        self,
        bound: socket.socket,
        address: str,
        handle: "Handle",
        *,
        ours: bool,
        queue: int = 0,
    ) -> None:
        bound.setblocking(False)
        self._socket = bound
        self._unix = bound.family == socket.AF_UNIX
        if self._unix:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._short_queue = self._unix and queue < LONG_QUEUE
        if self._short_queue:  # every other call says itself that it doesn't wait
            bound.settimeout(None)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(WAIT_SECONDS))
        limit = MAX_DATAGRAM_BYTES if self._unix else min(MAX_UDP_BYTES, MAX_DATAGRAM_BYTES)
        self._receiver = Receiver(bound, limit, credentials=self._unix)
        self._gathered: list[Chunk] = []
        self._pause = READ_SECONDS if self._unix else GATHER_SECONDS
        self._handle = handle
        self._ours = ours
        self.address = address
        self.messages = 0
        self.bytes = 0
        self._dropped_at_the_end = 0

    async def run(self) -> None:
        """Drain the socket until cancelled."""
        while True:
            if self._receiver.holds:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._socket)
            await self._gather()
            self._hand_over()

    def finish(self, seconds: float) -> None:
        """Close the socket; what senders were told was sent is taken first.

        A Unix socket refuses senders from now on, so its queue has an end. UDP senders can't be
        refused: no more than ``seconds`` are spent on theirs. A socket that systemd holds is
        left as it is, for the next start.
        """
        while self._receiver.holds or self._gathered:
            self._read(only_held=True)
            self._hand_over()
        if self._ours:
            deadline = monotonic() + seconds
            if self._unix:
                # sending fails from now on; what is in the queue can still be read (unix(7))
                self._socket.shutdown(socket.SHUT_RD)
                deadline = inf
            self._read()
            while self._hand_over() and monotonic() < deadline:
                self._read()
        self._dropped_at_the_end = self.kernel_dropped()
        self._socket.close()

    def kernel_dropped(self) -> int:
        """Datagrams that the kernel dropped because the socket's buffer was full (UDP only)."""
        if self._unix:
            return 0  # a full Unix socket makes its senders wait, or tells them
        if self._socket.fileno() < 0:  # closed; the figures are still asked for
            return self._dropped_at_the_end
        info = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(info)[_DROPS])

    async def _gather(self) -> None:
        deadline = trio.current_time() + GATHER_SECONDS
        while self._read() and (left := deadline - trio.current_time()) > 0:
            if self._short_queue:
                await trio.to_thread.run_sync(self._receiver.wait)
            else:
                await trio.sleep(min(self._pause, left))

    def _read(self, *, only_held: bool = False) -> bool:
        """Read what waits into the burst; False where the burst is full."""
        receiver = self._receiver
        messages = MAX_BURST_MESSAGES - sum(chunk.size for chunk in self._gathered)
        nbytes = MAX_BURST_BYTES - sum(chunk.nbytes for chunk in self._gathered)
        while messages > 0 and nbytes > 0 and (receiver.holds or not only_held):
            chunk = receiver.take(messages, nbytes)
            if chunk is None:
                break
            self._gathered.append(chunk)
            self.messages += chunk.size
            self.bytes += chunk.nbytes
            messages, nbytes = messages - chunk.size, nbytes - chunk.nbytes
            if receiver.emptied and not receiver.holds:
                break
        return messages > 0 and nbytes > 0

    def _hand_over(self) -> bool:
        """Hand over the burst; False where there is none."""
        chunks, self._gathered = self._gathered, []
        if not chunks:
            return False
        senders = None
        if self._unix:
            senders = np.concatenate([c.senders for c in chunks if c.senders is not None])
        self._handle(self, Burst(joined(chunks), senders, sum(c.oversize for c in chunks)))
        return True


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", 0, round(seconds * 1_000_000))


Handle = Callable[[DatagramListener, Burst], None]
"""Takes a burst from a listener."""

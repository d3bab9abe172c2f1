"""Drains a datagram socket in bursts.

When the socket is readable, everything that waits is read without waiting again, up to a bound
in messages and bytes, and handed over as one burst: waking up costs more than reading.
"""

import socket
import struct
from collections.abc import Callable
from math import inf
from time import monotonic

import trio

from aegisd.wire.messages import Messages

MAX_BURST_MESSAGES = 1024
MAX_BURST_BYTES = 1024 * 1024
"""A burst is decoded in one go, and nothing else runs meanwhile: this bounds the pause."""

MAX_DATAGRAM_BYTES = 1024 * 1024
"""Larger than any datagram the kernel carries unless its limits were raised."""

SO_MEMINFO = 55  # socket(7) has it since Linux 4.12; Python has no name for it
_MEMINFO = struct.Struct("9I")
_DROPS = 8  # SK_MEMINFO_DROPS, the ninth number


class DatagramListener:
    """One Unix or UDP datagram socket.

    ``handle(listener, burst, oversize)`` takes the messages of a burst, and how many were larger
    than MAX_DATAGRAM_BYTES and are lost.
    """

    def __init__(
        self,
        bound: socket.socket,
        address: str,
        handle: "Handle",
        *,
        ours: bool,
    ) -> None:
        bound.setblocking(False)
        self._socket = bound
        self._handle = handle
        self._ours = ours
        self._buffer = memoryview(bytearray(MAX_DATAGRAM_BYTES))
        self.address = address
        self.messages = 0
        self.bytes = 0
        self._dropped_at_the_end = 0

    async def run(self) -> None:
        """Drain the socket until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            self._take_burst()

    def finish(self, seconds: float) -> None:
        """Close the socket; what senders were told was sent is taken first.

        A Unix socket refuses senders from now on, so its queue has an end. UDP senders can't be
        refused: no more than ``seconds`` are spent on theirs. A socket that systemd holds is
        left as it is, for the next start.
        """
        if self._ours:
            deadline = monotonic() + seconds
            if self._socket.family == socket.AF_UNIX:
                # sending fails from now on; what is in the queue can still be read (unix(7))
                self._socket.shutdown(socket.SHUT_RD)
                deadline = inf
            while self._take_burst() and monotonic() < deadline:
                pass
        self._dropped_at_the_end = self.kernel_dropped()
        self._socket.close()

    def kernel_dropped(self) -> int:
        """Datagrams that the kernel dropped because the socket's buffer was full (UDP only)."""
        if self._socket.family == socket.AF_UNIX:
            return 0  # a full Unix socket makes its senders wait, or tells them
        if self._socket.fileno() < 0:  # closed; the figures are still asked for
            return self._dropped_at_the_end
        info = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(info)[_DROPS])

    def _take_burst(self) -> bool:
        """Hand over what waits; False where nothing did."""
        burst, oversize = self._drain()
        if not burst and not oversize:
            return False
        self.messages += len(burst) + oversize
        self._handle(self, Messages.of(burst), oversize)
        return True

    def _drain(self) -> tuple[list[bytes], int]:
        receive_into, buffer = self._socket.recv_into, self._buffer
        burst: list[bytes] = []
        size = oversize = 0
        while len(burst) < MAX_BURST_MESSAGES and size < MAX_BURST_BYTES:
            try:
                # MSG_TRUNC tells the datagram's own length, also where it didn't fit (recv(2))
                length = receive_into(buffer, 0, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            if length > MAX_DATAGRAM_BYTES:
                oversize += 1
            else:
                burst.append(bytes(buffer[:length]))
            size += length
        self.bytes += size
        return burst, oversize


Handle = Callable[[DatagramListener, Messages, int], None]
"""Takes a burst, and how many messages more were too large."""

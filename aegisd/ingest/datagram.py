"""Listens on a datagram socket, and hands on its datagrams in bursts.

1. UDP: when the socket becomes readable, datagrams wait in the kernel, in megabytes of buffer, for
   a moment. Then they are read as one burst.
2. Unix: the kernel's queue is short, so a thread reads it all the time (``reader_thread``).

A burst is handed on part by part, and other tasks run between two parts.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic

import trio

from aegisd.ingest.burst import GATHER_SECONDS, Burst, Gatherer
from aegisd.ingest.figures import ListenerFigures
from aegisd.ingest.reader_thread import ReaderThread
from aegisd.ingest.recvmmsg import Receiver

MAX_DATAGRAM_BYTES = 1024 * 1024
"""Of a Unix datagram. The kernel's own limit is lower unless it was raised (net.core.wmem_max)."""

MAX_UDP_BYTES = 65_536

SMALL_DATAGRAM_BYTES = 768
"""A small datagram takes so much of a socket's buffer."""

SUDDEN_RATE = 100_000
"""So many small datagrams a second must not overflow a UDP buffer, even if they start suddenly."""

SHORTEST_SECONDS = 0.005
"""A burst is gathered for so long at least, however small the buffer."""

SO_MEMINFO = 55  # socket(7) has it since Linux 4.12; Python has no name for it
_MEMINFO = struct.Struct("9I")
_DROPS = 8  # SK_MEMINFO_DROPS, the ninth number


class DatagramListener:
    """One Unix or UDP datagram socket. ``handle(listener, burst)`` takes a burst, part by part.

    ``ours`` is false for a socket of systemd, which stays open for the next start.
    """

    def __init__(self, bound: socket.socket, address: str, handle: "Handle", *, ours: bool) -> None:
        bound.setblocking(False)
        self._socket = bound
        self._unix = bound.family == socket.AF_UNIX
        if self._unix:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        limit = MAX_DATAGRAM_BYTES if self._unix else min(MAX_UDP_BYTES, MAX_DATAGRAM_BYTES)
        self._receiver = Receiver(bound, limit, credentials=self._unix)
        self._gatherer = Gatherer(self._receiver)
        self._thread = ReaderThread(bound, self._receiver, self._gatherer) if self._unix else None
        self._handle = handle
        self._taking: Iterator[None] = iter(())  # the rest of the burst that is handed on
        self._ours = ours
        self.address = address
        self._dropped_at_the_end = 0

    def figures(self) -> ListenerFigures:
        """What came since the start; ``finish`` keeps it."""
        gatherer = self._gatherer
        return ListenerFigures(
            self.address,
            gatherer.total_messages,
            gatherer.total_bytes,
            self._kernel_dropped(),
            refused=None,
        )

    async def run(self) -> None:
        """Hand on bursts until cancelled."""
        if self._thread is not None:
            async with self._thread.running():
                while True:
                    await self._hand_on(await self._thread.next())
        capacity, gather = _capacity(self._socket), _gather_seconds(self._socket)
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            seconds = SHORTEST_SECONDS  # datagrams may have started suddenly
            await trio.sleep(seconds)
            while (burst := self._read()) is not None:
                await self._hand_on(burst)
                if burst.full:
                    continue
                # when many come, bursts are large anyway, and the buffer is full soon
                expected = len(burst.messages) * gather / seconds
                seconds = gather if expected < capacity / 2 else SHORTEST_SECONDS
                await trio.sleep(seconds)

    def finish(self, seconds: float) -> None:
        """Hand on what senders believe to be sent, without a pause; then close the socket.

        1. The rest of the burst that was being handed on when ``run`` was cancelled.
        2. What was read already.
        3. What waits in the kernel, unless systemd holds the socket: then the next start reads it.
           A Unix socket refuses senders from now on, so its queue has an end. UDP senders can't be
           refused: at most ``seconds`` are spent on it.
        """
        for _ in self._taking:
            pass
        if self._thread is not None and (ready := self._thread.take()) is not None:
            self._take_at_once(ready)
        while (burst := self._read(only_held=True)) is not None:
            self._take_at_once(burst)
        if self._ours:
            deadline = monotonic() + seconds
            if self._unix:
                # sending fails from now on, while the queue can still be read (unix(7))
                self._socket.shutdown(socket.SHUT_RD)
                deadline = inf
            while (burst := self._read()) is not None:
                self._take_at_once(burst)
                if monotonic() >= deadline:
                    break
        self._dropped_at_the_end = self._kernel_dropped()
        self._socket.close()

    def _kernel_dropped(self) -> int:
        """Datagrams that the kernel dropped because the socket's buffer was full (UDP only)."""
        if self._unix:
            return 0  # senders to a full Unix socket wait, or get an error
        if self._socket.fileno() < 0:  # closed by finish
            return self._dropped_at_the_end
        info = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(info)[_DROPS])

    def _read(self, *, only_held: bool = False) -> Burst | None:
        self._gatherer.read(only_held=only_held)
        return self._gatherer.take()

    async def _hand_on(self, burst: Burst) -> None:
        """Hand on a burst; if this is cancelled, ``finish`` hands on the rest."""
        self._taking = self._handle(self, burst)
        for _ in self._taking:
            await trio.lowlevel.checkpoint()

    def _take_at_once(self, burst: Burst) -> None:
        for _ in self._handle(self, burst):
            pass


def _capacity(bound: socket.socket) -> float:
    """How many small datagrams a UDP socket's buffer holds."""
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) / SMALL_DATAGRAM_BYTES


def _gather_seconds(bound: socket.socket) -> float:
    """How long a UDP socket's buffer may fill before it is read."""
    return min(GATHER_SECONDS, max(SHORTEST_SECONDS, _capacity(bound) / SUDDEN_RATE))


Handle = Callable[[DatagramListener, Burst], Iterator[None]]
"""Takes a burst from a listener, part by part: it does one part for each item it yields."""

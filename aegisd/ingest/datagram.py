"""Drains a datagram socket in bursts.

When the socket becomes readable, what comes within the next moment is gathered and handed over as
one burst. UDP waits in the kernel meanwhile, in megabytes of buffer. A Unix socket's queue is
short, so a thread reads it all the while (``drain``).

A burst is taken part by part, and other tasks run between two parts.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic

import trio

from aegisd.ingest.drain import Drain
from aegisd.ingest.figures import ListenerFigures
from aegisd.ingest.gathering import GATHER_SECONDS, Burst, Gathering
from aegisd.ingest.receive import Receiver

MAX_DATAGRAM_BYTES = 1024 * 1024
"""Larger than any datagram the kernel carries unless its limits were raised."""

MAX_UDP_BYTES = 65_536

SMALL_DATAGRAM_BYTES = 768
"""What a small datagram takes of a socket's buffer."""

SUDDEN_RATE = 100_000
"""Datagrams a second that shall not overflow a UDP buffer, also where they come all of a sudden."""

SHORTEST_SECONDS = 0.005
"""The least time a burst is gathered, however small the buffer."""

SO_MEMINFO = 55  # socket(7) has it since Linux 4.12; Python has no name for it
_MEMINFO = struct.Struct("9I")
_DROPS = 8  # SK_MEMINFO_DROPS, the ninth number


class DatagramListener:
    """One Unix or UDP datagram socket. ``handle(listener, burst)`` takes a burst, part by part."""

    def __init__(self, bound: socket.socket, address: str, handle: "Handle", *, ours: bool) -> None:
        bound.setblocking(False)
        self._socket = bound
        self._unix = bound.family == socket.AF_UNIX
        if self._unix:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        limit = MAX_DATAGRAM_BYTES if self._unix else min(MAX_UDP_BYTES, MAX_DATAGRAM_BYTES)
        self._receiver = Receiver(bound, limit, credentials=self._unix)
        self._gathering = Gathering(self._receiver)
        self._drain = Drain(bound, self._receiver, self._gathering) if self._unix else None
        self._handle = handle
        self._taking: Iterator[None] = iter(())
        self._ours = ours
        self.address = address
        self._dropped_at_the_end = 0

    def figures(self) -> ListenerFigures:
        """What came since the start; also after ``finish``."""
        return ListenerFigures(
            self.address, self.messages, self.bytes, self.kernel_dropped(), refused=None
        )

    @property
    def messages(self) -> int:
        """Datagrams that came."""
        return self._gathering.messages

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return self._gathering.bytes

    async def run(self) -> None:
        """Drain the socket until cancelled."""
        if self._drain is not None:
            async with self._drain.running():
                while True:
                    await self._hand_over(await self._drain.next())
        room, gather = _room(self._socket), _gather_seconds(self._socket)
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            seconds = SHORTEST_SECONDS  # a flood may have begun
            await trio.sleep(seconds)
            while (burst := self._read()) is not None:
                await self._hand_over(burst)
                if burst.full:
                    continue
                # in a flood bursts are large anyway, and the buffer is soon full
                expected = len(burst.messages) * gather / seconds
                seconds = gather if expected < room / 2 else SHORTEST_SECONDS
                await trio.sleep(seconds)

    def finish(self, seconds: float) -> None:
        """Close the socket; what senders were told was sent is taken first.

        A Unix socket refuses senders from now on, so its queue has an end. UDP senders can't be
        refused: no more than ``seconds`` are spent on theirs. A socket that systemd holds is
        left as it is, for the next start.
        """
        for _ in self._taking:
            pass  # a burst that was being taken
        if self._drain is not None and (ready := self._drain.take()) is not None:
            self._take_at_once(ready)
        while (burst := self._read(only_held=True)) is not None:
            self._take_at_once(burst)
        if self._ours:
            deadline = monotonic() + seconds
            if self._unix:
                # sending fails from now on; what is in the queue can still be read (unix(7))
                self._socket.shutdown(socket.SHUT_RD)
                deadline = inf
            while (burst := self._read()) is not None:
                self._take_at_once(burst)
                if monotonic() >= deadline:
                    break
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

    def _read(self, *, only_held: bool = False) -> Burst | None:
        self._gathering.read(only_held=only_held)
        return self._gathering.burst()

    async def _hand_over(self, burst: Burst) -> None:
        """Hand over a burst; what is left of it when this is cancelled is taken at the end."""
        self._taking = self._handle(self, burst)
        for _ in self._taking:
            await trio.lowlevel.checkpoint()

    def _take_at_once(self, burst: Burst) -> None:
        for _ in self._handle(self, burst):
            pass


def _room(bound: socket.socket) -> float:
    """Small datagrams that a UDP socket's buffer holds."""
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) / SMALL_DATAGRAM_BYTES


def _gather_seconds(bound: socket.socket) -> float:
    """How long a UDP socket's buffer may be left alone."""
    return min(GATHER_SECONDS, max(SHORTEST_SECONDS, _room(bound) / SUDDEN_RATE))


Handle = Callable[[DatagramListener, Burst], Iterator[None]]
"""Takes a burst from a listener, part by part."""

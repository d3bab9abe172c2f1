"""Drains a Unix datagram socket all the while, in a thread of its own.

Its queue is short (net.unix.max_dgram_qlen: 10, or 512 where systemd booted), and its senders wait
or give up when it is full. So somebody must always read, also while the loop decodes. The thread
waits in recvmmsg(2): no Python runs between two datagrams, and a datagram costs what waking a
thread in the kernel costs. The loop is woken once for each burst.
"""

import os
import select
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import trio

from aegisd.events.units import SECOND_US
from aegisd.ingest.gathering import GATHER_SECONDS, Burst, Gathering
from aegisd.ingest.receive import Receiver
from aegisd.threads import in_thread

SILENCE_SECONDS = 0.010
"""A receiver that waits gives up after so long without a datagram. It is asked for GATHER_SECONDS
less this: so no burst takes longer, unless the loop has not taken the one before."""


class Drain:
    """The thread's work. One burst is ready at most, beside the one that is being gathered."""

    def __init__(self, bound: socket.socket, receiver: Receiver, gathering: Gathering) -> None:
        # every other call says itself that it doesn't wait
        bound.settimeout(None)
        timeout = struct.pack("ll", 0, round(SILENCE_SECONDS * SECOND_US))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._socket = bound
        self._receiver = receiver
        self._gathering = gathering
        self._ready: Burst | None = None
        self._changed = threading.Condition()  # what is ready, or that it is time to stop
        self._stopping = False
        self._bell = -1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The thread, for as long as the block lasts; then the socket is left alone."""
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        stop = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_thread, self._work, stop)
                try:
                    yield
                finally:
                    with self._changed:
                        self._stopping = True
                        self._changed.notify()
                    os.eventfd_write(stop, 1)
        finally:
            os.close(stop)
            os.close(self._bell)

    async def next(self) -> Burst:
        """The next burst."""
        while (burst := self.take()) is None:
            # sooner than trio's own way from a thread: one pass of the loop in place of three
            await trio.lowlevel.wait_readable(self._bell)
            os.eventfd_read(self._bell)
        return burst

    def take(self) -> Burst | None:
        """The burst that is ready."""
        with self._changed:
            burst, self._ready = self._ready, None
            self._changed.notify()
        return burst

    def _work(self, stop: int) -> None:
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.register(stop, select.POLLIN)
        while not self._stopping:
            if not self._receiver.holds:
                waiting.poll()
            self._gather()
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._ready is None)
                if self._ready is None:
                    self._ready = self._gathering.burst()
            os.eventfd_write(self._bell, 1)

    def _gather(self) -> None:
        """Gather a burst: for a while, or for as long as the one before is not taken."""
        deadline = monotonic() + GATHER_SECONDS - SILENCE_SECONDS
        self._gathering.read(only_held=True)
        while not self._stopping and not self._gathering.full:
            left = deadline - monotonic()
            if left <= 0 and self._ready is None:
                break
            self._receiver.wait(max(left, SILENCE_SECONDS))
            self._gathering.read(only_held=True)

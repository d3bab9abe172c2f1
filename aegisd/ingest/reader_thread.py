"""Reads a Unix datagram socket all the time, in a thread of its own.

The queue of such a socket is short (net.unix.max_dgram_qlen: 10, or 512 if systemd booted the
machine). If it is full, senders wait or give up. So it must be read while the event loop decodes,
too. The thread waits in recvmmsg(2): no Python runs between two datagrams, and a datagram costs as
much as waking a thread in the kernel. The event loop is woken once for each burst.
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
from aegisd.ingest.burst import GATHER_SECONDS, Burst, Gatherer
from aegisd.ingest.recvmmsg import Receiver
from aegisd.threads import in_thread

RECEIVE_TIMEOUT_SECONDS = 0.010
"""A receiver that waits returns after so long without a datagram (SO_RCVTIMEO). It is told to wait
for GATHER_SECONDS less this time, so that a burst is ready after GATHER_SECONDS. A burst takes
longer only while the burst before it still waits for the loop."""


class ReaderThread:
    """Gathers bursts in a thread, for as long as ``running`` lasts.

    At most one burst is ready, beside the one that is being gathered. Once that one is full, the
    thread waits until the ready burst is taken; meanwhile the kernel's queue may fill.
    """

    def __init__(self, bound: socket.socket, receiver: Receiver, gatherer: Gatherer) -> None:
        # blocking; calls that must not wait say so (MSG_DONTWAIT)
        bound.settimeout(None)
        timeout = struct.pack("ll", 0, round(RECEIVE_TIMEOUT_SECONDS * SECOND_US))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._socket = bound
        self._receiver = receiver
        self._gatherer = gatherer
        self._ready: Burst | None = None
        self._changed = threading.Condition()  # guards _ready and _stopping
        self._stopping = False
        self._bell = -1  # an eventfd(2) that wakes the loop

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the thread until the end of the block; after that the socket is not read."""
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
        """Wait for the next burst."""
        while (burst := self.take()) is None:
            # sooner than trio.from_thread: one turn of the loop instead of three
            await trio.lowlevel.wait_readable(self._bell)
            os.eventfd_read(self._bell)
        return burst

    def take(self) -> Burst | None:
        """The burst that is ready, or None."""
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
                    self._ready = self._gatherer.take()
            os.eventfd_write(self._bell, 1)

    def _gather(self) -> None:
        """Gather until the burst is full, or its time is over and the last burst was taken."""
        deadline = monotonic() + GATHER_SECONDS - RECEIVE_TIMEOUT_SECONDS
        self._gatherer.read(only_held=True)
        while not self._stopping and not self._gatherer.full:
            left = deadline - monotonic()
            if left <= 0 and self._ready is None:
                break
            self._receiver.wait(max(left, RECEIVE_TIMEOUT_SECONDS))
            self._gatherer.read(only_held=True)

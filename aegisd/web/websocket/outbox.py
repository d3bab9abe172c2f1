"""Writes to one connection, from one place, in order.

``send`` writes at once, without a task: a non-blocking write to the socket. That is the dearest
part of a client's update, and nearly all of it is the kernel's. What the socket doesn't take, and
all that comes meanwhile, is sent by a task that ends when nothing is left. So a frame is whole
before the next one begins, whoever sends it. Over TLS everything is sent by the task.

What waits is bounded: MAX_WAITING_BYTES, for SEND_SECONDS. Beyond either, the connection is ended
without a word, for there is no room for one. The kernel, too, would keep megabytes for a client
that doesn't read: so the socket counts as writable only while everything written to it was sent on
(TCP_NOTSENT_LOWAT). ``wait_until_sent`` and the hub's poll go by that.
"""

import os
import socket as sockets
from collections import deque
from collections.abc import Callable

import trio

MAX_WAITING_BYTES = 256 * 1024
"""The largest message, all topics in whole, has some 40 KiB."""

SEND_SECONDS = 30


class Outbox:
    """What is sent to one client. ``too_slow`` is called once, if the client is."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        socket: trio.SocketStream,
        nursery: trio.Nursery,
        too_slow: Callable[[], None],
    ) -> None:
        self._stream = stream
        self.fd = socket.socket.fileno()
        """The socket's descriptor, which stays open for as long as there is a client."""
        self._direct = stream is socket
        self._nursery = nursery
        self._too_slow = too_slow
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.idle = True
        """Whether nothing waits here."""
        self._emptied = trio.Event()
        socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, 1)

    def send(self, data: bytes) -> None:
        """Send after what waits."""
        if self.idle and self._direct:
            try:
                sent = os.write(self.fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the client has left: whoever reads from it will see it
            if sent == len(data):
                return
            data = data[sent:]
        if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
            self._too_slow()
            return
        if self.idle:
            self.idle = False
            self._emptied = trio.Event()
            self._nursery.start_soon(self._send_waiting)
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                with trio.fail_after(SEND_SECONDS):
                    await self._stream.send_all(self._waiting[0])
                self._waiting_bytes -= len(self._waiting.popleft())
        except trio.TooSlowError:
            self._too_slow()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._waiting.clear()  # as in ``send``
            self._waiting_bytes = 0
        self.idle = True
        self._emptied.set()

    async def wait_until_sent(self) -> None:
        """Wait until nothing waits here."""
        if not self.idle:
            await self._emptied.wait()

"""The acknowledged stream: frames over a Unix socket, answered once they are safe.

A frame is its length in four bytes, big-endian, and a message. A connection's frames are taken as
many as are there, and only when they are answered are more read: who sends faster than that finds
the socket full. A client that stops in the middle of a frame, or doesn't read its answers, loses
its connection and nothing else.
"""

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from math import inf

import msgpack
import structlog
import trio
from attrs import frozen

from aegisd.ingest.gathering import Sender

RECEIVE_BYTES = 256 * 1024
MAX_TAKEN_BYTES = 64 * 1024
MAX_TAKEN_FRAMES = 64
"""Frames that are handed over together, about: 131,072 events at most, and the last one's."""

FRAME_SECONDS = 30.0  # from a frame's first byte to its last
SEND_SECONDS = 30.0  # until a client has read its answers
MAX_CONNECTIONS = 1000
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""In frames that are not complete, of all connections together."""

BACKLOG = MAX_CONNECTIONS  # who connects without waiting is refused where it is full

_LENGTH = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7))

log = structlog.get_logger()


@frozen
class Answers:
    """What a connection gets for its frames; ``close`` where it ends with that."""

    payloads: list[object]
    close: bool = False


def error(code: str, message: str) -> dict[str, dict[str, str]]:
    """The answer that goes before a connection is closed."""
    return {"error": {"code": code, "message": message}}


class StreamListener:
    """One listening Unix stream socket. ``take(listener, sender, frames)`` gives the answers."""

    def __init__(
        self, bound: socket.socket, address: str, take: "Take", max_message_bytes: int
    ) -> None:
        bound.listen(BACKLOG)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        self._take = take
        self._max_message_bytes = max_message_bytes
        self.address = address
        self.messages = 0
        self.bytes = 0
        self.connections = 0
        self._waiting: dict[trio.SocketStream, int] = {}

    def kernel_dropped(self) -> int:
        """Nothing: a full stream makes its senders wait."""
        return 0

    async def run(self) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            if self.connections > MAX_CONNECTIONS:
                why = f"{MAX_CONNECTIONS} connections are open, no more are taken"
                await _send(stream, [error("too_many_connections", why)])
            else:
                await self._session(stream)
        except (trio.BrokenResourceError, trio.TooSlowError):
            pass  # gone, or as good as gone: what was not acknowledged comes again
        finally:
            self.connections -= 1
            self._waiting.pop(stream, None)
            await trio.aclose_forcefully(stream)

    async def _session(self, stream: trio.SocketStream) -> None:
        sender = _sender(stream)
        buffer = bytearray()
        begun = inf  # when the frame began that is not complete
        while True:
            frames, fault = self._frames(buffer)
            if frames:
                self.messages += len(frames)
                self.bytes += sum(map(len, frames))
                answers = await self._take(self, sender, frames)
                await _send(stream, answers.payloads)
                if answers.close:
                    return
                begun = inf
            if fault is not None:
                await _send(stream, [fault])
                return
            if frames and len(buffer) >= _LENGTH.size:
                continue  # there may be more of them
            begun = min(begun, trio.current_time()) if buffer else inf
            data = await _receive(stream, begun + FRAME_SECONDS)
            if data is None:
                why = f"a frame was not complete within {FRAME_SECONDS:.0f} s"
                await _send(stream, [error("timeout", why)])
                return
            if not data:
                return
            buffer += data
            if self._waiting_bytes(stream, len(buffer)) > MAX_WAITING_BYTES:
                why = f"frames of {MAX_WAITING_BYTES} bytes wait for their ends already"
                await _send(stream, [error("busy", why)])
                return

    def _waiting_bytes(self, stream: trio.SocketStream, own: int) -> int:
        """Bytes that wait in all connections, of which this one has its ``own``."""
        self._waiting[stream] = own
        return sum(self._waiting.values())

    def _frames(self, buffer: bytearray) -> tuple[list[bytes], object]:
        """Take the complete frames out of the buffer; what is wrong with the one behind them."""
        frames: list[bytes] = []
        at = 0
        fault = None
        while (
            len(buffer) - at >= _LENGTH.size
            and at < MAX_TAKEN_BYTES
            and len(frames) < MAX_TAKEN_FRAMES
        ):
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > self._max_message_bytes:
                limit = self._max_message_bytes
                fault = error("oversize", f"a frame of {length} bytes; at most {limit} are taken")
                break
            end = at + _LENGTH.size + length
            if end > len(buffer):
                break
            frames.append(bytes(buffer[at + _LENGTH.size : end]))
            at = end
        del buffer[:at]
        return frames, fault


Take = Callable[[StreamListener, Sender, Sequence[bytes]], Awaitable[Answers]]


def _sender(stream: trio.SocketStream) -> Sender:
    given = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(given)
    return Sender(pid, uid)


async def _receive(stream: trio.SocketStream, deadline: float) -> bytes | None:
    """What comes next, b"" at the end; None where nothing came before the deadline."""
    if deadline == inf:  # mostly: a deadline costs as much as receiving
        await trio.lowlevel.wait_readable(stream.socket)
    else:
        with trio.move_on_at(deadline) as waited:
            await trio.lowlevel.wait_readable(stream.socket)
        if waited.cancelled_caught:
            return None
    try:
        return os.read(stream.socket.fileno(), RECEIVE_BYTES)
    except OSError as error:
        raise trio.BrokenResourceError from error


async def _send(stream: trio.SocketStream, payloads: list[object]) -> None:
    packed = [msgpack.packb(payload) for payload in payloads]
    data = b"".join([_LENGTH.pack(len(p)) + p for p in packed])
    try:
        # answers are small, and a client that reads them has room for them
        sent = os.write(stream.socket.fileno(), data) if data else 0
    except BlockingIOError:
        sent = 0
    except OSError as error:
        raise trio.BrokenResourceError from error
    if sent < len(data):
        with trio.fail_after(SEND_SECONDS):
            await stream.send_all(memoryview(data)[sent:])

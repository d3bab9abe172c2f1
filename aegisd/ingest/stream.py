"""The acknowledged stream: frames over a Unix socket, answered once they are safe.

A frame is its length in four bytes, big-endian, and a message. A connection's frames are taken as
many as are there, and only when they are answered are more read: who sends faster than that finds
the socket full. A client that stops in the middle of a frame, or doesn't read its answers, loses
its connection and nothing else. One that is silent for long loses it too, and connects again: a
gateway that leaves its connections behind shuts nobody out.
"""

import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

import msgpack
import structlog
import trio
from attrs import define, frozen

from aegisd.ingest.figures import ListenerFigures
from aegisd.ingest.gathering import Sender

RECEIVE_BYTES = 256 * 1024
MAX_TAKEN_BYTES = 64 * 1024
MAX_TAKEN_FRAMES = 64
"""Frames that are handed over together, about: 131,072 events at most, and the last one's."""

FRAME_SECONDS = 30.0  # from a frame's first byte to its last
SEND_SECONDS = 30.0  # until a client has read its answers
IDLE_SECONDS = 900.0  # without a byte between two frames
IDLE_ROUND_SECONDS = 10.0  # between two looks at who is idle
MAX_CONNECTIONS = 1000
UID_SHARE = 0.75
"""Of the connections: those of one user leave some for others."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""In frames that are not complete or not answered, of all connections together."""

BACKLOG = MAX_CONNECTIONS  # who connects without waiting is refused where it is full

_LENGTH = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7))

log = structlog.get_logger()


@define(eq=False)
class _Session:
    """A connection, and what it holds of what all share."""

    stream: trio.SocketStream
    sender: Sender
    heard: float  # when it last sent
    waiting: int = 0  # bytes of frames that are not complete, or not answered
    busy: bool = False  # whether it waits for us
    idle: bool = False  # whether it is closed for that


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
        self,
        bound: socket.socket,
        address: str,
        take: "Take",
        max_message_bytes: int,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        bound.listen(BACKLOG)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        self._take = take
        self._max_message_bytes = max_message_bytes
        self._max_connections = max_connections
        self.address = address
        self.messages = 0
        self.bytes = 0
        self.refused = 0
        """Connections that were not taken."""
        self._sessions: set[_Session] = set()
        self._of_uid: Counter[int] = Counter()
        self._waiting = 0  # what all sessions hold

    def figures(self) -> ListenerFigures:
        """What came since the start. A full stream makes its senders wait: nothing is dropped."""
        return ListenerFigures(
            self.address, self.messages, self.bytes, kernel_dropped=0, refused=self.refused
        )

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._sessions)

    def kernel_dropped(self) -> int:
        """Nothing: a full stream makes its senders wait."""
        return 0

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_idle)
            await trio.serve_listeners(self._serve, [self._listener])

    async def _close_idle(self) -> None:
        """End connections that are silent; a deadline for each would cost as much as receiving."""
        while True:
            await trio.sleep(IDLE_ROUND_SECONDS)
            silent_since = trio.current_time() - IDLE_SECONDS
            for session in self._sessions:
                if session.heard < silent_since and not session.busy:
                    session.idle = True
                    session.stream.socket.shutdown(socket.SHUT_RD)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            sender = _sender(stream)
            why = self._full(sender.uid)
            if why is not None:
                self.refused += 1
                await _send(stream, [error("too_many_connections", why)])
                return
            with self._open(_Session(stream, sender, trio.current_time())) as session:
                await self._session(session)
        except (trio.BrokenResourceError, trio.TooSlowError):
            pass  # gone, or as good as gone: what was not acknowledged comes again
        finally:
            await trio.aclose_forcefully(stream)

    def _full(self, uid: int) -> str | None:
        """Why there is no room for a connection; None where there is."""
        if self.connections >= self._max_connections:
            return f"{self.connections} connections are open, no more are taken"
        if self._of_uid[uid] >= self._max_connections * UID_SHARE:
            return f"uid {uid} has {self._of_uid[uid]} connections open, no more are taken"
        return None

    @contextmanager
    def _open(self, session: _Session) -> Iterator[_Session]:
        """Count a session among those that are open."""
        self._sessions.add(session)
        self._of_uid[session.sender.uid] += 1
        try:
            yield session
        finally:
            self._holds(session, 0)
            self._sessions.remove(session)
            self._of_uid[session.sender.uid] -= 1
            self._of_uid += Counter()  # which leaves those with none out

    def _holds(self, session: _Session, size: int) -> None:
        """Take note of how many bytes of a session wait."""
        self._waiting += size - session.waiting
        session.waiting = size

    async def _session(self, session: _Session) -> None:
        stream = session.stream
        buffer = bytearray()
        begun = inf  # when the frame began that is not complete
        while True:
            frames, fault = self._frames(buffer)
            self._holds(session, len(buffer))
            if frames:
                size = sum(map(len, frames))
                self.messages += len(frames)
                self.bytes += size
                session.busy = True
                self._holds(session, len(buffer) + size)
                answers = await self._take(self, session.sender, frames)
                self._holds(session, len(buffer))
                await _send(stream, answers.payloads)
                session.busy = False
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
            session.heard = trio.current_time()
            if data is None:
                why = f"a frame was not complete within {FRAME_SECONDS:.0f} s"
                await _send(stream, [error("timeout", why)])
                return
            if not data:
                if session.idle:
                    why = f"nothing came for {IDLE_SECONDS:.0f} s; connect again"
                    await _send(stream, [error("idle", why)])
                return
            buffer += data
            if self._waiting - session.waiting + len(buffer) > MAX_WAITING_BYTES:
                why = f"frames of {MAX_WAITING_BYTES} bytes wait already; send again later"
                await _send(stream, [error("busy", why)])
                return

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

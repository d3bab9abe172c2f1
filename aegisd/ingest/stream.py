"""The acknowledged stream: frames over a Unix stream socket, answered once they are safe.

A frame is a length in four bytes, big-endian, and a message of that length. The states of a
connection, which is a ``_Session`` from 2 on:

1. refused: there is no room (MAX_CONNECTIONS, of one user UID_SHARE). It gets the error
   ``too_many_connections`` and is closed.
2. reading: it waits for bytes. Between two frames IDLE_SECONDS may pass: then it is closed as
   ``idle``, so that connections that a gateway forgot shut nobody out. A frame must be complete
   within FRAME_SECONDS of its first byte, else ``timeout``. A frame that is too long is
   ``oversize``. If all connections together would hold more than MAX_WAITING_BYTES, it is ``busy``.
3. taken: its complete frames, up to MAX_TAKEN_FRAMES or MAX_TAKEN_BYTES, were handed on. It waits
   for their answers, for as long as that takes. Nothing is read: if the client goes on sending, its
   socket fills.
4. answering: the answers are written. If the client does not read them within SEND_SECONDS, the
   connection is closed. Then it is reading again, or closed if the answers say so.

A connection that is closed loses nothing that was acknowledged; the client sends the rest again.
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

from aegisd.ingest.burst import Peer
from aegisd.ingest.figures import ListenerFigures

RECEIVE_BYTES = 256 * 1024  # read at once
MAX_TAKEN_BYTES = 64 * 1024
MAX_TAKEN_FRAMES = 64
"""Frames are handed on together until one of these is reached. That is 131,072 events at most:
1,024 a frame, and one a byte (``wire.most_rows``). Those of the last frame come on top."""

FRAME_SECONDS = 30.0  # from a frame's first byte to its last
SEND_SECONDS = 30.0  # until a client has read its answers
IDLE_SECONDS = 900.0  # without a byte between two frames
IDLE_ROUND_SECONDS = 10.0  # between two searches for idle connections
MAX_CONNECTIONS = 1000
UID_SHARE = 0.75
"""One user may have this share of the connections, so that some are left for others."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""All connections together may hold so much in frames that are not complete or not answered."""

LISTEN_QUEUE = MAX_CONNECTIONS  # connections not accepted yet; further ones wait or fail

_LENGTH = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7))

log = structlog.get_logger()


@define(eq=False)
class _Session:
    """A connection that was not refused, and its state."""

    stream: trio.SocketStream
    peer: Peer
    last_received: float  # trio's time
    waiting_bytes: int = 0  # of frames that are not complete or not answered
    reading: bool = True  # false while it is taken or answering
    idle: bool = False  # whether it is being closed for that


@frozen
class Answers:
    """What a connection gets for its frames; with ``close`` it is closed after that."""

    payloads: list[object]
    close: bool = False


def error_answer(code: str, message: str) -> dict[str, dict[str, str]]:
    """The answer that a connection gets before it is closed."""
    return {"error": {"code": code, "message": message}}


class StreamListener:
    """One listening Unix stream socket. ``take(listener, peer, frames)`` gives the answers.

    ``_waiting_bytes`` is the sum of all sessions'; ``_of_uid`` counts the sessions of each user.
    """

    def __init__(
        self,
        bound: socket.socket,
        address: str,
        take: "Take",
        max_message_bytes: int,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        bound.listen(LISTEN_QUEUE)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        self._take = take
        self._max_message_bytes = max_message_bytes
        self._max_connections = max_connections
        self.address = address
        self._messages = 0
        self._bytes = 0
        self._refused = 0
        self._sessions: set[_Session] = set()
        self._of_uid: Counter[int] = Counter()
        self._waiting_bytes = 0

    def figures(self) -> ListenerFigures:
        """What came since the start. A full stream makes its senders wait: nothing is dropped."""
        return ListenerFigures(
            self.address, self._messages, self._bytes, kernel_dropped=0, refused=self._refused
        )

    @property
    def connections(self) -> int:
        """How many connections are open, without refused ones."""
        return len(self._sessions)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_idle)
            await trio.serve_listeners(self._serve, [self._listener])

    async def _close_idle(self) -> None:
        """Close idle connections. A deadline for each would cost as much as receiving."""
        while True:
            await trio.sleep(IDLE_ROUND_SECONDS)
            silent_since = trio.current_time() - IDLE_SECONDS
            for session in self._sessions:
                if session.last_received < silent_since and session.reading:
                    session.idle = True
                    session.stream.socket.shutdown(socket.SHUT_RD)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            peer = _peer(stream)
            why = self._why_no_room(peer.uid)
            if why is not None:
                self._refused += 1
                await _send(stream, [error_answer("too_many_connections", why)])
                return
            with self._counted(_Session(stream, peer, trio.current_time())) as session:
                await self._serve_session(session)
        except (trio.BrokenResourceError, trio.TooSlowError):
            pass  # the client is gone or does not read: it sends what was not acknowledged again
        finally:
            await trio.aclose_forcefully(stream)

    def _why_no_room(self, uid: int) -> str | None:
        """Why there is no room for a connection of this user; None if there is."""
        if self.connections >= self._max_connections:
            return f"{self.connections} connections are open, no more are taken"
        if self._of_uid[uid] >= self._max_connections * UID_SHARE:
            return f"uid {uid} has {self._of_uid[uid]} connections open, no more are taken"
        return None

    @contextmanager
    def _counted(self, session: _Session) -> Iterator[_Session]:
        """Count a session as open until the end of the block."""
        self._sessions.add(session)
        self._of_uid[session.peer.uid] += 1
        try:
            yield session
        finally:
            self._set_waiting(session, 0)
            self._sessions.remove(session)
            self._of_uid[session.peer.uid] -= 1
            self._of_uid += Counter()  # this drops the users with none

    def _set_waiting(self, session: _Session, size: int) -> None:
        """Set a session's waiting bytes."""
        self._waiting_bytes += size - session.waiting_bytes
        session.waiting_bytes = size

    async def _serve_session(self, session: _Session) -> None:
        """Go round the states reading, taken and answering until the connection ends."""
        stream = session.stream
        buffer = bytearray()
        begun = inf  # when the incomplete frame began
        while True:
            frames, fault = self._take_frames(buffer)
            self._set_waiting(session, len(buffer))
            if frames:
                size = sum(map(len, frames))
                self._messages += len(frames)
                self._bytes += size
                session.reading = False  # taken
                self._set_waiting(session, len(buffer) + size)
                answers = await self._take(self, session.peer, frames)
                self._set_waiting(session, len(buffer))
                await _send(stream, answers.payloads)  # answering
                session.reading = True
                if answers.close:
                    return
                begun = inf
            if fault is not None:
                await _send(stream, [fault])
                return
            if frames and len(buffer) >= _LENGTH.size:
                continue  # more frames may be complete
            begun = min(begun, trio.current_time()) if buffer else inf
            data = await _receive(stream, begun + FRAME_SECONDS)
            session.last_received = trio.current_time()
            if data is None:
                why = f"a frame was not complete within {FRAME_SECONDS:.0f} s"
                await _send(stream, [error_answer("timeout", why)])
                return
            if not data:
                if session.idle:
                    why = f"nothing came for {IDLE_SECONDS:.0f} s; connect again"
                    await _send(stream, [error_answer("idle", why)])
                return
            buffer += data
            if self._waiting_bytes - session.waiting_bytes + len(buffer) > MAX_WAITING_BYTES:
                why = f"frames of {MAX_WAITING_BYTES} bytes wait already; send again later"
                await _send(stream, [error_answer("busy", why)])
                return

    def _take_frames(self, buffer: bytearray) -> tuple[list[bytes], object]:
        """Take complete frames out of the buffer; the second is the error of the next frame."""
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
                fault = error_answer(
                    "oversize", f"a frame of {length} bytes; at most {limit} are taken"
                )
                break
            end = at + _LENGTH.size + length
            if end > len(buffer):
                break
            frames.append(bytes(buffer[at + _LENGTH.size : end]))
            at = end
        del buffer[:at]
        return frames, fault


Take = Callable[[StreamListener, Peer, Sequence[bytes]], Awaitable[Answers]]
"""Takes a connection's frames, and waits until they may be answered."""


def _peer(stream: trio.SocketStream) -> Peer:
    given = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(given)
    return Peer(pid, uid)


async def _receive(stream: trio.SocketStream, deadline: float) -> bytes | None:
    """The next bytes, b"" at the end; None if none came before the deadline."""
    if deadline == inf:  # as mostly: a deadline would cost as much as receiving
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
        # answers are small, and the socket of a client that reads has room for them
        sent = os.write(stream.socket.fileno(), data) if data else 0
    except BlockingIOError:
        sent = 0
    except OSError as error:
        raise trio.BrokenResourceError from error
    if sent < len(data):
        with trio.fail_after(SEND_SECONDS):
            await stream.send_all(memoryview(data)[sent:])

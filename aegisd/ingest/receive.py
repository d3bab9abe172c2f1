"""Receives datagrams many at a time: one call into the kernel for up to SLOTS of them.

Python's ``recv`` makes a call and an object for each datagram, which costs two to three times as
much as receiving it. recvmmsg(2) puts them side by side into memory of ours, and from there
they are copied out in one piece.
"""

import ctypes
import errno
import os
import socket
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

SLOTS = 128
"""Datagrams that one call may bring. Memory is used as far as datagrams reach into the slots."""

CACHE_LINE_BYTES = 64

SCATTER_BYTES = 65 * CACHE_LINE_BYTES
"""Between slots, so that their beginnings don't compete for the same lines of the cache."""

SCM_CREDENTIALS_BYTES = socket.CMSG_SPACE(12)  # pid, uid and gid (unix(7))
_PID_AND_UID = slice(4, 6)  # in 32-bit words, behind the header of 16 bytes


class _Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Slot(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


class _timespec(ctypes.Structure):  # noqa: N801 # the kernel's name
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_libc = ctypes.CDLL(None, use_errno=True)


@frozen(eq=False)
class Chunk:
    """Datagrams that came together. ``senders``: a row of pid and uid each, where known."""

    messages: list[bytes]
    senders: NDArray[np.int32] | None
    size: int  # of all, the oversize among them
    nbytes: int
    oversize: int


class Receiver:
    """Takes datagrams of up to ``limit`` bytes from a socket."""

    def __init__(self, bound: socket.socket, limit: int, *, credentials: bool) -> None:
        self._file = bound.fileno()
        self._limit = limit
        stride = limit + SCATTER_BYTES
        self._memory = np.empty((SLOTS, stride), np.uint8)
        self._control = np.empty((SLOTS, SCM_CREDENTIALS_BYTES), np.uint8)
        self._credentials = credentials
        self._pieces = (_Piece * SLOTS)()
        self._slots = (_Slot * SLOTS)()
        for i, (slot, piece) in enumerate(zip(self._slots, self._pieces, strict=True)):
            piece.base, piece.length = self._memory.ctypes.data + i * stride, limit
            slot.header.pieces = ctypes.addressof(piece)
            slot.header.piece_count = 1
            if credentials:
                slot.header.control = self._control.ctypes.data + i * SCM_CREDENTIALS_BYTES
        words = np.frombuffer(memoryview(self._slots), np.uint32).reshape(SLOTS, -1)
        self._lengths = words[:, _Slot.length.offset // 4]
        self._control_lengths = words[:, _Header.control_length.offset // 4]
        self._received = 0
        self._taken = 0

    @property
    def holds(self) -> bool:
        """Whether datagrams are here that were not taken yet."""
        return self._taken < self._received

    @property
    def emptied(self) -> bool:
        """Whether the last call took all there was."""
        return self._received < SLOTS

    def wait(self, seconds: float) -> None:
        """Receive in the kernel until all slots are full, the time is over or nobody sends.

        For another thread, while this one does other things: nothing of Python runs between two
        datagrams, so even a queue of ten does not overflow. The socket must not be non-blocking
        and have a SO_RCVTIMEO, since recvmmsg looks at the time only when a datagram came
        (recvmmsg(2)).
        """
        self._receive(socket.MSG_TRUNC, ctypes.byref(_timespec(0, round(seconds * 1e9))))

    def take(self, max_messages: int, max_bytes: int) -> Chunk | None:
        """What is here, or else what waits in the kernel, within bounds; None where nothing is.

        The datagram that passes ``max_bytes`` is the last. Raises OSError.
        """
        if not self.holds:
            self._receive(socket.MSG_DONTWAIT | socket.MSG_TRUNC, None)
        first = self._taken
        lengths = self._lengths[first : min(self._received, first + max_messages)].astype(np.int64)
        if not len(lengths):
            return None
        nbytes = int(lengths.sum())
        if nbytes > max_bytes:
            lengths = lengths[: int(lengths.cumsum().searchsorted(max_bytes)) + 1]
            nbytes = int(lengths.sum())
        self._taken = first + len(lengths)
        return self._copied(first, lengths, nbytes)

    def _receive(self, flags: int, timeout: Any) -> None:
        """Call the kernel; MSG_TRUNC tells the lengths that datagrams had (recv(2))."""
        if self._credentials:
            self._control_lengths[:] = SCM_CREDENTIALS_BYTES  # the kernel wrote what it used
        received = _libc.recvmmsg(self._file, self._slots, SLOTS, flags, timeout)
        if received < 0:
            number = ctypes.get_errno()
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))
        self._received = max(received, 0)
        self._taken = 0

    def _copied(self, first: int, lengths: NDArray[np.int64], nbytes: int) -> Chunk:
        size = len(lengths)
        senders = self._senders(first, first + size) if self._credentials else None
        longest = int(lengths.max())
        if longest <= self._limit and longest * size <= 2 * nbytes:
            # much alike: copied as a rectangle, and cut up
            data = self._memory[first : first + size, :longest].tobytes()
            places = zip(range(0, longest * size, longest), lengths.tolist(), strict=True)
            messages = [data[at : at + length] for at, length in places]
            return Chunk(messages, senders, size, nbytes, 0)
        fits = lengths <= self._limit
        rows = zip((first + fits.nonzero()[0]).tolist(), lengths[fits].tolist(), strict=True)
        messages = [self._memory[i, :length].tobytes() for i, length in rows]
        senders = None if senders is None else senders[fits]
        return Chunk(messages, senders, size, nbytes, size - len(messages))

    def _senders(self, first: int, last: int) -> NDArray[np.int32]:
        return self._control[first:last].view(np.int32)[:, _PID_AND_UID].copy()

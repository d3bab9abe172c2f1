"""Receives datagrams many at a time: one call into the kernel for up to SLOTS of them.

Python's ``recv`` makes a call and an object for each datagram, which costs two to three times as
much as receiving it. recvmmsg(2) puts them side by side into memory of ours, and from there
they are copied out in one piece.
"""

import ctypes
import errno
import os
import socket
import struct
from bisect import bisect_left
from itertools import accumulate
from typing import Any

import numpy as np
from attrs import frozen

SLOTS = 128
"""Datagrams that one call may bring. Memory is used as far as datagrams reach into the slots."""

CACHE_LINE_BYTES = 64

SCATTER_BYTES = 65 * CACHE_LINE_BYTES
"""Between slots, so that their beginnings don't compete for the same lines of the cache."""

CREDENTIALS = struct.Struct("16x2i8x")
"""A control message that tells who sent a datagram: header, pid, uid and gid (unix(7), cmsg(3))."""

FEW = 16
"""Up to so many datagrams are copied out one by one."""


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
    """Datagrams that came together. ``senders``: CREDENTIALS of each, where known."""

    messages: list[bytes]
    senders: bytes
    size: int  # of all, the oversize among them
    nbytes: int


class Receiver:
    """Takes datagrams of up to ``limit`` bytes from a socket."""

    def __init__(self, bound: socket.socket, limit: int, *, credentials: bool) -> None:
        self._file = bound.fileno()
        self._limit = limit
        stride = limit + SCATTER_BYTES
        self._memory = np.empty((SLOTS, stride), np.uint8)
        self._control = np.empty((SLOTS, CREDENTIALS.size), np.uint8)
        self._credentials = credentials
        self._rows = [row.data for row in self._memory]
        self._pieces = (_Piece * SLOTS)()
        self._slots = (_Slot * SLOTS)()
        for i, (slot, piece) in enumerate(zip(self._slots, self._pieces, strict=True)):
            piece.base, piece.length = self._memory.ctypes.data + i * stride, limit
            slot.header.pieces = ctypes.addressof(piece)
            slot.header.piece_count = 1
            if credentials:
                slot.header.control = self._control.ctypes.data + i * CREDENTIALS.size
        words = memoryview(self._slots).cast("B").cast("I")
        width = ctypes.sizeof(_Slot) // words.itemsize
        self._lengths = words[_Slot.length.offset // words.itemsize :: width]
        self._control_lengths = np.asarray(words)[
            _Header.control_length.offset // words.itemsize :: width
        ]
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
        lengths = self._lengths[first : min(self._received, first + max_messages)].tolist()
        if not lengths:
            return None
        nbytes = sum(lengths)
        if nbytes > max_bytes:
            sums = list(accumulate(lengths))
            size = bisect_left(sums, max_bytes) + 1
            lengths, nbytes = lengths[:size], sums[size - 1]
        self._taken = first + len(lengths)
        return self._copied(first, lengths, nbytes)

    def _receive(self, flags: int, timeout: Any) -> None:
        """Call the kernel; MSG_TRUNC tells the lengths that datagrams had (recv(2))."""
        if self._credentials:
            self._control_lengths[:] = CREDENTIALS.size  # the kernel wrote what it used
        received = _libc.recvmmsg(self._file, self._slots, SLOTS, flags, timeout)
        if received < 0:
            number = ctypes.get_errno()
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))
        self._received = max(received, 0)
        self._taken = 0

    def _copied(self, first: int, lengths: list[int], nbytes: int) -> Chunk:
        size = len(lengths)
        last = first + size
        senders = self._control[first:last].tobytes() if self._credentials else b""
        longest = max(lengths)
        if longest > self._limit:
            fit = [i for i in range(size) if lengths[i] <= self._limit]
            messages = [self._rows[first + i][: lengths[i]].tobytes() for i in fit]
            if self._credentials:
                senders = b"".join([self._control[first + i].tobytes() for i in fit])
        elif size > FEW and longest * size <= 2 * nbytes:
            # much alike: copied as a rectangle, and cut up
            data = self._memory[first:last, :longest].tobytes()
            places = zip(range(0, longest * size, longest), lengths, strict=True)
            messages = [data[at : at + length] for at, length in places]
        else:
            rows = zip(self._rows[first:last], lengths, strict=True)
            messages = [row[:length].tobytes() for row, length in rows]
        return Chunk(messages, senders, size, nbytes)

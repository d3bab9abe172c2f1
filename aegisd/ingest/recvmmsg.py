"""Receives up to SLOTS datagrams with one call of the kernel: recvmmsg(2).

Python's ``recv`` makes a call and an object for each datagram, which costs two to three times as
much as receiving it. recvmmsg puts datagrams side by side into our memory. From there they are
copied in one go.
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
"""One call brings so many datagrams at most. Memory is only used as far as datagrams fill slots."""

CACHE_LINE_BYTES = 64

SCATTER_BYTES = 65 * CACHE_LINE_BYTES
"""Gap between slots, so that their beginnings don't compete for the same cache lines."""

CREDENTIALS = struct.Struct("16x2i8x")
"""The control message SCM_CREDENTIALS: header; pid, uid, gid of the sender (unix(7), cmsg(3))."""

FEW = 16
"""Up to so many datagrams are copied one by one."""


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
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
class Datagrams:
    """Datagrams that were taken from a receiver together.

    ``messages`` lacks the oversize ones; ``size`` and ``nbytes`` count them. ``credentials`` has
    the CREDENTIALS of each message, or is empty.
    """

    messages: list[bytes]
    credentials: bytes
    size: int
    nbytes: int


class Receiver:
    """Takes datagrams of up to ``limit`` bytes from a socket; longer ones are cut, and known.

    A call of the kernel fills the slots 0 to ``_received``; those before ``_taken`` were taken.
    """

    def __init__(self, bound: socket.socket, limit: int, *, credentials: bool) -> None:
        self._file = bound.fileno()
        self._limit = limit
        stride = limit + SCATTER_BYTES
        self._memory = np.empty((SLOTS, stride), np.uint8)
        self._control = np.empty((SLOTS, CREDENTIALS.size), np.uint8)
        self._wants_credentials = credentials
        self._rows = [row.data for row in self._memory]
        self._vectors = (_Vector * SLOTS)()
        self._slots = (_Slot * SLOTS)()
        for i, (slot, vector) in enumerate(zip(self._slots, self._vectors, strict=True)):
            vector.base, vector.length = self._memory.ctypes.data + i * stride, limit
            slot.header.vectors = ctypes.addressof(vector)
            slot.header.vector_count = 1
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
        """Whether slots hold datagrams that were not taken yet."""
        return self._taken < self._received

    @property
    def emptied(self) -> bool:
        """Whether the last call of the kernel brought everything that waited."""
        return self._received < SLOTS

    def wait(self, seconds: float) -> None:
        """Receive until all slots are full, ``seconds`` are over, or no datagram comes.

        For a thread of its own: no Python runs between two datagrams, so not even a queue of ten
        overflows. The socket must block and have a SO_RCVTIMEO, because recvmmsg checks the time
        only after a datagram (recvmmsg(2)).
        """
        self._receive(socket.MSG_TRUNC, ctypes.byref(_timespec(0, round(seconds * 1e9))))

    def take(self, max_messages: int, max_bytes: int) -> Datagrams | None:
        """What slots hold, or else what waits in the kernel, within bounds; None if nothing does.

        The datagram that passes ``max_bytes`` is the last one. Raises OSError.
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
        return self._copy(first, lengths, nbytes)

    def _receive(self, flags: int, timeout: Any) -> None:
        """Fill the slots; with MSG_TRUNC the kernel tells a datagram's full length (recv(2))."""
        if self._wants_credentials:
            self._control_lengths[:] = CREDENTIALS.size  # the kernel has overwritten them
        received = _libc.recvmmsg(self._file, self._slots, SLOTS, flags, timeout)
        if received < 0:
            number = ctypes.get_errno()
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))
        self._received = max(received, 0)
        self._taken = 0

    def _copy(self, first: int, lengths: list[int], nbytes: int) -> Datagrams:
        size = len(lengths)
        last = first + size
        credentials = self._control[first:last].tobytes() if self._wants_credentials else b""
        longest = max(lengths)
        if longest > self._limit:
            fit = [i for i in range(size) if lengths[i] <= self._limit]
            messages = [self._rows[first + i][: lengths[i]].tobytes() for i in fit]
            if self._wants_credentials:
                credentials = b"".join([self._control[first + i].tobytes() for i in fit])
        elif size > FEW and longest * size <= 2 * nbytes:
            # of similar lengths: copied as a rectangle, and cut up
            data = self._memory[first:last, :longest].tobytes()
            places = zip(range(0, longest * size, longest), lengths, strict=True)
            messages = [data[at : at + length] for at, length in places]
        else:
            rows = zip(self._rows[first:last], lengths, strict=True)
            messages = [row[:length].tobytes() for row, length in rows]
        return Datagrams(messages, credentials, size, nbytes)

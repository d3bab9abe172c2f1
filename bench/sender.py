"""Sends frames that were encoded before; prints its result as one line of JSON.

It runs as a process. Frames are sent with sendmmsg(2), many in one system call, either as fast as
the kernel takes them or in small bursts at an even pace. A blocking sender waits when the receiver
is behind. With ``--nonblocking`` each frame is tried once; one that is refused (EAGAIN) is counted
and dropped. With ``--announce`` it prints a line to standard error when it begins.
"""

import argparse
import ctypes
import errno
import gc
import json
import os
import socket
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNIX_SEND_BUFFER_BYTES = 212_992  # the default of net.core.wmem_max
FLAT_OUT_BURST = 64
"""Frames in one system call without a pace: more gain nothing."""

SLEEP_ABOVE = 0.000_2
"""Seconds. A shorter wait spins: waking from a sleep takes up to 100 µs."""

CATCH_UP = 0.8
"""A sender that was held up catches up with gaps of at least this share of the even ones, never in
one large burst. What it could not send by the end lowers its rate."""

PR_SET_TIMERSLACK = 29  # prctl(2); the default lets each sleep run 50 µs over
IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u8"),
        ("iov", "u8"),
        ("iov_length", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "u8"),
        ("sent", "u8"),
    ]
)
"""struct iovec and struct mmsghdr of sendmmsg(2) on 64-bit Linux, padding included."""

_libc = ctypes.CDLL(None, use_errno=True)


def write_frames(path: Path, frames: list[bytes]) -> None:
    """Write frames to a file that ``Frames`` reads."""
    data = np.frombuffer(b"".join(frames), np.uint8)
    lengths = np.array([len(frame) for frame in frames], np.uint64)
    with path.open("wb") as file:
        np.savez(file, data=data, lengths=lengths)


class Frames:
    """Frames in memory, laid out for sendmmsg(2)."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self._data: NDArray[np.uint8] = stored["data"]
            lengths: NDArray[np.uint64] = stored["lengths"]
        self._iovecs = np.zeros(len(lengths), IOVEC)
        ends = np.cumsum(lengths)
        self._iovecs["base"] = np.uint64(self._data.ctypes.data) + ends - lengths
        self._iovecs["length"] = lengths
        self._headers = np.zeros(len(lengths), MMSGHDR)
        self._headers["iov"] = np.uint64(self._iovecs.ctypes.data) + np.arange(
            len(lengths), dtype=np.uint64
        ) * np.uint64(IOVEC.itemsize)
        self._headers["iov_length"] = 1
        self._address = self._headers.ctypes.data
        self._next = 0

    def send(self, fd: int, count: int) -> tuple[int, int]:
        """Try the next ``count`` frames once; return how many were taken and refused."""
        taken = refused = 0
        while taken + refused < count:
            size = min(count - taken - refused, len(self._headers) - self._next)
            first = self._address + self._next * MMSGHDR.itemsize
            sent = _libc.sendmmsg(fd, ctypes.c_void_p(first), size, 0)
            if sent < 0:
                code = ctypes.get_errno()
                if code == errno.EINTR:
                    continue
                if code not in (errno.EAGAIN, errno.ENOBUFS):
                    raise OSError(code, os.strerror(code))
                refused += 1
                sent = 1
            else:
                taken += sent
            self._next = (self._next + sent) % len(self._headers)
        return taken, refused


def connect(address: str, *, blocking: bool) -> socket.socket:
    """A socket to ``unix:PATH`` or ``udp:HOST:PORT``, with default buffers."""
    scheme, _, rest = address.partition(":")
    if scheme == "unix":
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # as docs/wire.md says: the kernel takes twice of it, and counts 768 for a small datagram
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_SEND_BUFFER_BYTES)
        connected.connect(rest)
    else:
        host, _, port = rest.rpartition(":")
        connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        connected.connect((host, int(port)))
    connected.setblocking(blocking)
    return connected


def flat_out(fd: int, frames: Frames, seconds: float, count: int) -> tuple[int, int]:
    """Send without a pace until the time is over or ``count`` frames are sent."""
    taken = refused = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and taken + refused < count:
        more = frames.send(fd, min(FLAT_OUT_BURST, count - taken - refused))
        taken, refused = taken + more[0], refused + more[1]
    return taken, refused


def paced(fd: int, frames: Frames, seconds: float, interval: float, burst: int) -> tuple[int, int]:
    """Send ``burst`` frames every ``interval`` seconds."""
    taken = refused = 0
    clock, sleep = time.perf_counter, time.sleep
    scheduled = due = clock()
    end = due + seconds
    while scheduled < end and due < end:
        if (wait := due - clock()) > SLEEP_ABOVE:
            sleep(wait - SLEEP_ABOVE)
        while (now := clock()) < due:
            pass
        more = frames.send(fd, burst)
        taken, refused = taken + more[0], refused + more[1]
        scheduled += interval
        due = max(scheduled, now + CATCH_UP * interval)
    return taken, refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="unix:PATH or udp:HOST:PORT")
    parser.add_argument("frames", type=Path, help="a file of encoded frames")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--count", type=int, default=2**62, help="frames at most, flat out")
    parser.add_argument("--rate", type=float, help="frames a second; without it, flat out")
    parser.add_argument("--burst", type=int, default=1, help="frames sent at once, paced")
    parser.add_argument("--nonblocking", action="store_true")
    parser.add_argument("--announce", action="store_true")
    options = parser.parse_args()

    frames = Frames(options.frames)
    _libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.disable()
    with connect(options.address, blocking=not options.nonblocking) as connected:
        fd = connected.fileno()
        if options.announce:
            print("sending", file=sys.stderr, flush=True)
        started, cpu = time.perf_counter(), time.process_time()
        if options.rate is None:
            taken, refused = flat_out(fd, frames, options.seconds, options.count)
        else:
            interval = options.burst / options.rate
            taken, refused = paced(fd, frames, options.seconds, interval, options.burst)
        elapsed, busy = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"taken": taken, "refused": refused, "seconds": elapsed, "cpu": busy}))


if __name__ == "__main__":
    main()

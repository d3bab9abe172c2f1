"""A receiver that only reads: the cost of receiving alone, and the sender's own limit.

As a process (``python -m bench.floor``) it reads its sockets until they are empty, discards the
data, and answers each line on its standard input with the count of datagrams.
"""

import os
import select
import socket
import subprocess
import sys

from bench import machine
from bench.receiver import Failed, Receiver

MAX_DATAGRAM_BYTES = 1024 * 1024
RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024  # as the daemon's
SO_RCVBUFFORCE = 33


class Floor(Receiver):
    """It counts datagrams; ``per_frame`` is how many requests are in each."""

    name = "reading alone"
    settle_seconds = 0.1

    def __init__(self, per_frame: int) -> None:
        super().__init__()
        self._udp = machine.free_port(socket.SOCK_DGRAM)
        self._unix = self.directory / "floor.sock"
        self._per_frame = per_frame

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.floor", str(self._unix), str(self._udp)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.counted()

    def address(self, transport: str) -> str:
        return f"unix:{self._unix}" if transport == "unix" else f"udp:127.0.0.1:{self._udp}"

    def counted(self) -> int:
        process = self._process()
        if process.stdin is None or process.stdout is None:
            raise Failed("reading alone was not started")
        process.stdin.write(b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise Failed("reading alone has ended")
        return int(answer) * self._per_frame


def main() -> None:
    """Read until standard input ends."""
    path, port = sys.argv[1:]
    sockets = [
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    ]
    sockets[0].bind(path)
    sockets[1].bind(("127.0.0.1", int(port)))
    try:
        sockets[1].setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        sockets[1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    poll = select.poll()
    by_fd = {}
    for one in sockets:
        one.setblocking(False)
        poll.register(one, select.POLLIN)
        by_fd[one.fileno()] = one
    poll.register(0, select.POLLIN)
    buffer = bytearray(MAX_DATAGRAM_BYTES)
    count = 0
    while True:
        for fd, _ in poll.poll():
            if fd == 0:
                if not os.read(0, 4096):
                    return
                print(count, flush=True)
                continue
            receive_into = by_fd[fd].recv_into
            try:
                while True:
                    receive_into(buffer)
                    count += 1
            except BlockingIOError:
                pass


if __name__ == "__main__":
    main()

"""A crowd of WebSocket clients in one process, as cheap as it can be: raw sockets and epoll.

It runs as a process. It connects, says so on standard error, and then follows the lines of its
standard input: ``start`` begins to count, ``stop`` prints what was counted as one line of JSON.
Some clients may never read. An update's time is in its text (``"timestamp":"…"``); how late it is
goes by the even grid of updates: the time at which it was due is that of the earliest grid that no
update of the run is before. Compressed updates are counted only.
"""

import argparse
import json
import os
import re
import resource
import select
import socket
import sys
import time
from datetime import datetime

import numpy as np
from attrs import define, field

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
RECEIVE_BYTES = 256 * 1024
SMALL_BUFFER_BYTES = 8192
"""Of clients that never read: a full one is what a server has to deal with."""

CONNECT_SECONDS = 10
AT_ONCE = 50
"""Connections are opened in groups: a server's accept queue is short."""

TIMESTAMP = re.compile(rb'"timestamp":"([^"]+)"')
TEXT, PING = 1, 9


@define(eq=False)
class Client:
    """A client that reads."""

    connection: socket.socket
    buffer: bytearray = field(factory=bytearray)


@define
class Counted:
    """What came while counting."""

    updates: int = 0
    received: int = 0
    times: list[tuple[bytes, float]] = field(factory=list)


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame, with a mask of zeros; 65,535 bytes at most."""
    size = len(payload)
    head = bytes([size | 0x80]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


def connect(port: int, path: str, *, deflate: bool, reads: bool) -> socket.socket:
    """Connect and wait for the answer; what comes behind it stays in the socket."""
    connection = socket.socket()
    if not reads:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    connection.settimeout(CONNECT_SECONDS)
    connection.connect(("127.0.0.1", port))
    extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        f"{extension}\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            break
        answer += byte
    if not answer.startswith(b"HTTP/1.1 101"):
        raise SystemExit(f"no WebSocket: {answer[:200]!r}")
    return connection


def frames(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Take the whole frames from a buffer: their first byte and payload."""
    found = []
    at = 0
    while len(buffer) - at >= 2:
        size, start = buffer[at + 1] & 0x7F, at + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(buffer[at + 2 : start], "big")
        if len(buffer) < start + size:
            break
        found.append((buffer[at], bytes(buffer[start : start + size])))
        at = start + size
    del buffer[:at]
    return found


def read(client: Client, counted: Counted | None) -> None:
    """Read what has come, answer pings, and count."""
    chunk = client.connection.recv(RECEIVE_BYTES)
    now = time.time()
    if not chunk:
        raise SystemExit("the server ended a connection")
    client.buffer += chunk
    if counted is not None:
        counted.received += len(chunk)
    for head, payload in frames(client.buffer):
        if head & 0x0F == PING:
            client.connection.sendall(masked(10, payload))
        elif head & 0x0F == TEXT and counted is not None:
            counted.updates += 1
            if match := TIMESTAMP.search(payload):
                counted.times.append((match[1], now))


def lateness(counted: Counted, interval: float) -> dict[str, float]:
    """Quantiles of how late updates were, in milliseconds."""
    if not counted.times:
        return {}
    sent = {text: datetime.fromisoformat(text.decode()).timestamp() for text, _ in counted.times}
    first = min(sent.values())
    grid = {text: round((moment - first) / interval) for text, moment in sent.items()}
    origin = min(moment - grid[text] * interval for text, moment in sent.items())
    late = [now - origin - grid[text] * interval for text, now in counted.times]
    p50, p99, longest = (np.quantile(late, share) * 1000 for share in (0.5, 0.99, 1))
    return {"p50": float(p50), "p99": float(p99), "max": float(longest)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--never", type=int, default=0, help="clients beside them that never read")
    parser.add_argument("--ask", default="", help="a message that each client sends first")
    parser.add_argument("--ask-never", default="", help="the same, for those that never read")
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--deflate", action="store_true")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    poll = select.epoll()
    clients: dict[int, Client] = {}
    silent = []
    for number in range(options.clients + options.never):
        reads = number < options.clients
        made = connect(options.port, options.path, deflate=options.deflate, reads=reads)
        if ask := options.ask if reads else options.ask_never:
            made.sendall(masked(TEXT, ask.encode()))
        if reads:
            made.setblocking(False)
            clients[made.fileno()] = Client(made)
            poll.register(made.fileno(), select.EPOLLIN)
        else:
            silent.append(made)
        if number % AT_ONCE == AT_ONCE - 1:
            for fd, _ in poll.poll(0):
                read(clients[fd], None)
    print("connected", file=sys.stderr, flush=True)

    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    counted = None
    while True:
        for fd, _ in poll.poll():
            if fd != sys.stdin.fileno():
                read(clients[fd], counted)
                continue
            line = os.read(fd, 100).strip()
            if line == b"start":
                counted = Counted()
                continue
            found = counted or Counted()
            result = {"updates": found.updates, "bytes": found.received}
            print(json.dumps(result | lateness(found, options.interval)))
            return


if __name__ == "__main__":
    main()

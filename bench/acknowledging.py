"""Sends lists over the acknowledged stream; prints its result as one line of JSON.

It runs as a process. Each connection is a source. It has ``--depth`` messages in flight, and sends
the next one when one is acknowledged. Every acknowledgement is compared with its message.
"""

import argparse
import gc
import json
import os
import selectors
import socket
import struct
import time
from collections import deque
from pathlib import Path

import msgpack
import numpy as np
from attrs import define, field

DISK_BLOCK = bytes(4096)
RECEIVE_BYTES = 65_536

LENGTH = struct.Struct(">I")


@define(eq=False)
class Connection:
    """A connection, and the acknowledgements that it waits for."""

    socket: socket.socket
    source: str
    seq: int = 0
    messages: int = 0
    expected: deque[int] = field(factory=deque)
    received: bytearray = field(factory=bytearray)

    def send(self, events: bytes, count: int) -> None:
        """Send a list of ``count`` events, encoded, as a message."""
        head = b"\x83" + b"".join(
            map(msgpack.packb, ("source", self.source, "seq", self.seq, "events"))
        )
        self.socket.sendall(LENGTH.pack(len(head) + len(events)) + head + events)
        self.expected.append(self.seq)
        self.seq += count

    def receive(self, count: int) -> int:
        """Read the answers that are there; return how many messages they acknowledge."""
        self.received += self.socket.recv(RECEIVE_BYTES)
        answers = 0
        while len(self.received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self.received)[0]
            if len(self.received) < end:
                break
            answer = msgpack.unpackb(self.received[LENGTH.size : end])
            if (answer.get("ack"), answer.get("accepted")) != (self.expected.popleft(), count):
                raise SystemExit(f"no acknowledgement: {answer}")
            del self.received[:end]
            answers += 1
        self.messages += answers
        return answers


def connect(path: str, number: int) -> Connection:
    """A connection with a source of its own."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.connect(path)
    return Connection(connected, f"bench:{os.getpid()}:{number}")


def drive(
    connections: list[Connection], lists: list[bytes], count: int, depth: int, seconds: float
) -> float:
    """Keep ``depth`` messages of each in flight; return the seconds to the last answer."""
    selector = selectors.EpollSelector()
    place = 0
    start = time.perf_counter()
    end = start + seconds
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        for _ in range(depth):
            connection.send(lists[place % len(lists)], count)
            place += 1
    waiting = len(connections) * depth
    while waiting:
        ready = selector.select()
        over = time.perf_counter() >= end
        for key, _ in ready:
            answers = key.data.receive(count)
            waiting -= answers
            for _ in range(0 if over else answers):
                key.data.send(lists[place % len(lists)], count)
                place += 1
                waiting += 1
    return time.perf_counter() - start


def disk_rate(directory: Path, seconds: float) -> float:
    """How many times a second 4 KiB can be appended to a file and synced."""
    file = os.open(directory / "synced", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        rounds = 0
        os.pwrite(file, DISK_BLOCK, 0)
        os.fdatasync(file)
        start = time.perf_counter()
        while time.perf_counter() < start + seconds:
            rounds += 1
            os.pwrite(file, DISK_BLOCK, rounds * len(DISK_BLOCK))
            os.fdatasync(file)
        return rounds / (time.perf_counter() - start)
    finally:
        os.close(file)
        (directory / "synced").unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="the stream's socket")
    parser.add_argument("frames", type=Path, help="a file of encoded lists, as bench.sender's")
    parser.add_argument("--events", type=int, required=True, help="in each list")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--depth", type=int, required=True, help="messages under way on each")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()

    with np.load(options.frames) as stored:
        data, ends = stored["data"].tobytes(), np.cumsum(stored["lengths"]).tolist()
    lists = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    gc.disable()
    connections = [connect(options.path, number) for number in range(options.connections)]
    cpu = time.process_time()
    seconds = drive(connections, lists, options.events, options.depth, options.seconds)
    said = {
        "messages": sum(connection.messages for connection in connections),
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()

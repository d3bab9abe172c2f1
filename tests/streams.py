"""A client of the acknowledged stream, written from docs/wire.md alone."""

import socket
import struct
from pathlib import Path
from typing import Any

import msgpack

LENGTH = struct.Struct(">I")
ANSWER_SECONDS = 60


def frame(message: object) -> bytes:
    """A message as it goes over the stream; bytes are taken to be packed already."""
    data = message if isinstance(message, bytes) else msgpack.packb(message)
    return LENGTH.pack(len(data)) + data


class Stream:
    """One connection."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_SECONDS)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: object) -> None:
        self.socket.sendall(b"".join(map(frame, messages)))

    def receive(self) -> dict[str, Any] | None:
        """The next answer; None where the daemon has closed the connection."""
        head = self._exactly(LENGTH.size)
        if head is None:
            return None
        data = self._exactly(LENGTH.unpack(head)[0])
        assert data is not None, "the daemon closed the connection inside an answer"
        answer: dict[str, Any] = msgpack.unpackb(data)
        return answer

    def ask(self, message: object) -> dict[str, Any] | None:
        """Send a message and take its answer."""
        self.send(message)
        return self.receive()

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                assert not data, "the daemon closed the connection inside an answer"
                return None
            data += more
        return data

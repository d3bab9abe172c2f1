"""Where ``send`` and ``import`` send to: ``unix:PATH``, ``stream:PATH`` or ``udp:HOST:PORT``."""

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from aegisd.config.checks import split_address
from aegisd.config.load import Places, load
from aegisd.errors import AegisdError, ConfigError

MAX_DATAGRAM_BYTES = 32 * 1024
"""Well under what UDP (65,507) and a Unix socket with default buffers carry."""

ANSWER_SECONDS = 60.0  # a disk that syncs takes moments

_FRAME = struct.Struct(">I")

UDP_BYTES_PER_SECOND = 20_000_000
"""UDP has no back-pressure: a pace that the daemon's receive buffer rides out."""


class Sender:
    """Sends messages, each a datagram; waits where the daemon is behind (Unix)."""

    def __init__(self, address: str) -> None:
        self._address = address
        scheme, _, rest = address.partition(":")
        try:
            if scheme == "unix" and rest:
                self._socket = _connected(socket.AF_UNIX, rest)
            elif scheme == "udp":
                host, port = split_address(rest)
                family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
                self._socket = _connected(family, target)
            else:
                raise ConfigError(
                    [f"--to: '{address}' is not unix:PATH, stream:PATH or udp:HOST:PORT"]
                )
        except ValueError as error:
            raise ConfigError([f"--to: {error}"]) from None
        except OSError as error:
            raise self._unreachable(error) from None
        self._paced = scheme == "udp"
        self._free_at = 0.0

    def send(self, message: object) -> None:
        """Send one message. Raises AegisdError where nobody takes it."""
        data: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
        try:
            self._socket.send(data)
        except OSError as error:
            raise self._unreachable(error) from None
        if self._paced:
            # nobody answers over UDP, but this host's kernel knows at once where nobody listens
            if refused := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise self._unreachable(OSError(refused, os.strerror(refused)))
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + len(data) / UDP_BYTES_PER_SECOND
            if self._free_at - now > 0.01:
                time.sleep(self._free_at - now)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _unreachable(self, error: OSError) -> AegisdError:
        return AegisdError(
            f"can't send to {self._address}: {error.strerror or error}; "
            "start aegisd, or name the address with --to"
        )


class StreamSender:
    """Sends messages over the stream, and waits until each is safe."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._source = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
        self._seq = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(address.removeprefix("stream:"))
        except OSError as error:
            self._socket.close()
            raise self._failed(error.strerror or str(error)) from None

    def send(self, message: object) -> None:
        """Send an event, or a list of them. Raises AegisdError where it is not acknowledged."""
        events = message if isinstance(message, list) else [message]
        envelope = {"source": self._source, "seq": self._seq, "events": events}
        data: bytes = msgpack.packb(envelope, unicode_errors="surrogateescape")
        try:
            self._socket.sendall(_FRAME.pack(len(data)) + data)
            answer = msgpack.unpackb(self._received(_FRAME.unpack(self._received(4))[0]))
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from None
        if "error" in answer:
            raise self._failed(answer["error"]["message"])
        self._seq += len(events)

    def _received(self, size: int) -> bytes:
        data = self._socket.recv(size, socket.MSG_WAITALL)
        if len(data) < size:
            raise ConnectionResetError("the daemon closed the connection")
        return data

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _failed(self, why: str) -> AegisdError:
        return AegisdError(
            f"can't send to {self._address}: {why}; start aegisd, or name the address with --to"
        )


def _connected(family: int, target: Any) -> socket.socket:
    """A datagram socket whose other end is ``target``."""
    connected = socket.socket(family, socket.SOCK_DGRAM)
    try:
        connected.connect(target)
    except BaseException:
        connected.close()
        raise
    return connected


AnySender = Sender | StreamSender


@contextmanager
def open_sender(address: str | None, config: Path | None) -> Iterator[AnySender]:
    """A sender to ``address``, by default the first listener of the configuration."""
    address = address or _configured(config)
    streams = address.startswith("stream:") and address != "stream:"
    sender = StreamSender(address) if streams else Sender(address)
    try:
        yield sender
    finally:
        sender.close()


def _configured(config: Path | None) -> str:
    ingest = load(config).ingest
    if ingest.unix_datagram:
        return f"unix:{Places.here().expand(ingest.unix_datagram)}"
    if ingest.udp:
        return f"udp:{ingest.udp}"
    raise AegisdError("the configuration has no datagram listener; name an address with --to")

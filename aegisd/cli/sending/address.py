"""Where ``send`` and ``import`` send to: ``unix:PATH``, ``stream:PATH`` or ``udp:HOST:PORT``."""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack

from aegisd.cli.sending.rejects import Rejects, answered
from aegisd.config.address import split_address
from aegisd.config.load import Directories, load
from aegisd.config.settings import Ingest
from aegisd.errors import AegisdError, ConfigError

MAX_GATHERED_BYTES = 32 * 1024
"""Of events in a message: well under what UDP (65,507) and a Unix socket with default buffers
carry. Only an event that is larger by itself makes a larger message."""

MAX_MESSAGE_BYTES = Ingest().max_message_bytes
"""What a daemon takes by default; how much of it a datagram may have, the kernel knows."""

ANSWER_SECONDS = 60.0  # a disk that syncs takes moments

_FRAME = struct.Struct(">I")

UDP_BYTES_PER_SECOND = 20_000_000
"""UDP has no back-pressure: a pace that the daemon's receive buffer rides out."""


class TooLarge(AegisdError):
    """A message is larger than is taken; others may be sent."""


def packed(message: object) -> bytes:
    """A message as it is sent: bytes that were no UTF-8 are what they were."""
    data: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
    return data


class Sender:
    """Sends messages, each a datagram; waits where the daemon is behind (Unix)."""

    sent = "sent"
    """What is known of an event that went."""

    note = (
        "datagrams are not answered: what the daemon rejects of them it counts under /api/ingest, "
        "and tells nobody"
    )

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
        """Send one message; nothing answers. Raises AegisdError where nobody takes it."""
        data = packed(message)
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise TooLarge(f"{len(data)} bytes are too large for a datagram") from None
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

    sent = "sent and acknowledged"
    note = ""

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

    def send(self, message: object) -> Rejects:
        """Send an event, or a list of them. Raises AegisdError where it is not acknowledged."""
        events = message if isinstance(message, list) else [message]
        data = packed({"source": self._source, "seq": self._seq, "events": events})
        if len(data) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"{len(data)} bytes are too large: {MAX_MESSAGE_BYTES} are taken")
        try:
            answer = self._asked(data)
            why = str(answer["error"]["message"]) if "error" in answer else None
            rejects = answered(answer, len(events)) if why is None else Rejects()
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from None
        except (ValueError, TypeError, LookupError):
            raise self._failed("it doesn't answer as aegisd does") from None
        if why is not None:
            raise self._failed(why)
        self._seq += len(events)
        return rejects

    def _asked(self, data: bytes) -> Any:
        # a daemon that closes the connection may have said why before
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(_FRAME.pack(len(data)) + data)
        return msgpack.unpackb(self._received(_FRAME.unpack(self._received(_FRAME.size))[0]))

    def _received(self, size: int) -> bytes:
        if size > MAX_MESSAGE_BYTES:
            raise ValueError("no answer is so large")
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionResetError("the daemon closed the connection")
            data += more
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
        return f"unix:{Directories.here().expand(ingest.unix_datagram)}"
    if ingest.udp:
        return f"udp:{ingest.udp}"
    raise AegisdError("the configuration has no datagram listener; name an address with --to")

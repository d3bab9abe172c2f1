"""Sends messages to ``unix:PATH``, ``stream:PATH`` or ``udp:HOST:PORT``.

Over a datagram socket nothing answers. Over the stream each message is acknowledged before the next
one is sent.
"""

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

from aegisd.cli.sending.rejects import Rejects, rejects_in_answer
from aegisd.config.address import split_address
from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.config.settings import Ingest
from aegisd.errors import AegisdError, ConfigError

MAX_GATHERED_BYTES = 32 * 1024
"""The limit for events put into one message. It is well below what UDP (65,507) and a Unix socket
with default buffers carry. A single event may still be larger."""

MAX_MESSAGE_BYTES = Ingest().max_message_bytes
"""What a daemon takes by default. For a datagram the kernel may have a lower limit."""

ANSWER_SECONDS = 60.0  # an answer waits for fdatasync, which may take seconds

_FRAME = struct.Struct(">I")

UDP_BYTES_PER_SECOND = 20_000_000
"""UDP has no back-pressure: at this pace the daemon's receive buffer bridges its pauses."""


class MessageTooLarge(AegisdError):
    """A message is over the limit; other messages may still be sent."""


def pack(message: object) -> bytes:
    """A message as MessagePack. Bytes of the input that were no UTF-8 are sent as they were."""
    data: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
    return data


class DatagramSender:
    """Sends each message as a datagram. A Unix socket blocks while the daemon is behind."""

    sent = "sent"
    """What is known of an event that was sent."""

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
        self._free_at = 0.0  # when the next message fits the pace, steady

    def send(self, message: object) -> None:
        """Send one message; nothing answers. Raises AegisdError where it can't be delivered."""
        data = pack(message)
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise MessageTooLarge(f"{len(data)} bytes are too large for a datagram") from None
            raise self._unreachable(error) from None
        if self._paced:
            # nothing answers over UDP, but the kernel reports a port of this host without listener
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
        return _cannot_send(self._address, error.strerror or str(error))


class StreamSender:
    """Sends messages over the stream, and waits for each acknowledgement.

    ``_seq`` counts the acknowledged events, so that the daemon sees that none is missing.
    """

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
            raise _cannot_send(self._address, error.strerror or str(error)) from None

    def send(self, message: object) -> Rejects:
        """Send an event, or a list of them. Raises AegisdError where it is not acknowledged."""
        events = message if isinstance(message, list) else [message]
        data = pack({"source": self._source, "seq": self._seq, "events": events})
        if len(data) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"{len(data)} bytes are too large: {MAX_MESSAGE_BYTES} are taken")
        try:
            answer = self._exchange(data)
            why = str(answer["error"]["message"]) if "error" in answer else None
            rejects = rejects_in_answer(answer, len(events)) if why is None else Rejects()
        except OSError as error:
            raise _cannot_send(self._address, error.strerror or str(error)) from None
        except (ValueError, TypeError, LookupError):
            raise _cannot_send(self._address, "it doesn't answer as aegisd does") from None
        if why is not None:
            raise _cannot_send(self._address, why)
        self._seq += len(events)
        return rejects

    def _exchange(self, data: bytes) -> Any:
        # a daemon that closes the connection may have sent its reason before
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(_FRAME.pack(len(data)) + data)
        return msgpack.unpackb(self._receive(_FRAME.unpack(self._receive(_FRAME.size))[0]))

    def _receive(self, size: int) -> bytes:
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


def _cannot_send(address: str, why: str) -> AegisdError:
    return AegisdError(
        f"can't send to {address}: {why}; start aegisd, or name the address with --to"
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


Sender = DatagramSender | StreamSender


@contextmanager
def open_sender(address: str | None, config: Path | None) -> Iterator[Sender]:
    """A sender to ``address``, by default to the first datagram listener of the configuration."""
    address = address or _configured_address(config)
    is_stream = address.startswith("stream:") and address != "stream:"
    sender = StreamSender(address) if is_stream else DatagramSender(address)
    try:
        yield sender
    finally:
        sender.close()


def _configured_address(config: Path | None) -> str:
    ingest = load(config).ingest
    if ingest.unix_datagram:
        return f"unix:{Directories.here().expand(ingest.unix_datagram)}"
    if ingest.udp:
        return f"udp:{ingest.udp}"
    raise AegisdError("the configuration has no datagram listener; name an address with --to")

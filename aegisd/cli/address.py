"""Where ``send`` and ``import`` send to: ``unix:PATH`` or ``udp:HOST:PORT``."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack

from aegisd.config.checks import split_address
from aegisd.config.load import Places, load
from aegisd.errors import AegisdError, ConfigError

MAX_DATAGRAM_BYTES = 32 * 1024
"""Well under what UDP (65,507) and a Unix socket with default buffers carry."""

UDP_BYTES_PER_SECOND = 20_000_000
"""UDP has no back-pressure: a pace that the daemon's receive buffer rides out."""


class Sender:
    """Sends messages, each a datagram; waits where the daemon is behind (Unix)."""

    def __init__(self, address: str) -> None:
        self._address = address
        scheme, _, rest = address.partition(":")
        try:
            if scheme == "unix" and rest:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.connect(rest)
            elif scheme == "udp":
                family, type_, protocol, _, target = socket.getaddrinfo(
                    *split_address(rest), type=socket.SOCK_DGRAM
                )[0]
                self._socket = socket.socket(family, type_, protocol)
                self._socket.connect(target)
            else:
                raise ConfigError([f"--to: '{address}' is not unix:PATH or udp:HOST:PORT"])
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


@contextmanager
def open_sender(address: str | None, config: Path | None) -> Iterator[Sender]:
    """A sender to ``address``, by default the first listener of the configuration."""
    sender = Sender(address or _configured(config))
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

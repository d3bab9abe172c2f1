"""Makes the listeners: on the sockets that systemd hands over, else on sockets of our own."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import structlog
from attrs import define, field

from aegisd.config.directories import Directories
from aegisd.config.settings import Ingest
from aegisd.ingest import sockets
from aegisd.ingest.datagram import DatagramListener, Handle
from aegisd.ingest.stream import StreamListener, Take

log = structlog.get_logger()


@define
class Sockets:
    """The sockets that were bound here. Their files are removed at the end."""

    _files: list[sockets.UnixSocketFile] = field(factory=list)
    _small_buffers: list[tuple[str, int]] = field(factory=list)

    def __enter__(self) -> "Sockets":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove_files()

    def tell_small_buffers(self) -> None:
        """Log which sockets got a smaller buffer than asked for.

        To be called once the daemon is ready: one that can't start logs nothing but why.
        """
        for address, given in self._small_buffers:
            log.info(
                "the kernel gives a smaller receive buffer than asked for; raise net.core.rmem_max",
                listener=address,
                given=given,
            )

    def remove_files(self) -> None:
        """Remove the files. The sockets stay open, and must still be so: see ``UnixSocketFile``."""
        while self._files:
            self._files.pop().remove()

    def listen(
        self,
        settings: Ingest,
        directories: Directories,
        handed: dict[str, socket.socket],
        handle: Handle,
        take: Take,
        max_connections: int,
    ) -> tuple[list[DatagramListener], list[StreamListener]]:
        """Make the listeners that ``settings`` ask for. ``handed`` are systemd's sockets by name.

        ``handle`` takes bursts of datagrams, ``take`` a connection's frames.
        """
        listeners = []
        binders: dict[str, Callable[[], socket.socket | None]] = {
            "unix_datagram": lambda: self._bind_unix(settings, directories),
            "udp": lambda: sockets.bind_udp(settings.udp) if settings.udp else None,
        }
        for name, bind in binders.items():
            ours = name not in handed
            bound = bind() if ours else handed[name]
            if bound is None:
                continue
            given = sockets.widen(bound, settings.receive_buffer_bytes)
            address = sockets.address_of(bound)
            # a Unix socket's queue is bounded by its senders' buffers, not its own (unix(7))
            if bound.family != socket.AF_UNIX and given < settings.receive_buffer_bytes:
                self._small_buffers.append((address, given))
            listeners.append(DatagramListener(bound, address, handle, ours=ours))
        return listeners, self._listen_stream(settings, directories, handed, take, max_connections)

    def _listen_stream(
        self,
        settings: Ingest,
        directories: Directories,
        handed: dict[str, socket.socket],
        take: Take,
        max_connections: int,
    ) -> list[StreamListener]:
        bound = handed.get("unix_stream")
        if bound is None:
            if not settings.unix_stream:
                return []
            path = Path(directories.expand(settings.unix_stream))
            mode = int(settings.socket_mode, 8)
            bound, file = sockets.bind_unix_stream(path, mode, settings.socket_group)
            self._files.append(file)
        address = f"stream:{os.fsdecode(bound.getsockname())}"
        limit = settings.max_message_bytes
        return [StreamListener(bound, address, take, limit, max_connections)]

    def _bind_unix(self, settings: Ingest, directories: Directories) -> socket.socket | None:
        if not settings.unix_datagram:
            return None
        path = Path(directories.expand(settings.unix_datagram))
        mode = int(settings.socket_mode, 8)
        bound, file = sockets.bind_unix_datagram(path, mode, settings.socket_group)
        self._files.append(file)
        return bound

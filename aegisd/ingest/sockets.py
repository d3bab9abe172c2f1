"""Binds the sockets, and says in one line why one can't be bound and what to do.

A Unix socket that nobody holds any more (its daemon was killed) is replaced; one that somebody
listens on is not.
"""

import grp
import os
import socket
import stat
from pathlib import Path

from attrs import frozen

from aegisd.config.checks import split_address
from aegisd.errors import AegisdError

MAX_UNIX_PATH_BYTES = 107  # sockaddr_un.sun_path, less its NUL (unix(7))
SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it


@frozen
class UnixSocketFile:
    """A bound socket's place in the file system, to be removed with it, and only it."""

    path: Path
    inode: int

    def remove(self) -> None:
        """Remove the file, unless another daemon has put its own there."""
        try:
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()
        except FileNotFoundError:
            pass


def bind_unix_datagram(path: Path, mode: int, group: str) -> tuple[socket.socket, UnixSocketFile]:
    """A Unix datagram socket at ``path``. Raises AegisdError."""
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        raise AegisdError(
            f"{path}: longer than a Unix socket's path may be ({MAX_UNIX_PATH_BYTES} bytes); "
            "set a shorter ingest.unix_datagram"
        )
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_stale(path)
        mask = os.umask(0o777 & ~mode)  # never more open than it is to be, not for a moment
        try:
            bound.bind(str(path))
        finally:
            os.umask(mask)
        path.chmod(mode)
        if group:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        bound.close()
        path.unlink()
        raise AegisdError(f"there is no group '{group}'; set ingest.socket_group") from None
    except OSError as error:
        bound.close()
        raise AegisdError(
            f"can't listen on {path}: {error.strerror}; set ingest.unix_datagram"
        ) from None
    except AegisdError:
        bound.close()
        raise
    return bound, UnixSocketFile(path, path.stat().st_ino)


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AegisdError(f"{path} exists and is no socket; remove it, or set another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise AegisdError(
        f"{path} is in use by another process; stop that one, or set ingest.unix_datagram"
    )


def bind_udp(address: str) -> socket.socket:
    """A UDP socket at ``host:port``. Raises AegisdError."""
    host, port = split_address(address)
    try:
        family, type_, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, type_ | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise AegisdError(f"udp {address}: {error.strerror}; set ingest.udp") from None
    try:
        bound.bind(target)
    except OSError as error:
        bound.close()
        raise AegisdError(
            f"can't listen on udp {address}: {error.strerror}; "
            "stop the process that holds it (ss -ulpn), or set ingest.udp"
        ) from None
    return bound


def widen(bound: socket.socket, size: int) -> int:
    """Ask for a receive buffer of ``size`` bytes; return what the kernel gave.

    Past net.core.rmem_max only with CAP_NET_ADMIN (socket(7)).
    """
    try:
        bound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    # the kernel doubles what it is given, for its own bookkeeping, and tells the double
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def address_of(bound: socket.socket) -> str:
    """The address as the command line writes it: ``unix:PATH``, ``udp:HOST:PORT``."""
    name = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'udp' if bound.type == socket.SOCK_DGRAM else 'tcp'}:{host}:{name[1]}"

"""Binds sockets. An error says in one line why a socket can't be bound, and what to do.

The file of a Unix socket without a process (its daemon was killed) is replaced. One that a process
listens on is an error.
"""

import errno
import grp
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from aegisd.config.address import join_address, split_address
from aegisd.errors import AegisdError

MAX_UNIX_PATH_BYTES = 107  # sockaddr_un.sun_path, less its NUL (unix(7))
SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it


@frozen
class UnixSocketFile:
    """The file of a bound Unix socket; ``remove`` removes this file, not another of that name.

    It must be removed before the socket is closed. After that its inode number is free, and the
    kernel may give it at once to the socket that the next daemon binds there.
    """

    path: Path
    inode: int

    def remove(self) -> None:
        """Remove the file, unless another daemon has replaced it."""
        with suppress(OSError):  # it is gone, or can't be removed: the next start replaces it
            if self.path.lstat().st_ino == self.inode:
                self.path.unlink()


def bind_unix_datagram(path: Path, mode: int, group: str) -> tuple[socket.socket, UnixSocketFile]:
    """A Unix datagram socket at ``path``. Raises AegisdError."""
    return _bind_unix(path, socket.SOCK_DGRAM, mode, group, "ingest.unix_datagram")


def bind_unix_stream(path: Path, mode: int, group: str) -> tuple[socket.socket, UnixSocketFile]:
    """A Unix stream socket at ``path``, not listening yet. Raises AegisdError."""
    return _bind_unix(path, socket.SOCK_STREAM, mode, group, "ingest.unix_stream")


def _bind_unix(
    path: Path, type_: socket.SocketKind, mode: int, group: str, setting: str
) -> tuple[socket.socket, UnixSocketFile]:
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        raise AegisdError(
            f"{path}: longer than a Unix socket's path may be ({MAX_UNIX_PATH_BYTES} bytes); "
            f"set a shorter {setting}"
        )
    gid = _gid_of(group) if group else -1  # leaves the group unchanged (chown(2))
    bound = socket.socket(socket.AF_UNIX, type_ | socket.SOCK_NONBLOCK)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_stale(path, setting)
        mask = os.umask(0o777 & ~mode)  # so that it never has a wider mode, not for a moment
        try:
            bound.bind(str(path))
        finally:
            os.umask(mask)
        file = UnixSocketFile(path, path.lstat().st_ino)
        path.chmod(mode)
    except OSError as error:
        bound.close()
        raise AegisdError(f"can't listen on {path}: {error.strerror}; set {setting}") from None
    except AegisdError:
        bound.close()
        raise
    try:
        os.chown(path, -1, gid)
    except OSError as error:
        file.remove()
        bound.close()
        raise AegisdError(
            f"can't give {path} to the group '{group}': {error.strerror}; "
            "run as a member of it, or set ingest.socket_group"
        ) from None
    return bound, file


def _gid_of(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise AegisdError(f"there is no group '{group}'; set ingest.socket_group") from None


def _remove_stale(path: Path, setting: str) -> None:
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
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:  # a stream socket that a process holds
                raise
    raise AegisdError(f"{path} is in use by another process; stop that one, or set {setting}")


def bind_udp(address: str) -> socket.socket:
    """A UDP socket at ``host:port``. Raises AegisdError."""
    host, port = split_address(address)
    try:
        family, type_, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, type_ | socket.SOCK_NONBLOCK, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no host's name"
        raise AegisdError(f"udp {address}: {reason}; set ingest.udp") from None
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
    """Ask for a receive buffer of at least ``size`` bytes; return the bytes that it has then.

    Only CAP_NET_ADMIN allows more than net.core.rmem_max (socket(7)). The buffer is never made
    smaller: systemd may have given its socket one that we can't get.
    """
    if _receive_buffer(bound) < size:
        try:
            bound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        except PermissionError:
            with socket.socket(bound.family, bound.type) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                within_limit = _receive_buffer(trial)
            if _receive_buffer(bound) < within_limit:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return _receive_buffer(bound)


def _receive_buffer(of: socket.socket) -> int:
    # the kernel doubles the size that is set, for its own bookkeeping, and tells the double
    return of.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def address_of(bound: socket.socket) -> str:
    """The address as the command line writes it: ``unix:PATH``, ``udp:HOST:PORT``."""
    name = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    return f"udp:{join_address(name[0], name[1])}"

"""Tells systemd states (sd_notify(3)) and takes its sockets (sd_listen_fds(3)); no libsystemd.

``process`` decides when a state is told: READY once ``serve`` takes events, STOPPING at the signal.
"""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from aegisd.errors import AegisdError

FIRST_FD = 3  # SD_LISTEN_FDS_START
NOTIFY_SECONDS = 1.0  # systemd reads at once; if it hangs, the daemon goes on

_SERVES = {
    (socket.AF_UNIX, socket.SOCK_DGRAM): "unix_datagram",
    (socket.AF_UNIX, socket.SOCK_STREAM): "unix_stream",
    (socket.AF_INET, socket.SOCK_DGRAM): "udp",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp",
    (socket.AF_INET, socket.SOCK_STREAM): "http",
    (socket.AF_INET6, socket.SOCK_STREAM): "http",
}


def notify_ready() -> None:
    """Tell systemd that the daemon serves: units that wait for it go on."""
    notify("READY=1")


def notify_stopping() -> None:
    """Tell systemd that the daemon is stopping."""
    notify("STOPPING=1")


def notify(state: str) -> None:
    """Tell systemd a state such as ``READY=1``, where there is a systemd.

    Errors are ignored: a daemon that ended because of one would lose the events that wait in it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace starts with a NUL
        address = "\0" + address[1:]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        suppress(OSError),
    ):
        sender.settimeout(NOTIFY_SECONDS)
        sender.sendto(state.encode(), address)


def take_sockets(
    known: frozenset[str], environment: MutableMapping[str, str]
) -> dict[str, socket.socket]:
    """Take the sockets that systemd hands over, by the name of the listener they serve.

    A socket's name is its unit's ``FileDescriptorName``. Where that is no listener's name, the
    socket's family and type decide. The variables are removed from the environment, so that no
    child process takes the sockets too. Raises AegisdError where two sockets are for one listener,
    or one is for none.
    """
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "0")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()):
        return {}
    if not (count.isascii() and count.isdigit()):
        raise AegisdError(f"LISTEN_FDS is '{count}', not a number of sockets")
    sockets: dict[str, socket.socket] = {}
    for i in range(int(count)):
        given = names[i] if i < len(names) else ""
        handed = _socket_of(FIRST_FD + i, given)
        listener = _SERVES.get((handed.family, handed.type), "")
        if given in known and given != listener:
            raise AegisdError(f"systemd's socket '{given}' is no {given} socket")
        if listener not in known:
            raise AegisdError(
                f"systemd's socket '{given}' serves no listener; those that take one: "
                + ", ".join(sorted(known))
            )
        if listener in sockets:
            raise AegisdError(f"systemd handed over two sockets for {listener}; it takes one")
        sockets[listener] = handed
    return sockets


def _socket_of(fd: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        handed = socket.socket(fileno=fd)
    except OSError as error:
        raise AegisdError(
            f"systemd's file descriptor {fd} ('{name}') is no socket: {error.strerror}"
        ) from None
    accepts = handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if handed.type == socket.SOCK_STREAM and not accepts:
        raise AegisdError(f"systemd's socket '{name}' is a single connection; set Accept=no")
    return handed

"""What passes between systemd and the daemon: states one way, sockets the other.

sd_notify(3) and sd_listen_fds(3), without libsystemd.
"""

import os
import socket
from collections.abc import MutableMapping

from aegisd.errors import AegisdError

FIRST_FD = 3  # SD_LISTEN_FDS_START


def notify(state: str) -> None:
    """Tell systemd a state such as ``READY=1``; without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace starts with a NUL
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), address)


def take_sockets(
    known: frozenset[str], environment: MutableMapping[str, str]
) -> dict[str, socket.socket]:
    """The sockets that systemd hands over, by the name of the listener they serve.

    A socket's name is its unit's ``FileDescriptorName``. Where that is no listener's name, its
    family and type tell. The variables are removed, so that no child takes the sockets too.
    Raises AegisdError where two sockets would serve one listener, or one serves none.
    """
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "0")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()):
        return {}
    sockets: dict[str, socket.socket] = {}
    for i in range(int(count)):
        fd = FIRST_FD + i
        os.set_inheritable(fd, False)
        handed = socket.socket(fileno=fd)
        given = names[i] if i < len(names) else ""
        listener = _serves(handed)
        if (given in known and given != listener) or listener not in known:
            raise AegisdError(f"systemd's socket '{given}' is no {given or 'listener'} socket")
        if listener in sockets:
            raise AegisdError(f"systemd handed over two sockets for {listener}; it takes one")
        sockets[listener] = handed
    return sockets


def _serves(handed: socket.socket) -> str:
    datagrams = handed.type == socket.SOCK_DGRAM
    if handed.family == socket.AF_UNIX:
        return "unix_datagram" if datagrams else "unix_stream"
    return "udp" if datagrams else "http"

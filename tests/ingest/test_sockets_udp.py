"""UDP sockets, receive buffers, and addresses as the command line writes them."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from aegisd.errors import AegisdError
from aegisd.ingest.sockets import address_of, bind_udp, widen

ROOT = os.geteuid() == 0

# Widens a socket that it was given, as an account without capabilities.
WIDEN_AS_NOBODY = """
import os, socket, sys
from aegisd.ingest.sockets import widen

os.setgroups([])
os.setgid(65534)
os.setuid(65534)
bound = socket.socket(fileno=int(sys.argv[1]))
print(widen(bound, int(sys.argv[2])))
"""


def refused(address: str) -> str:
    with pytest.raises(AegisdError) as caught:
        bind_udp(address)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_udp_socket_takes_datagrams(opened: ExitStack) -> None:
    bound = opened.enter_context(bind_udp("127.0.0.1:0"))
    assert not bound.getblocking()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", bound.getsockname())
    assert bound.recv(10) == b"x"
    assert address_of(bound) == f"udp:127.0.0.1:{bound.getsockname()[1]}"


def test_ipv6_address_stands_in_brackets(opened: ExitStack) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    bound = opened.enter_context(bind_udp("[::1]:0"))
    assert bound.family == socket.AF_INET6
    assert address_of(bound) == f"udp:[::1]:{bound.getsockname()[1]}"


def test_port_in_use_is_named_with_the_remedy(opened: ExitStack) -> None:
    address = address_of(opened.enter_context(bind_udp("127.0.0.1:0"))).removeprefix("udp:")
    assert refused(address) == (
        f"can't listen on udp {address}: Address already in use; "
        "stop the process that holds it (ss -ulpn), or set ingest.udp"
    )


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "192.0.2.1"])
def test_udp_host_that_can_not_be_bound_is_named_with_the_remedy(host: str) -> None:
    said = refused(f"{host}:7460")
    assert f"{host}:7460" in said
    assert said.endswith("set ingest.udp")


def test_address_of_unix_socket_has_the_scheme(opened: ExitStack, directory: Path) -> None:
    unix = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    unix.bind(str(directory / "s"))
    assert address_of(unix) == f"unix:{directory}/s"


def limit() -> int:
    """The largest receive buffer that the kernel gives to anybody (net.core.rmem_max)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**30)
        return trial.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def receive_buffer(of: socket.socket) -> int:
    return of.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def shrunk(opened: ExitStack) -> socket.socket:
    bound = opened.enter_context(bind_udp("127.0.0.1:0"))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return bound


def test_widen_gives_a_buffer_within_the_kernel_s_limit(opened: ExitStack) -> None:
    bound = shrunk(opened)
    assert widen(bound, limit() // 2) == receive_buffer(bound) == limit() // 2


def test_widen_leaves_a_larger_buffer(opened: ExitStack) -> None:
    bound = shrunk(opened)
    assert widen(bound, 100_000) == 100_000
    assert widen(bound, 5000) == receive_buffer(bound) == 100_000


def test_widen_returns_the_smaller_buffer_that_the_kernel_gave(opened: ExitStack) -> None:
    bound = shrunk(opened)
    given = widen(bound, limit() * 2)
    assert given == receive_buffer(bound)
    may_force = ROOT and given > limit()
    assert given == (limit() * 2 if may_force else limit())


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_widen_without_privileges_leaves_a_buffer_beyond_the_limit(
    opened: ExitStack,
) -> None:
    bound = shrunk(opened)
    if widen(bound, limit() * 2) <= limit():
        pytest.skip("root may not pass net.core.rmem_max here")
    done = subprocess.run(
        [sys.executable, "-c", WIDEN_AS_NOBODY, str(bound.fileno()), str(limit() * 3)],
        pass_fds=[bound.fileno()],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert int(done.stdout) == receive_buffer(bound) == limit() * 2

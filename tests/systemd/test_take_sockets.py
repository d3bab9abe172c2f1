"""Handed sockets are taken by name and type; in a process of its own for each test."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

# Takes the sockets that stand from descriptor 3 on.
CHILD = """
import json, os, sys
from aegisd.errors import AegisdError
from aegisd.daemon.systemd import take_sockets

try:
    taken = take_sockets(frozenset({"unix_datagram", "udp", "http"}), os.environ)
except AegisdError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
print(json.dumps({
    "taken": {name: s.fileno() for name, s in taken.items()},
    "inheritable": [s.get_inheritable() for s in taken.values()],
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
}))
"""


@pytest.fixture
def opened(directory: Path) -> Iterator[dict[str, Any]]:
    """One descriptor of each kind."""
    with ExitStack() as stack:
        unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        unix.bind(str(directory / "ingest.sock"))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(tcp.getsockname()))
        connection = stack.enter_context(tcp.accept()[0])
        stream = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        stream.bind(str(directory / "stream.sock"))
        stream.listen()
        file = stack.enter_context((directory / "file").open("w"))
        yield {
            "unix": unix,
            "udp": udp,
            "tcp": tcp,
            "stream": stream,
            "connection": connection,
            "client": client,
            "file": file,
        }


Take = Callable[..., dict[str, Any]]


@pytest.fixture
def take(hand_over: Callable[..., subprocess.Popen[bytes]]) -> Take:
    """Hand descriptors to a child that takes them; return what the child prints."""

    def hand(handed: list[Any], names: str | None, **environment: str) -> dict[str, Any]:
        variables = {**os.environ, **environment}
        if names is not None:
            variables["LISTEN_FDNAMES"] = names
        descriptors = [item.fileno() for item in handed]
        command = [sys.executable, "-c", CHILD]
        with hand_over(command, descriptors, variables, subprocess.PIPE) as child:
            said, _ = child.communicate(timeout=60)
        assert child.returncode == 0, said.decode()
        answer: dict[str, Any] = json.loads(said)
        return answer

    return hand


def test_named_socket_serves_the_listener_of_its_name(take: Take, opened: dict[str, Any]) -> None:
    answer = take([opened["tcp"], opened["unix"], opened["udp"]], "http:unix_datagram:udp")
    assert answer["taken"] == {"http": 3, "unix_datagram": 4, "udp": 5}


@pytest.mark.parametrize("names", [None, "", "a:b:c", "aegisd.socket:aegisd.socket:aegisd.socket"])
def test_socket_with_another_name_serves_the_listener_of_its_type(
    take: Take, opened: dict[str, Any], names: str | None
) -> None:
    answer = take([opened["udp"], opened["tcp"], opened["unix"]], names)
    assert answer["taken"] == {"udp": 3, "http": 4, "unix_datagram": 5}


def test_child_process_inherits_no_handed_socket(take: Take, opened: dict[str, Any]) -> None:
    answer = take([opened["udp"], opened["tcp"]], "udp:http")
    assert answer["inheritable"] == [False, False]
    assert answer["left"] == []


@pytest.mark.parametrize("pid", ["1", "", "pid"])
def test_sockets_for_another_process_are_not_taken(
    take: Take, opened: dict[str, Any], pid: str
) -> None:
    answer = take([opened["udp"]], "udp", LISTEN_PID=pid)
    assert answer == {"taken": {}, "inheritable": [], "left": []}


def test_empty_environment_gives_no_sockets(take: Take) -> None:
    assert take([], "")["taken"] == {}


@pytest.mark.parametrize("count", ["many", "-1", "1.5", ""])
def test_listen_fds_that_is_no_number_is_an_error(
    take: Take, opened: dict[str, Any], count: str
) -> None:
    answer = take([opened["udp"]], "udp", LISTEN_FDS=count)
    assert answer == {"error": f"LISTEN_FDS is '{count}', not a number of sockets"}


def copy_of(item: Any) -> Any:
    """The same descriptor under another number."""
    return os.fdopen(os.dup(item.fileno()), "rb", buffering=0)


@pytest.mark.parametrize(
    ("handed", "names", "said"),
    [
        (["udp"], "http", "systemd's socket 'http' is no http socket"),
        (["tcp"], "udp", "systemd's socket 'udp' is no udp socket"),
        (["stream"], "unix_datagram", "systemd's socket 'unix_datagram' is no unix_datagram"),
        (["stream"], "x", "systemd's socket 'x' serves no listener; those that take one: http"),
        (["udp", "udp"], "udp:udp", "systemd handed over two sockets for udp; it takes one"),
        (["udp", "udp"], "udp:x", "systemd handed over two sockets for udp; it takes one"),
        (["file"], "x", "systemd's file descriptor 3 ('x') is no socket"),
        (["connection"], "http", "systemd's socket 'http' is a single connection; set Accept=no"),
    ],
)
def test_socket_for_no_listener_is_an_error_of_one_line(
    take: Take, opened: dict[str, Any], handed: list[str], names: str, said: str
) -> None:
    with ExitStack() as copies:
        descriptors = [copies.enter_context(copy_of(opened[n])) for n in handed]
        error = take(descriptors, names)["error"]
    assert error.startswith(said)
    assert "\n" not in error


def test_missing_descriptor_is_an_error(take: Take, opened: dict[str, Any]) -> None:
    error = take([opened["udp"]], "udp:http", LISTEN_FDS="2")["error"]
    assert error == "systemd's file descriptor 4 ('http') is no socket: Bad file descriptor"

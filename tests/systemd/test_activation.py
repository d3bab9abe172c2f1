"""The daemon on handed sockets: it uses them, leaves them open at the stop, finds them again."""

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
from support import query, wait_until

ACTIVATE = shutil.which("systemd-socket-activate")
EVENT = {"method": "GET", "path": "/", "status_code": 200}


def free_port(type_: int) -> int:
    with socket.socket(socket.AF_INET, type_) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def send(address: Any, event: dict[str, Any]) -> None:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(msgpack.packb(event), address)


def paths(dsn: str) -> list[str]:
    rows = asyncio.run(query(dsn, "SELECT path FROM request_metrics ORDER BY path"))
    return [path for (path,) in rows]


@pytest.fixture
def held(activated: Any) -> Iterator[dict[str, socket.socket]]:
    """A socket for each of three listeners, by the listeners' names."""
    activated.runtime.mkdir()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("127.0.0.1", 0)) as tcp,
    ):
        unix.bind(str(activated.ingest))
        udp.bind(("127.0.0.1", 0))
        yield {"unix_datagram": unix, "udp": udp, "http": tcp}


@pytest.mark.skipif(ACTIVATE is None, reason="needs systemd-socket-activate")
def test_systemd_socket_activate_starts_the_daemon_on_four_sockets(
    activated: Any, dsn: str
) -> None:
    unix, stream, udp, http = (
        str(activated.directory / "s"),
        str(activated.directory / "t"),
        free_port(socket.SOCK_DGRAM),
        free_port(socket.SOCK_STREAM),
    )
    # one run listens on datagram sockets only or on none; the inner one passes on the outer's
    kept = [f"-E{name}={value}" for name, value in activated.environment.items()]
    outer = [ACTIVATE, "--datagram", "-l", unix, "-l", f"127.0.0.1:{udp}", *kept, "--"]
    names = "--fdname=unix_datagram:udp:unix_stream:http"
    inner = [ACTIVATE, "-l", stream, "-l", f"127.0.0.1:{http}", names, *kept, "--"]
    activated.start_under([*outer, *inner, *activated.command("run")])
    wait_until(lambda: f"127.0.0.1:{udp} as" in activated.log(), "the sockets are there")
    inode = os.stat(unix).st_ino
    send(unix, EVENT | {"path": "/unix"})  # which starts the daemon
    activated.wait_ready()
    send(("127.0.0.1", udp), EVENT | {"path": "/udp"})
    event = json.dumps(EVENT | {"path": "/stream"})
    sent = activated.run("send", "--to", f"stream:{stream}", "-", input_=event.encode())
    assert sent.returncode == 0, sent.stderr

    assert activated.url == f"http://127.0.0.1:{http}"
    activated.wait_for_rows(3)
    listeners = activated.get("/api/ingest")["listeners"]
    assert [(one["address"], one["messages"]) for one in listeners] == [
        (f"unix:{unix}", 1),
        (f"udp:127.0.0.1:{udp}", 1),
        (f"stream:{stream}", 1),
    ]
    assert activated.stop() == 0
    assert os.stat(unix).st_ino == inode, "the file is systemd's to remove"
    assert paths(dsn) == ["/stream", "/udp", "/unix"]


def test_datagram_sent_while_the_daemon_is_down_is_stored_after_the_start(
    activated: Any, held: dict[str, socket.socket], dsn: str
) -> None:
    udp = held["udp"].getsockname()
    send(str(activated.ingest), EVENT | {"path": "/1-before-the-first-start"})
    activated.start_with(held)
    activated.wait_for_rows(1)
    assert activated.stop() == 0

    assert stat.S_ISSOCK(activated.ingest.stat().st_mode)
    send(str(activated.ingest), EVENT | {"path": "/2-down-unix"})
    send(udp, EVENT | {"path": "/3-down-udp"})

    activated.start_with(held)
    send(str(activated.ingest), EVENT | {"path": "/4-up-again"})
    activated.wait_for_rows(3)
    assert activated.stop() == 0
    assert paths(dsn) == [
        "/1-before-the-first-start",
        "/2-down-unix",
        "/3-down-udp",
        "/4-up-again",
    ]


def test_connected_sender_survives_restarts(
    activated: Any, held: dict[str, socket.socket], dsn: str
) -> None:
    activated.start_with(held)
    with activated.sender() as sender:
        for number in range(3):
            sender.send(msgpack.packb(EVENT | {"path": f"/{number}"}))
            activated.wait_for_rows(1)
            assert activated.stop() == 0
            activated.start_with(held)
    assert activated.stop() == 0
    assert paths(dsn) == ["/0", "/1", "/2"]


def test_listener_without_a_handed_socket_is_bound_as_configured(
    activated: Any, held: dict[str, socket.socket]
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    activated.environment["AEGISD_INGEST__UDP"] = f"127.0.0.1:{port}"
    activated.environment["AEGISD_HTTP__LISTEN"] = "127.0.0.1:0"
    activated.start_with({"unix_datagram": held["unix_datagram"]})
    addresses = [one["address"] for one in activated.get("/api/ingest")["listeners"]]
    stream = activated.runtime / "stream.sock"
    assert addresses == [f"unix:{activated.ingest}", f"udp:127.0.0.1:{port}", f"stream:{stream}"]


def test_handed_socket_turns_on_a_listener_that_is_off(
    activated: Any, held: dict[str, socket.socket]
) -> None:
    activated.environment["AEGISD_INGEST__UDP"] = ""
    activated.start_with(held)
    send(held["udp"].getsockname(), EVENT)
    activated.wait_for_events(1)


def refused(
    activated: Any, hand_over: Callable[..., subprocess.Popen[bytes]], handed: socket.socket
) -> str:
    """The error of a daemon that does not start."""
    command, output = activated.command("run"), subprocess.PIPE
    environment = activated.environment | {"LISTEN_FDNAMES": "http"}
    with hand_over(command, [handed.fileno()], environment, output) as child:
        said, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    return said.decode()


def test_handed_http_socket_beyond_loopback_without_tokens_is_refused(
    activated: Any, hand_over: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        port = everywhere.getsockname()[1]
        assert refused(activated, hand_over, everywhere) == (
            f"aegisd: systemd's http socket listens on 0.0.0.0:{port}: "
            "without http.tokens only loopback may be listened on\n"
        )


def test_handed_dual_stack_http_socket_answers_under_its_ipv4_address(
    activated: Any,
) -> None:
    activated.environment["AEGISD_INGEST__UDP"] = ""
    activated.environment["AEGISD_HTTP__TOKENS"] = f'[{{name = "a", sha256 = "{"0" * 64}"}}]'
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as tcp:
        activated.start_with({"http": tcp})
        port = tcp.getsockname()[1]
        with urllib.request.urlopen(f"http://127.0.0.2:{port}/healthz", timeout=60) as answer:
            assert answer.status == 200


def test_address_of_a_handed_http_socket_passes_the_host_check(activated: Any) -> None:
    with socket.create_server(("127.0.0.2", 0)) as tcp:
        activated.environment["AEGISD_INGEST__UDP"] = ""
        activated.start_with({"http": tcp})
        assert activated.url == f"http://127.0.0.2:{tcp.getsockname()[1]}"
        assert activated.fetch("/healthz")[0] == 200


def test_handed_socket_for_no_listener_ends_the_start_with_one_line(
    activated: Any, hand_over: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        said = refused(activated, hand_over, udp)
    assert said == "aegisd: systemd's socket 'http' is no http socket\n"

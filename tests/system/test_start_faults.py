"""Faults that end the start with one line: what is wrong, and the remedy."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Daemon

NOWHERE = "postgresql://aegisd@127.0.0.1:1/aegisd"
UNIX = "INGEST__UNIX_DATAGRAM"


@pytest.fixture
def make(make_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """Makes daemons that need no database to start."""

    def make_one(**keys: str) -> Daemon:
        usual = {"STORAGE__DSN": NOWHERE, "METRICS__ENABLED": "false"} | keys
        return make_daemon(environment={f"AEGISD_{key}": text for key, text in usual.items()})

    return make_one


def start_error(daemon: Daemon) -> str:
    """The one line of a start that fails; asserts that no socket file is left."""
    done = daemon.run("run")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not daemon.ingest.exists()
    return done.stderr.removeprefix("aegisd: ").strip()


def test_http_port_in_use_ends_the_start_with_one_line(make: Callable[..., Daemon]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert start_error(make(HTTP__LISTEN=address)) == (
            f"can't listen on http {address}: Address already in use; "
            "stop the process that holds it (ss -tlnp), or set http.listen"
        )


def test_udp_port_in_use_ends_the_start_with_one_line(make: Callable[..., Daemon]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert start_error(make(INGEST__UDP=address)) == (
            f"can't listen on udp {address}: Address already in use; "
            "stop the process that holds it (ss -ulpn), or set ingest.udp"
        )


def test_invalid_host_name_ends_the_start_with_one_line(make: Callable[..., Daemon]) -> None:
    address = "x" * 64 + ".example:7460"
    assert start_error(make(INGEST__UDP=address)) == (
        f"udp {address}: no host's name; set ingest.udp"
    )


def test_unix_socket_of_a_live_daemon_ends_the_start_with_one_line(
    make: Callable[..., Daemon],
) -> None:
    first = make()
    first.start()
    assert start_error(make(**{UNIX: str(first.ingest)})) == (
        f"{first.ingest} is in use by another process; stop that one, or set ingest.unix_datagram"
    )
    first.emit({"method": "GET", "path": "/", "status_code": 200})
    first.wait_for_events(1)


def test_socket_file_of_a_killed_daemon_is_replaced(make: Callable[..., Daemon]) -> None:
    daemon = make()
    daemon.start()
    daemon.kill()
    assert daemon.ingest.is_socket()
    daemon.start()
    daemon.emit({"method": "GET", "path": "/", "status_code": 200})
    daemon.wait_for_events(1)


def test_file_in_place_of_the_socket_ends_the_start_with_one_line(
    make: Callable[..., Daemon], directory: Path
) -> None:
    path = directory / "notes"
    path.write_text("mine")
    assert start_error(make(**{UNIX: str(path)})) == (
        f"{path} exists and is no socket; remove it, or set another path"
    )
    assert path.read_text() == "mine"


def test_too_long_socket_path_ends_the_start_with_one_line(
    make: Callable[..., Daemon], directory: Path
) -> None:
    path = directory / ("x" * 108)
    assert start_error(make(**{UNIX: str(path)})) == (
        f"{path}: longer than a Unix socket's path may be (107 bytes); "
        "set a shorter ingest.unix_datagram"
    )


def test_unknown_socket_group_ends_the_start_with_one_line(make: Callable[..., Daemon]) -> None:
    assert start_error(make(INGEST__SOCKET_GROUP="no-such-group")) == (
        "there is no group 'no-such-group'; set ingest.socket_group"
    )


def test_missing_certificate_ends_the_start_with_one_line(make: Callable[..., Daemon]) -> None:
    keys = {"HTTP__TLS_CERTIFICATE": "/no/such.pem", "HTTP__TLS_KEY": "/no/such.key"}
    assert start_error(make(**keys)).startswith("can't use http.tls_certificate /no/such.pem: ")


def test_wrong_configuration_ends_the_start_with_all_its_problems(
    make: Callable[..., Daemon],
) -> None:
    daemon = make(METRICS__FLUSH_INTERVAL_MS="0", HTTP__LISTEN="everywhere")
    daemon.config.write_text('[metrics]\nbatchsize = 5\n[log]\nlevel = "loud"\n')
    done = daemon.run("run")
    assert done.returncode == 2
    told = {line.split(":")[0] for line in done.stderr.splitlines()}
    assert told == {
        "metrics.batchsize",
        "metrics.flush_interval_ms",
        "log.level",
        "http.listen",
    }
    assert not daemon.runtime.exists()
    assert daemon.run("check-config").stderr == done.stderr

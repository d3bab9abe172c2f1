"""States sent to systemd, also where nobody listens or reads."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from support import Daemon

from aegisd.daemon.systemd import notify


def receive(listener: socket.socket) -> str:
    listener.settimeout(30)
    return listener.recv(4096).decode()


def test_state_is_sent_to_the_notify_socket(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(directory / "notify"))
        notify("READY=1")
        assert receive(listener) == "READY=1"


def test_at_sign_means_the_abstract_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"aegisd-test-{uuid4().hex}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        notify("READY=1")
        assert receive(listener) == "READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody-listens", "vsock:2:1"])
def test_missing_notify_socket_is_ignored(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_full_notify_socket_does_not_block(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.daemon.systemd.NOTIFY_SECONDS", 0.01)
    monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
    queue = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(directory / "notify"))
        for _ in range(queue + 5):
            notify("STATUS=busy")
        assert receive(listener) == "STATUS=busy"


def test_daemon_sends_ready_once_and_stopping(dsn: str, make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(environment={"AEGISD_STORAGE__DSN": dsn})
    daemon.start()  # which waits for READY=1
    assert daemon.stop() == 0
    assert receive(daemon.notifications) == "STOPPING=1"
    daemon.notifications.setblocking(False)
    with pytest.raises(BlockingIOError):
        daemon.notifications.recv(4096)


def test_events_are_taken_and_readyz_is_200_after_ready(
    dsn: str, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon(environment={"AEGISD_STORAGE__DSN": dsn})
    daemon.start()
    daemon.emit({"method": "GET", "path": "/", "status_code": 200})
    assert daemon.fetch("/readyz")[0] == 200
    daemon.wait_for_events(1)


def test_stop_without_a_notify_socket_loses_no_event(
    dsn: str, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon(environment={"AEGISD_STORAGE__DSN": dsn})
    daemon.start()
    daemon.notifications.close()
    os.unlink(daemon.directory / "notify")
    daemon.emit({"method": "GET", "path": "/", "status_code": 200})
    daemon.wait_for_events(1)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()

"""What the systemd tests share: a daemon that is handed its sockets."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest
from support import START_SECONDS, Daemon, short_directory, wait_until

# Becomes the command behind the list of descriptors, with these from 3 on, as systemd does it.
HAND_OVER = """
import fcntl, os, sys

given = [int(number) for number in sys.argv[1].split(",") if number]
aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in given]
for fd in given:
    os.close(fd)
for i, fd in enumerate(aside):
    os.dup2(fd, 3 + i)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def handed_over(
    command: Sequence[str], descriptors: Sequence[int], environment: dict[str, str], output: int
) -> subprocess.Popen[bytes]:
    """Start a command that inherits these descriptors from 3 on."""
    numbers = ",".join(map(str, descriptors))
    return subprocess.Popen(
        [sys.executable, "-c", HAND_OVER, numbers, *command],
        env={"LISTEN_FDS": str(len(descriptors)), **environment},
        pass_fds=descriptors,
        stdout=output,
        stderr=output if output != subprocess.PIPE else subprocess.STDOUT,
    )


class ActivatedDaemon(Daemon):
    """A daemon whose sockets the test holds."""

    def start_with(self, sockets: dict[str, socket.socket]) -> None:
        """Start it with these sockets, by the names of their listeners, and wait for READY=1."""
        self.listen_for_notifications()
        environment = self.environment | {"LISTEN_FDNAMES": ":".join(sockets)}
        descriptors = [bound.fileno() for bound in sockets.values()]
        with self.log_file.open("ab") as log:
            self.process = handed_over(self.command("run"), descriptors, environment, log.fileno())
        self.wait_ready()

    def start_under(self, command: Sequence[str]) -> None:
        """Start a command that will become the daemon, and wait for nothing."""
        self.listen_for_notifications()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def listen_for_notifications(self) -> None:
        if self.notifications is not None:
            self.notifications.close()
        (self.directory / "notify").unlink(missing_ok=True)
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.bind(str(self.directory / "notify"))

    def wait_ready(self) -> None:
        wait_until(
            lambda: self._notified("READY=1") or self.process.poll() is not None,
            "the daemon is ready",
            START_SECONDS,
        )
        assert self.process.poll() is None, f"the daemon ended: {self.log()}"


@pytest.fixture
def activated(dsn: str) -> Iterator[ActivatedDaemon]:
    """A daemon, not started yet, on a database of its own."""
    with short_directory() as path:
        config = "[metrics]\nflush_interval_ms = 200\n"
        daemon = ActivatedDaemon(path, config, {"AEGISD_STORAGE__DSN": dsn})
        try:
            yield daemon
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()
            daemon.kill()


@pytest.fixture
def hand_over() -> Callable[..., subprocess.Popen[bytes]]:
    return handed_over

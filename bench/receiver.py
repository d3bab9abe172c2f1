"""A receiver: a process that is sent requests and counts them."""

import subprocess
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from bench import machine

START_SECONDS = 60
STOP_SECONDS = 60
ANSWER_SECONDS = 10
POLL_SECONDS = 0.1

T = TypeVar("T")


class Failed(Exception):
    """A measurement that can't be made; its text says why, and is printed in the table."""


def wait_for(ask: Callable[[], T | None], what: str, seconds: float = START_SECONDS) -> T:
    """Call until there is an answer. Raises Failed."""
    deadline = time.monotonic() + seconds
    while (answer := ask()) is None:
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return answer


def fetch(url: str, seconds: float = ANSWER_SECONDS) -> str | None:
    """The body of an answer; None if there is no answer yet."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:
            text: str = response.read().decode()
            return text
    except OSError:
        return None


class Receiver(ABC):
    """A process with a directory of its own; as a context manager it starts and stops."""

    name: str
    settle_seconds: float
    """The time from the last datagram until all work is done, the next flush included."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.directory.chmod(0o755)  # an embedded Postgres runs under another account
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Start the process and wait until it receives. Raises Failed."""

    @abstractmethod
    def address(self, transport: str) -> str:
        """The address that it receives on: ``unix:PATH`` or ``udp:HOST:PORT``."""

    @abstractmethod
    def counted(self) -> int:
        """Requests counted since the start. Raises Failed if some were refused."""

    def stored(self) -> int | None:
        """Requests committed to a database; None if it has none."""
        return None

    def cpu(self) -> float:
        """CPU seconds of the process and its children."""
        return sum(machine.cpu_seconds(pid) for pid in machine.family(self._process().pid))

    def database_cpu(self) -> float:
        """CPU seconds of its database."""
        return 0.0

    def run(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start ``command`` as the process."""
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=self.directory
            )

    def alive(self) -> None:
        """Raise Failed if the process has ended."""
        if self._process().poll() is not None:
            lines = (self.directory / "log").read_text(errors="replace").splitlines()
            raise Failed(f"{self.name} ended: {lines[-1] if lines else 'it said nothing'}")

    def stop(self) -> None:
        """End the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _process(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise Failed(f"{self.name} was not started")
        return self.process

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it and remove its directory."""
        self.stop()
        self._directory.cleanup()

"""What tests share: databases of the real Postgres, and the real daemon as a process."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import asyncpg
import msgpack

START_SECONDS = 60
WAIT_SECONDS = 30

WHERE_TABLES_ARE = {"search_path": "aegisd, public"}

T = TypeVar("T")


def wait_until(ask: Callable[[], T], what: str, seconds: float = WAIT_SECONDS) -> T:
    """Ask until the answer is true, with short pauses; fail with ``what`` when it never is."""
    deadline = monotonic() + seconds
    pause = threading.Event()
    while not (answer := ask()):
        assert monotonic() < deadline, f"not within {seconds} s: {what}"
        pause.wait(0.05)
    return answer


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory with a path short enough for Unix sockets, that other accounts can enter."""
    path = Path(tempfile.mkdtemp(prefix="aegisd-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def query(dsn: str, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """Ask the database over a connection of the test's own (asyncio)."""
    connection = await asyncpg.connect(dsn, timeout=10, server_settings=WHERE_TABLES_ARE)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *args, timeout=30)]
    finally:
        connection.terminate()


class Daemon:
    """The real daemon as a process, with directories of its own."""

    def __init__(
        self, directory: Path, config: str = "", environment: dict[str, str] | None = None
    ):
        self.directory = directory
        self.state, self.runtime = directory / "state", directory / "run"
        self.config = directory / "aegisd.toml"
        if not self.config.exists():
            self.config.write_text(config)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AEGISD_", "PG"))},
            "STATE_DIRECTORY": str(self.state),
            "RUNTIME_DIRECTORY": str(self.runtime),
            "NOTIFY_SOCKET": str(directory / "notify"),
            **(environment or {}),
        }
        self.log_file = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.notifications: socket.socket | None = None

    @property
    def ingest(self) -> Path:
        return self.runtime / "ingest.sock"

    def start(self, *prefix: str) -> None:
        """Start it and wait for READY=1; ``prefix`` is a command that starts the daemon."""
        notify = self.directory / "notify"
        notify.unlink(missing_ok=True)
        if self.notifications is not None:
            self.notifications.close()
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.bind(str(notify))
        self.notifications.settimeout(START_SECONDS)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.command("run")], env=self.environment, stdout=log, stderr=log
            )
        wait_until(
            lambda: self._notified("READY=1") or self.process.poll() is not None,
            "the daemon is ready",
            START_SECONDS,
        )
        assert self.process.poll() is None, f"the daemon ended: {self.log()}"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "aegisd", *arguments, "--config", str(self.config)]

    def run(self, *arguments: str, input_: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run another command of aegisd to its end."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            input=input_,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def _notified(self, state: str) -> bool:
        self.notifications.settimeout(0.1)
        try:
            return self.notifications.recv(4096).decode() == state
        except TimeoutError:
            return False

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        if self.notifications is not None:
            self.notifications.close()

    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def url(self) -> str:
        """The URL of its HTTP port, from the log of the process."""
        pages = [word for word in self.log().split() if word.startswith("page=")]
        return pages[-1].removeprefix("page=").rstrip("/")

    def get(self, path: str) -> Any:
        """The ``data`` of an answer."""
        status, body = self.fetch(path)
        assert status == 200, body
        return json.loads(body)["data"]

    def fetch(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Status and body of an answer, also of an error."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def sender(self) -> socket.socket:
        """A socket connected to the Unix datagram listener; sending waits for room."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        connected.connect(str(self.ingest))
        return connected

    def emit(self, *messages: object) -> None:
        """Send messages, each a datagram."""
        with self.sender() as connected:
            for message in messages:
                connected.send(message if isinstance(message, bytes) else msgpack.packb(message))

    def dsn(self) -> str:
        """The embedded Postgres' DSN."""
        data, passfile = self.state / "postgres/data", self.state / "postgres/passfile"
        return f"postgresql://aegisd@/aegisd?host={data}&passfile={passfile}"

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Ask the daemon's embedded Postgres."""
        return asyncio.run(query(self.dsn(), sql, *args))

    def wait_for_events(self, count: int, seconds: float = WAIT_SECONDS) -> None:
        """Wait until so many events were accepted."""
        wait_until(
            lambda: sum(self.get("/api/ingest")["events"].values()) >= count,
            f"{count} events are accepted",
            seconds,
        )

    def wait_for_rows(self, count: int, seconds: float = WAIT_SECONDS) -> None:
        """Wait until so many rows were committed."""
        wait_until(
            lambda: self.get("/api/status")["flush"]["rows"] >= count,
            f"{count} rows are written",
            seconds,
        )

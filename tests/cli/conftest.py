"""What the tests of the command line share: a listener of their own, and the command."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from attrs import define

from aegisd.cli import main

RECEIVE_BYTES = 1024 * 1024
WAIT_SECONDS = 30
END, CLOSE = b"end", b"close"


class Listener:
    """A datagram socket that is read all the time, and what was sent to it."""

    def __init__(self, bound: socket.socket, address: str) -> None:
        self.address = address
        self._socket = bound
        self._received: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while (message := self._socket.recv(RECEIVE_BYTES)) != CLOSE:
            self._received.put(message)
        self._socket.close()

    def raw(self) -> list[bytes]:
        """What was sent since the last time; the sender has returned."""
        self._tell(END)
        found = []
        while (message := self._received.get(timeout=WAIT_SECONDS)) != END:
            found.append(message)
        return found

    def messages(self) -> list[Any]:
        """The same, decoded."""
        return [msgpack.unpackb(message) for message in self.raw()]

    def events(self) -> list[dict[str, Any]]:
        """The events of all messages."""
        return [
            event
            for message in self.messages()
            for event in (message if isinstance(message, list) else [message])
        ]

    def close(self) -> None:
        """Listen no longer."""
        if self._reader.is_alive():
            self._tell(CLOSE)
            self._reader.join(WAIT_SECONDS)

    def _tell(self, message: bytes) -> None:
        with socket.socket(self._socket.family, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, self._socket.getsockname())


@pytest.fixture
def listener(directory: Path) -> Iterator[Listener]:
    """On a Unix socket."""
    path = directory / "in.sock"
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(str(path))
    listening = Listener(bound, f"unix:{path}")
    yield listening
    listening.close()


@pytest.fixture
def udp_listener() -> Iterator[Listener]:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    listening = Listener(bound, f"udp:127.0.0.1:{bound.getsockname()[1]}")
    yield listening
    listening.close()


@define
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process, without what its environment would set."""
    monkeypatch.setattr("aegisd.config.load.DEFAULT_FILE", Path("/nonexistent/aegisd.toml"))
    monkeypatch.delenv("AEGISD_CONFIG", raising=False)

    def run(*arguments: str | Path) -> Outcome:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse's own way to say what is wrong
            code = end.code
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[bytes], None]]:
    """Puts bytes on standard input."""
    opened = []

    def put(content: bytes) -> None:
        file = tmp_path / "stdin"
        file.write_bytes(content)
        opened.append(file.open())
        monkeypatch.setattr("sys.stdin", opened[-1])

    yield put
    for file in opened:
        file.close()

"""The longest time without an answer while a daemon handles one message, or one burst."""

import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack
from attrs import define

from bench import machine
from bench.bombs import BOMBS, BURST_DATAGRAMS, BURST_ROWS, DATAGRAM, Bomb
from bench.daemon import Aegisd
from bench.receiver import Failed
from bench.sender import Frames, connect, write_frames

ASK_SECONDS = 0.005
CLIENT_SECONDS = 60
"""The clients' time-out."""

QUIET_SECONDS = 1.0
AFTER_SECONDS = 0.5
"""How long the watch goes on after the answer: the events are still counted and stored."""

POLL_SECONDS = 0.02
BURSTS = 3

NOTHING = "nothing"
BURST = f"{BURSTS} bursts of {BURST_DATAGRAMS:,} datagrams of columns, n = {BURST_ROWS:,}"

LENGTH = struct.Struct(">I")


@define
class Pause:
    """A content, the longest answer of /healthz, and the time to its own answer; in seconds."""

    content: str
    size: int
    longest: float | None = None
    handled: float | None = None
    answer: str = ""


class Watch:
    """A thread that asks GET /healthz over and over, on new connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.longest = 0.0
        self.answers = 0
        self.failures = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop; the answer that is still outstanding counts, too."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(ASK_SECONDS):
            start = time.perf_counter()
            try:
                self._ask()
                self.answers += 1
            except TimeoutError:
                self.failures += 1
            except OSError:  # the daemon has ended
                self.failures += 1
                continue
            self.longest = max(self.longest, time.perf_counter() - start)

    def _ask(self) -> None:
        address = ("127.0.0.1", self._port)
        with socket.create_connection(address, timeout=CLIENT_SECONDS) as asking:
            host = f"Host: 127.0.0.1:{self._port}\r\n"
            asking.sendall(f"GET /healthz HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode())
            if not asking.recv(4096):
                raise ConnectionResetError
            while asking.recv(4096):
                pass


def pauses(make: Callable[[], Aegisd], tell: Callable[[str], None]) -> Iterator[Pause]:
    """All contents, one after the other. A daemon that dies or hangs is replaced."""
    left: list[tuple[str, Callable[[Aegisd], Pause]]] = [
        (NOTHING, _nothing),
        *((bomb.title, partial(_message, bomb)) for bomb in BOMBS),
        (BURST, _bursts),
    ]
    while left:
        with make() as daemon:
            healthy = True
            while left and healthy:
                title, measure = left.pop(0)
                tell(title)
                pause = measure(daemon)
                healthy = _healthy(daemon, pause)
                yield pause


def _healthy(daemon: Aegisd, pause: Pause) -> bool:
    """Whether the daemon can go on; else it is killed, and the content's row says so."""
    try:
        daemon.alive()
    except Failed as error:
        pause.handled = None
        pause.answer = f"{pause.answer}; {error}"
        return False
    if pause.handled is None:
        daemon.kill()
        return False
    return True


def _watched(daemon: Aegisd, pause: Pause, handle: Callable[[], str | None]) -> Pause:
    """Call ``handle``, which returns its answer; complete ``pause`` with what was measured."""
    with Watch(daemon.http_port) as watch:
        start = time.perf_counter()
        try:
            answer = handle()
            if answer is not None:
                pause.handled = time.perf_counter() - start
            pause.answer = f"none within {CLIENT_SECONDS} s" if answer is None else answer
        except (OSError, Failed) as error:
            pause.answer = f"none: {error or type(error).__name__}"
        if pause.handled is not None:
            time.sleep(AFTER_SECONDS)
    if watch.answers or watch.longest:
        pause.longest = watch.longest
    if watch.failures:
        pause.answer += f"; requests that failed meanwhile: {watch.failures:,}"
    return pause


def _nothing(daemon: Aegisd) -> Pause:
    def wait() -> str:
        time.sleep(QUIET_SECONDS)
        return ""

    return _watched(daemon, Pause(NOTHING, 0), wait)


def _message(bomb: Bomb, daemon: Aegisd) -> Pause:
    message = bomb.make(bomb.title)
    pause = Pause(bomb.title, len(message))
    return _watched(daemon, pause, lambda: _answer(daemon.stream, message))


def _answer(path: Path, message: bytes) -> str | None:
    """The stream's answer to a message."""
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(CLIENT_SECONDS)
        client.connect(str(path))
        try:
            client.sendall(LENGTH.pack(len(message)) + message)
            while (whole := _whole(received)) is None:
                data = client.recv(65_536)
                if not data:
                    return "closed"
                received += data
        except TimeoutError:
            return None
    answer = msgpack.unpackb(whole)
    if "error" in answer:
        return f"error: {answer['error']['code']}"
    return f"{answer['accepted']:,} accepted, {answer['rejectedCount']:,} rejected"


def _whole(received: bytearray) -> bytes | None:
    """The first answer, if it is complete."""
    if len(received) < LENGTH.size:
        return None
    end = LENGTH.size + LENGTH.unpack_from(received)[0]
    return bytes(received[LENGTH.size : end]) if len(received) >= end else None


def _bursts(daemon: Aegisd) -> Pause:
    """The slowest of several bursts."""
    address = daemon.address("udp")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        file = Path(directory, "burst.npz")
        write_frames(file, [DATAGRAM] * BURST_DATAGRAMS)
        frames = Frames(file)
    slowest = Pause(BURST, len(DATAGRAM))
    with connect(address, blocking=True) as sending:
        for _ in range(BURSTS):
            pause = Pause(BURST, len(DATAGRAM))
            _watched(daemon, pause, lambda: _burst(daemon, frames, sending))
            slowest.longest = max(slowest.longest or 0, pause.longest or 0)
            slowest.answer = pause.answer
            if pause.handled is None:
                slowest.handled = None
                break
            slowest.handled = max(slowest.handled or 0, pause.handled)
    return slowest


def _burst(daemon: Aegisd, frames: Frames, sending: socket.socket) -> str | None:
    """Send a burst; wait until every datagram that the kernel did not drop is counted."""
    port = int(daemon.address("udp").rpartition(":")[2])
    dropped, counted = machine.udp_queue(port)[1], _counted(daemon)
    deadline = time.monotonic() + CLIENT_SECONDS
    frames.send(sending.fileno(), BURST_DATAGRAMS)
    while time.monotonic() < deadline:
        lost = machine.udp_queue(port)[1] - dropped
        if _counted(daemon) - counted >= (BURST_DATAGRAMS - lost) * BURST_ROWS:
            return f"counted; {lost:,} datagrams dropped by the kernel" if lost else "counted"
        time.sleep(POLL_SECONDS)
    return None


def _counted(daemon: Aegisd) -> int:
    """The number of requests that were accepted."""
    figures: Any = daemon.ingest(CLIENT_SECONDS)
    return int(figures["events"]["request"])

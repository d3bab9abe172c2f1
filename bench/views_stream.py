"""What a WebSocket client costs, beside Node's ws: a part of ``make bench-views``.

The daemon runs with its defaults, stores everything in its embedded Postgres, and lets as many
clients of one address connect as are needed. The crowd of clients is a process of its own.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
from attrs import define, field, frozen

from bench import events, machine, steady
from bench.daemon import REPOSITORY, Aegisd
from bench.measure import Load, begun, drive, sender
from bench.receiver import Failed, Receiver, wait_for
from bench.sender import write_frames

CLIENTS = 1000
NEVER = 100
PATH = "/ws/metrics"
INTERVAL = 1.0
WS_VERSION = "8"

SETTLING_SECONDS = 3.0
"""After the handshakes, whose cost is not an update's."""

INGEST_RATE = 50_000
LIST = 50
REALISTIC_RATE, ENDPOINTS, BACKENDS = 2000, 50, 20
REQUESTS_A_REPORT = 500
"""A backend reports after so many requests: each of 20, every 5 s at 2,000 a second."""

TOPICS = (
    *("overview", "requestRate", "latencyPercentiles", "statusDistribution"),
    *("topEndpoints", "backends"),
)
ALL = json.dumps({"type": "subscribe", "data": dict.fromkeys(TOPICS, True)})
ALL_DELTA = json.dumps({"type": "subscribe", "data": dict.fromkeys(TOPICS, True), "delta": True})


class Views(Aegisd):
    """The daemon, with room for the crowd."""

    def __init__(self, code: Path = REPOSITORY) -> None:
        super().__init__(stored=True, code=code)

    def environment(self) -> dict[str, str]:
        limit = {"AEGISD_DASHBOARD__WEBSOCKET__MAX_CONNECTIONS_PER_IP": str(2 * CLIENTS)}
        return super().environment() | limit

    def counted(self) -> int:
        super().counted()  # raises where some were refused
        return sum(self.ingest()["events"].values())


class NodeWs(Receiver):
    """Node's ws, broadcasting a text of ``size`` bytes."""

    name = "ws"
    settle_seconds = 0.0

    def __init__(self, package: Path, size: int) -> None:
        super().__init__()
        self.port = machine.free_port(socket.SOCK_STREAM)
        script = Path(__file__).with_name("ws_broadcast.js")
        milliseconds = round(INTERVAL * 1000)
        self._command = [
            *("node", str(script), str(package), str(self.port)),
            *(str(size), str(milliseconds)),
        ]

    def start(self) -> None:
        self.run(self._command, {"PATH": "/usr/local/bin:/usr/bin:/bin"})
        wait_for(self._listening, "node listens")

    def _listening(self) -> bool | None:
        self.alive()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0 or None

    def address(self, transport: str) -> str:
        raise NotImplementedError(transport)

    def counted(self) -> int:
        return 0


@frozen
class Crowd:
    """What a crowd got in a stretch of time, and what it cost the server."""

    clients: int
    seconds: float
    cpu: float
    updates: int
    received: int
    late: dict[str, float]  # p50, p99, max; in milliseconds

    @property
    def micros(self) -> float:
        """CPU for each update of each client, in microseconds."""
        return self.cpu * 1e6 / max(1, self.updates)

    @property
    def bytes_a_second(self) -> float:
        return self.received / self.seconds / self.clients


@define
class Results:
    """All results, by their names in the table."""

    crowds: dict[str, Crowd] = field(factory=dict)
    lost: str = ""
    shares: dict[str, tuple[float, float]] = field(factory=dict)  # CPU with, without the client
    bytes: dict[str, float] = field(factory=dict)
    problems: list[str] = field(factory=list)


@contextmanager
def crowd(port: int, clients: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A crowd that has connected."""
    command = [sys.executable, "-m", "bench.crowd", str(port), PATH]
    command += ["--clients", str(clients), *options]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
    try:
        assert process.stderr is not None
        said = process.stderr.readline().decode().strip()
        if said != "connected":
            raise Failed(f"the crowd: {said or 'it ended'}")
        yield process
    finally:
        process.kill()
        process.wait()


def watch(
    process: subprocess.Popen[bytes], receiver: Receiver, clients: int, seconds: float
) -> Crowd:
    """Count for so many seconds."""
    assert process.stdin is not None
    time.sleep(SETTLING_SECONDS)
    process.stdin.write(b"start\n")
    start, cpu = time.monotonic(), receiver.cpu()
    time.sleep(seconds)
    used, took = receiver.cpu() - cpu, time.monotonic() - start
    out, error = process.communicate(b"stop\n")
    if not out:
        lines = error.decode().strip().splitlines()
        raise Failed(f"the crowd: {lines[-1] if lines else 'it ended'}")
    said: dict[str, Any] = json.loads(out)
    late = {name: said[name] for name in ("p50", "p99", "max") if name in said}
    return Crowd(clients, took, used, said["updates"], said["bytes"], late)


@frozen
class Lengths:
    """The length of each kind of run, in seconds."""

    crowd: float
    ingest: float
    client: float
    repeats: int


FULL = Lengths(crowd=15, ingest=15, client=20, repeats=3)
QUICK = Lengths(crowd=5, ingest=5, client=6, repeats=1)


class Bench:
    """The runs. ``directory`` is for files that are made once."""

    def __init__(self, directory: Path, lengths: Lengths, code: Path) -> None:
        self._directory = directory
        self._lengths = lengths
        self._code = code
        self.results = Results()

    def run(self, parts: list[str]) -> None:
        """Run parts by name."""
        for part in parts:
            say(part)
            try:
                getattr(self, part)()
            except Failed as error:
                self.results.problems.append(f"{part}: {error}")

    def clients(self) -> None:
        """The crowd at the daemon and at ws, in turns; the cheapest of each counts."""
        package = self._package()
        for _ in range(self._lengths.repeats):
            with Views(self._code) as daemon:
                plain = self._crowd("aegisd", daemon, daemon.http_port, CLIENTS)
                self._crowd("aegisd, compressed", daemon, daemon.http_port, CLIENTS, "--deflate")
            size = round(plain.received / plain.updates) - 4  # without the frame's head
            if package is not None:
                with NodeWs(package, size) as node:
                    self._crowd("ws", node, node.port, CLIENTS)

    def never(self) -> None:
        """Some clients never read: what the others notice."""
        with Views(self._code) as daemon:
            port = daemon.http_port
            reading = CLIENTS - NEVER
            self._crowd("reading alone", daemon, port, reading)
            never = ("--never", str(NEVER), "--ask-never", ALL)
            self._crowd("beside some that never read", daemon, port, reading, *never)

    def ingest(self) -> None:
        """Events beside the crowd."""
        load = self._load("lists", lambda r: events.lists(r, LIST), LIST)
        with Views(self._code) as daemon, crowd(daemon.http_port, CLIENTS) as process:
            steady.prepare(daemon, load, INGEST_RATE / 5, 1)
            assert process.stdin is not None
            process.stdin.write(b"start\n")
            outcome = drive(daemon, load, INGEST_RATE, self._lengths.ingest)
            out, _ = process.communicate(b"stop\n")
            said = json.loads(out)
            late = {name: said[name] for name in ("p50", "p99", "max") if name in said}
            seconds = self._lengths.ingest
            self.results.crowds["beside the ingest"] = Crowd(
                CLIENTS, seconds, outcome.cpu, said["updates"], said["bytes"], late
            )
            self.results.lost = f"{outcome.lost:,} of {outcome.sent:,} at {outcome.rate:,.0f}/s"

    def client(self) -> None:
        """One client of all topics at a realistic load: bytes, and CPU with and without it."""
        load = self._load("realistic", _with_backends, 1, ENDPOINTS)
        kinds = {
            "delta, compressed": (ALL_DELTA, "--deflate"),
            "delta": (ALL_DELTA,),
            "whole, compressed": (ALL, "--deflate"),
            "whole": (ALL,),
        }
        seconds = self._lengths.client
        turns = len(kinds) * self._lengths.repeats * 2 * (seconds + SETTLING_SECONDS + 1)
        with Views(self._code) as daemon:
            steady.prepare(daemon, load, 10 * REALISTIC_RATE, 1)
            address = daemon.address(load.transport)
            with sender(address, load, turns + 10, REALISTIC_RATE, announce=True) as sending:
                begun(sending)
                time.sleep(SETTLING_SECONDS)
                for _ in range(self._lengths.repeats):
                    for name, (ask, *options) in kinds.items():
                        without = steady.window(daemon, seconds).cpu
                        with crowd(daemon.http_port, 1, "--ask", ask, *options) as process:
                            seen = watch(process, daemon, 1, seconds)
                        self.results.bytes[name] = seen.bytes_a_second
                        cost = (seen.cpu / seen.seconds, without)
                        best = self.results.shares.get(name, cost)
                        self.results.shares[name] = min(cost, best, key=lambda c: c[0] - c[1])
                sending.terminate()

    def _crowd(
        self, name: str, receiver: Receiver, port: int, clients: int, *options: str
    ) -> Crowd:
        with crowd(port, clients, *options) as process:
            seen = watch(process, receiver, clients, self._lengths.crowd)
        best = self.results.crowds.get(name, seen)
        self.results.crowds[name] = min(seen, best, key=lambda c: c.micros)
        return seen

    def _load(self, name: str, encode: Any, per_frame: int, endpoints: int = 200) -> Load:
        file = self._directory / f"{name}.npz"
        if not file.exists():
            write_frames(file, encode(events.make_requests(endpoints)))
        return Load(file, per_frame, "unix")

    def _package(self) -> Path | None:
        """The folder of ws, installed once into a folder of the run's own."""
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            self.results.problems.append("ws: node or npm is not installed here")
            return None
        command = [npm, "install", "--silent", "--no-save", "--prefix", str(self._directory)]
        done = subprocess.run([*command, f"ws@{WS_VERSION}"], capture_output=True, check=False)
        package = self._directory / "node_modules" / "ws"
        if done.returncode or not package.is_dir():
            self.results.problems.append("ws: npm could not install it")
            return None
        return package


def _with_backends(requests: events.Requests) -> list[bytes]:
    """One request a datagram, detailed, and between them reports of backends."""
    maps = events.maps(requests, detailed=True)
    reports = [
        msgpack.packb(
            {
                "kind": "backend",
                "backend_name": f"app-{n}:8080",
                "status": "healthy",
                "response_time_ms": 1.5 + n,
                "circuit_breaker": "closed",
            }
        )
        for n in range(BACKENDS)
    ]
    frames = []
    for number, event in enumerate(maps):
        if number % REQUESTS_A_REPORT == 0:
            frames.append(reports[number // REQUESTS_A_REPORT % BACKENDS])
        frames.append(event)
    return frames


def say(what: str) -> None:
    """Say on standard error what is measured now."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


__all__ = ["FULL", "QUICK", "Bench", "Crowd", "Lengths", "Results"]

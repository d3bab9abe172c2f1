"""Mutated datagrams at a live daemon: each is counted as it should be, and memory stays level.

They are sent in windows. The decoder in this process tells what becomes of a window; the daemon's
figures must grow by exactly that. So a failure names the window, and keeps its datagrams.
"""

import socket
import time
from bisect import bisect_right
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from attrs import Factory, define, frozen
from fuzz.mutate import Mutator
from fuzz.oracle import framed
from fuzz.seeds import seeds
from sample_events import MICROSECONDS, DecodedBurst, decoded_by, faults, keep_all_decoder
from support import Daemon, short_directory, wait_until

from aegisd.config.settings import Metrics

CONFIG = """
[ingest]
udp = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
[metrics]
enabled = false
"""

WINDOW = 10_000  # datagrams
UDP_EVERY = 5  # each fifth window goes over UDP

UDP_GROUP = 128
UDP_GROUP_BYTES = 65_536
"""As much is sent over UDP before the daemon has to have read it: the kernel's smallest usual
buffer (net.core.rmem_default, 208 KiB) holds that with its overhead, so nothing is dropped."""

UNSURE_SECONDS = 90
"""A datagram that is judged differently so much sooner or later is left out: which moment the
daemon reads it at is chance."""

MAX_AGE = Metrics().retention_days * 86_400 * MICROSECONDS

WARM = 200_000  # datagrams, after which the live state's places are taken

GROWTH_BYTES = 24 * 1024 * 1024
"""How much memory may grow behind them: endpoints' hours still fill, and the heap breaks up."""

FAILED = Path(".fuzz/window")


@define
class Counts:
    """What became of datagrams."""

    events: Counter[str] = Factory(Counter)
    rejected: Counter[str] = Factory(Counter)
    altered: int = 0
    datagrams: int = 0
    udp: int = 0
    bytes: int = 0

    def total(self) -> int:
        return self.events.total() + self.rejected.total()


@frozen
class Report:
    """A flood's figures. ``warm`` and ``end`` are the daemon's resident memory in bytes."""

    counts: Counts
    warm: int
    end: int

    def __str__(self) -> str:
        counts = self.counts
        rejected = ", ".join(f"{reason} {n:,}" for reason, n in counts.rejected.most_common())
        return (
            f"{counts.datagrams:,} datagrams ({counts.udp:,} over UDP; {counts.bytes:,} bytes): "
            f"{counts.events.total():,} events, {counts.rejected.total():,} rejects ({rejected}), "
            f"{counts.altered:,} altered; resident memory {self.warm >> 10:,} KiB -> "
            f"{self.end >> 10:,} KiB"
        )


class Flood:
    """Sends ``datagrams`` made from ``seed``, the memory being level after ``warm`` of them."""

    def __init__(self, daemon: Daemon, seed: int, datagrams: int, warm: int = WARM) -> None:
        self._daemon = daemon
        self._seed = seed
        self._datagrams = datagrams
        self._warm = warm
        self._counts = Counts()
        self._socket = daemon.sender()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host, port = self._listeners()[1]["address"].removeprefix("udp:").split(":")
        self._udp.connect((host, int(port)))

    def run(self) -> Report:
        """Send all; ``AssertionError`` where the daemon counts otherwise, grows, ends or fails."""
        warm = 0
        with self._socket, self._udp:
            for number in range(-(-self._datagrams // WINDOW)):
                if number * WINDOW <= self._warm:
                    warm = self._resident()
                self._window(number)
                if number % 10 == 9:
                    print(f"{self._counts.datagrams:,}: {self._resident() >> 10:,} KiB", flush=True)
        end = self._resident()
        assert self._daemon.fetch("/healthz")[0] == 200
        assert "Traceback" not in self._daemon.log(), self._daemon.log()
        assert "Warning" not in self._daemon.log(), self._daemon.log()
        assert end - warm <= GROWTH_BYTES, f"memory grew from {warm:,} to {end:,} bytes"
        return Report(self._counts, warm, end)

    def _window(self, number: int) -> None:
        size = min(WINDOW, self._datagrams - self._counts.datagrams)
        datagrams = self._drawn(Random(f"{self._seed}/{number}"), size)
        over_udp = number % UDP_EVERY == UDP_EVERY - 1
        try:
            if over_udp:
                self._send_over_udp(datagrams)
            else:
                for data in datagrams:
                    self._socket.send(data)
            self._counts.datagrams += len(datagrams)
            self._counts.udp += len(datagrams) * over_udp
            self._counts.bytes += sum(map(len, datagrams))
            wait_until(self._all_counted, f"all {self._counts.total():,} are counted")
            self._compare()
        except (AssertionError, OSError):
            FAILED.parent.mkdir(exist_ok=True)
            FAILED.write_bytes(framed(datagrams))
            print(f"window {number} of seed {self._seed}; its datagrams: {FAILED.resolve()}")
            raise

    def _drawn(self, dice: Random, size: int) -> list[bytes]:
        """Mutants whose fate doesn't hang on the moment; what becomes of them is added up."""
        now = time.time()
        mutator = Mutator(dice, seeds(now))
        drawn: list[bytes] = []
        while len(drawn) < size:
            burst = [mutator.message() for _ in range(min(1000, size - len(drawn)))]
            sooner, later = (_decoded(burst, now + d) for d in (-UNSURE_SECONDS, UNSURE_SECONDS))
            places = {at for at, *_ in {*faults(sooner)} ^ {*faults(later)}}
            unsure = {bisect_right(sooner.starts, at) - 1 for at in places}
            if unsure:
                burst = [data for i, data in enumerate(burst) if i not in unsure]
                later = _decoded(burst, now)
            self._add(later)
            drawn += burst
        return drawn

    def _add(self, decoded: DecodedBurst) -> None:
        for block in decoded.blocks:
            self._counts.events[block.kind] += block.size
        for reject in decoded.rejects:
            self._counts.rejected[str(reject.reason)] += len(reject.indexes)
        self._counts.altered += decoded.altered

    def _send_over_udp(self, datagrams: list[bytes]) -> None:
        sent = self._counts.udp
        waiting = nbytes = 0
        for data in datagrams:
            if waiting == UDP_GROUP or nbytes + len(data) > UDP_GROUP_BYTES:
                wait_until(lambda sent=sent: self._listeners()[1]["messages"] >= sent, "read")
                waiting = nbytes = 0
            self._udp.send(data)
            sent, waiting, nbytes = sent + 1, waiting + 1, nbytes + len(data)

    def _listeners(self) -> list[dict[str, Any]]:
        listeners: list[dict[str, Any]] = self._daemon.get("/api/ingest")["listeners"]
        return listeners

    def _all_counted(self) -> bool:
        assert self._daemon.process.poll() is None, f"the daemon ended: {self._daemon.log()}"
        ingest = self._daemon.get("/api/ingest")
        counted = sum(ingest["events"].values()) + sum(ingest["rejected"].values())
        messages = sum(listener["messages"] for listener in ingest["listeners"])
        return messages >= self._counts.datagrams and counted >= self._counts.total()

    def _compare(self) -> None:
        ingest, counts = self._daemon.get("/api/ingest"), self._counts
        unix, udp, _ = ingest["listeners"]
        assert udp["kernelDropped"] == 0
        assert (unix["messages"], udp["messages"]) == (counts.datagrams - counts.udp, counts.udp)
        assert unix["bytes"] + udp["bytes"] == counts.bytes
        assert +Counter(ingest["events"]) == counts.events
        assert +Counter(ingest["rejected"]) == counts.rejected
        assert ingest["altered"] == counts.altered
        assert ingest["disabled"] == 0

    def _resident(self) -> int:
        status = Path(f"/proc/{self._daemon.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


def _decoded(burst: list[bytes], now: float) -> DecodedBurst:
    return decoded_by(keep_all_decoder(MAX_AGE), burst, now)


def run(datagrams: int, seed: int) -> None:
    """Flood a daemon of our own and print what became of it."""
    print(f"seed {seed}", flush=True)
    with short_directory() as directory:
        daemon = Daemon(directory, CONFIG)
        try:
            daemon.start()
            print(Flood(daemon, seed, datagrams).run())
            assert daemon.stop() == 0, daemon.log()
        finally:
            daemon.kill()

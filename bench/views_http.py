"""Requests a second over kept connections, by wrk: a part of ``make bench-views``.

The daemon runs with its defaults and everything is stored. wrk and the daemon share the machine.
"""

import re
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from bench import events, steady
from bench.daemon import REPOSITORY, Aegisd
from bench.measure import Load, begun, sender
from bench.receiver import Failed
from bench.sender import write_frames
from bench.store_table import NONE, table

CONNECTIONS = 8
ENDPOINTS = 200
RATE = 1000
SETTLING_SECONDS = 7.0
"""A flush interval and a little: figures are in memory and in the database."""

BARS = {
    "/api/metrics/realtime": (3000, "10,000"),
    "/api/metrics/latency?range=15m": (1000, NONE),
    "/healthz": (None, NONE),
}
"""What is asked for: how many a second are to be reached, and the ambition."""

HEAD = "asked by wrk|beside it|a second|CPU µs a request|p99 ms|to reach|ambition|reached"


@frozen
class Row:
    """One path. ``rate`` is the requests that came in beside it, each a datagram, a second."""

    path: str
    rate: int
    answered: float  # a second
    micros: float  # of the daemon's CPU, for each
    p99_ms: float

    def cells(self) -> list[str]:
        """The row of the table."""
        bar, ambition = BARS[self.path]
        beside = f"{self.rate:,} events/s" if self.rate else "nothing"
        reached = NONE if bar is None or self.rate else "yes" if self.answered >= bar else "no"
        return [
            *(f"`{self.path}`", beside, f"{self.answered:,.0f}", f"{self.micros:.0f}"),
            *(f"{self.p99_ms:.1f}", NONE if bar is None else f"{bar:,}", ambition, reached),
        ]


def run(seconds: float, code: Path = REPOSITORY) -> list[Row]:
    """Ask each path for so long, without events and beside them. Raises Failed."""
    if shutil.which("wrk") is None:
        raise Failed("wrk is not installed here")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "maps.npz"
        requests = events.make_requests(ENDPOINTS)
        write_frames(file, events.maps(requests, detailed=True))
        load = Load(file, 1, "unix")
        with Aegisd(stored=True, code=code) as daemon:
            steady.prepare(daemon, load, RATE, 5.0)
            rows = []
            for rate in (0, RATE):
                with ExitStack() as stack:
                    if rate:
                        length = len(BARS) * (seconds + 1) + SETTLING_SECONDS
                        address = daemon.address(load.transport)
                        sending = sender(address, load, length, rate, announce=True)
                        begun(stack.enter_context(sending))
                    time.sleep(SETTLING_SECONDS)
                    rows += [_ask(daemon, path, rate, seconds) for path in BARS]
            return rows


def render(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return table(HEAD, [row.cells() for row in rows])


def _ask(daemon: Aegisd, path: str, rate: int, seconds: float) -> Row:
    url = f"http://127.0.0.1:{daemon.http_port}{path}"
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--latency"]
    cpu = daemon.cpu()
    done = subprocess.run(
        [*command, "--duration", f"{seconds:.0f}s", url],
        capture_output=True,
        text=True,
        check=False,
    )
    used = daemon.cpu() - cpu
    said = done.stdout
    answered = re.search(r"(\d+) requests in ([\d.]+)s", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    if done.returncode or answered is None or p99 is None or "Non-2xx" in said:
        raise Failed(f"{path}: wrk said {said or done.stderr}")
    count = int(answered[1])
    in_ms = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    return Row(path, rate, count / float(answered[2]), 1e6 * used / count, float(p99[1]) * in_ms)


if __name__ == "__main__":
    print(render(run(5.0)))

"""aegisd on a database given by its DSN, and the rate at which it stores."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from attrs import frozen

from bench.daemon import REPOSITORY, Aegisd
from bench.measure import Load
from bench.receiver import Failed, fetch, wait_for

FLUSH_MILLISECONDS = 100
"""``metrics.flush_interval_ms``: the last rows, fewer than a batch, wait for it."""

AWAY = "postgresql://nobody@/none?host=/nonexistent"
"""A database that does not exist."""

JOURNALED, UNJOURNALED = "aegisd", "bench.unjournaled"

CONFIG = """
node = "bench"
[ingest]
udp = "127.0.0.1:{udp}"
[http]
listen = "127.0.0.1:{http}"
[metrics]
flush_interval_ms = {flush}
[storage]
dsn = "{dsn}"
"""

STORED_SECONDS = 600
"""The time-out; ten million rows take less."""


class Storing(Aegisd):
    """The daemon on the database ``dsn``; it may be stopped and started again on another one."""

    def __init__(self, dsn: str, module: str = JOURNALED) -> None:
        super().__init__(stored=True)
        self.dsn = dsn
        self._module = module

    def start(self) -> None:
        """Start it; wait until it receives and, if its database is up, stores."""
        config = self.directory / "aegisd.toml"
        config.write_text(
            CONFIG.format(udp=self._udp, http=self._http, flush=FLUSH_MILLISECONDS, dsn=self.dsn)
        )
        command = [sys.executable, "-m", self._module, "run", "--config", str(config)]
        self.run(command, self.environment())
        wait_for(self._started, "aegisd is ready")

    def _started(self) -> bool | None:
        self.alive()
        if fetch(f"http://127.0.0.1:{self._http}/api/status") is None:
            return None
        return self.dsn == AWAY or self.status()["database"]["connected"] or None

    def wait_stored(self, rows: int) -> float:
        """Wait until it has committed ``rows`` since its start; return the time of the last."""

        def done() -> bool | None:
            self.counted()  # raises Failed if some were dropped
            self.alive()
            return self.status()["flush"]["rows"] >= rows or None

        wait_for(done, f"{rows:,} rows are committed", STORED_SECONDS)
        flush = self.status()["flush"]
        if flush["rows"] != rows:
            raise Failed(f"{flush['rows']:,} rows for {rows:,} requests")
        return datetime.fromisoformat(flush["lastAt"]).timestamp()


@frozen
class Committed:
    """Rows from socket to COMMIT. Times are seconds."""

    rows: int
    seconds: float  # from the first message sent to the last row committed
    sent_seconds: float  # until the last message was taken
    cpu: float  # the daemon's
    waiting: int  # events not committed when the last message was taken

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def micros(self) -> float:
        """The daemon's CPU for each row."""
        return self.cpu * 1e6 / self.rows


def send(
    address: str, load: Load, rows: int, rate: float | None = None
) -> tuple[int, float, float]:
    """Send ``rows`` requests, flat out or at ``rate``; return count, start, end (Unix time)."""
    command = [sys.executable, "-m", "bench.sender", address, str(load.file)]
    if rate is None:
        command += ["--seconds", str(STORED_SECONDS), "--count", str(rows // load.per_frame)]
    else:
        command += ["--seconds", str(rows / rate), "--rate", str(rate / load.per_frame)]
    with _ended(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        end = time.time()
    if not line:
        raise Failed("the sender failed")
    said = json.loads(line)
    return said["taken"] * load.per_frame, end - said["seconds"], end


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def commit(daemon: Storing, load: Load, rows: int, rate: float | None = None) -> Committed:
    """Send and wait until all is committed. The sender waits when the daemon is behind."""
    before, cpu = daemon.stored() or 0, daemon.cpu()
    sent, start, taken = send(daemon.address(load.transport), load, rows, rate)
    waiting = daemon.status()["journal"]["events"]
    end = daemon.wait_stored(before + sent)
    return Committed(sent, end - start, taken - start, daemon.cpu() - cpu, waiting)


@frozen
class Acknowledged:
    """The result of the stream's client."""

    messages: int
    events: int  # in each message
    seconds: float
    busy: float  # the client's share of one core
    micros: float  # CPU of the daemon for each event


def acknowledge(
    daemon: Aegisd, lists: Path, events: int, connections: int, depth: int, seconds: float
) -> Acknowledged:
    """Send lists of ``events``, encoded in a file, over the stream until all are answered."""
    numbers = {"events": events, "connections": connections, "depth": depth, "seconds": seconds}
    command = [sys.executable, "-m", "bench.acknowledging", str(daemon.stream), str(lists)]
    command += [word for name, n in numbers.items() for word in (f"--{name}", str(n))]
    cpu = daemon.cpu()
    done = subprocess.run(command, capture_output=True, cwd=REPOSITORY, check=False)
    used = daemon.cpu() - cpu
    if done.returncode:
        raise Failed(f"the stream's client: {done.stderr.decode().strip()}")
    said = json.loads(done.stdout)
    sent = said["messages"] * events
    if (counted := daemon.counted()) != sent:
        raise Failed(f"{counted:,} events counted, {sent:,} acknowledged")
    busy = said["cpu"] / said["seconds"]
    return Acknowledged(said["messages"], events, said["seconds"], busy, used * 1e6 / sent)

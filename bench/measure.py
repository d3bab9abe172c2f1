"""One measurement: a sender, a receiver, and what became of the requests."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from bench import machine
from bench.receiver import Failed, Receiver, wait_for

EVEN_RATE = 100_000
"""Requests a second at which all receivers are compared, whatever the form."""

OWN_SHARE = 0.7
"""Each receiver is also measured at this share of its own highest rate."""

BURST_SECONDS = 0.001
MAX_BURST = 64
"""A paced sender sends what is due each millisecond at once, but never more datagrams than this:
a socket with the kernel's default buffer (212,992 bytes) holds some 270 small ones."""

SENDER_LIMIT = 0.93
"""The sender was the limit if it was busy for more, or kept less of its pace, than this share."""

REPEATS = 2
"""Runs of which the least CPU counts: other work on the machine only adds to it."""

SETTLED_SECONDS = 10
STORED_SECONDS = 90
POLL_SECONDS = 0.1


@frozen
class Load:
    """Encoded requests: the file of frames, how many requests are in each, and the transport."""

    file: Path
    per_frame: int
    transport: str


@frozen
class Outcome:
    """The result of one run of the sender. Counts are requests, times seconds."""

    sent: int
    refused: int
    lost: int  # refused, dropped by the kernel or the receiver
    seconds: float
    sender_busy: float
    cpu: float = 0.0
    database_cpu: float = 0.0

    @property
    def lost_share(self) -> float:
        return self.lost / max(1, self.sent + self.refused)

    @property
    def rate(self) -> float:
        return (self.sent + self.refused) / self.seconds

    @property
    def micros(self) -> float:
        """The receiver's CPU for each request that it handled, in microseconds."""
        return self.cpu * 1e6 / max(1, self.sent + self.refused - self.lost)

    @property
    def database_micros(self) -> float:
        return self.database_cpu * 1e6 / max(1, self.sent + self.refused - self.lost)


@contextmanager
def sender(
    address: str,
    load: Load,
    seconds: float,
    rate: float | None,
    burst: int | None = None,
    *,
    nonblocking: bool = False,
    announce: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """The sender as a process. ``rate`` is in requests a second; without it, flat out.

    With ``announce``, ``begun`` returns when it begins.
    """
    command = [sys.executable, "-m", "bench.sender", address, str(load.file)]
    command += ["--seconds", str(seconds)]
    if rate is not None:
        frames = rate / load.per_frame
        burst = burst or max(1, min(MAX_BURST, round(frames * BURST_SECONDS)))
        command += ["--rate", str(frames), "--burst", str(burst)]
    if nonblocking:
        command.append("--nonblocking")
    if announce:
        command.append("--announce")
    pipe = subprocess.PIPE  # unbuffered: reading a line reads no further
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def begun(process: subprocess.Popen[bytes]) -> None:
    """Wait until the sender begins; if it fails instead, ``finished`` says why."""
    assert process.stderr is not None
    process.stderr.readline()


def finished(process: subprocess.Popen[bytes], load: Load, receiver: Receiver) -> Outcome:
    """Wait for the sender's end; return what the kernel took and refused, with no other loss."""
    out, error = process.communicate()
    receiver.alive()
    if process.returncode:
        lines = error.decode().strip().splitlines()
        raise Failed(f"the sender failed: {lines[-1] if lines else 'it said nothing'}")
    said = json.loads(out)
    refused = said["refused"] * load.per_frame
    return Outcome(
        sent=said["taken"] * load.per_frame,
        refused=refused,
        lost=refused,
        seconds=said["seconds"],
        sender_busy=said["cpu"] / said["seconds"],
    )


def drive(
    receiver: Receiver,
    load: Load,
    rate: float | None,
    seconds: float,
    burst: int | None = None,
    *,
    nonblocking: bool = False,
) -> Outcome:
    """Send for ``seconds`` and wait until all is handled; return the loss and the CPU."""
    address = receiver.address(load.transport)
    counted, dropped = receiver.counted(), _dropped(address)
    cpu, database = receiver.cpu(), receiver.database_cpu()
    with sender(address, load, seconds, rate, burst, nonblocking=nonblocking) as process:
        sent = finished(process, load, receiver)
    _drained(address)
    time.sleep(receiver.settle_seconds)
    arrived = sent.sent - (_dropped(address) - dropped) * load.per_frame
    used, database_used = receiver.cpu() - cpu, receiver.database_cpu() - database
    handled = receiver.counted() - counted
    deadline = time.monotonic() + SETTLED_SECONDS
    while handled < arrived and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        used, database_used = receiver.cpu() - cpu, receiver.database_cpu() - database
        handled = receiver.counted() - counted
    if not handled:
        raise Failed("nothing was counted")
    return Outcome(
        sent=sent.sent,
        refused=sent.refused,
        lost=sent.sent + sent.refused - handled,
        seconds=sent.seconds,
        sender_busy=sent.sender_busy,
        cpu=used,
        database_cpu=database_used,
    )


def cheapest(receiver: Receiver, load: Load, rate: float, seconds: float) -> Outcome:
    """Of the runs with the least loss, the one with the least CPU a request."""
    runs = [drive(receiver, load, rate, seconds) for _ in range(REPEATS)]
    return min(runs, key=lambda outcome: (outcome.lost, outcome.micros))


def drops(receiver: Receiver, load: Load, rate: float | None, seconds: float) -> Outcome:
    """Send over UDP; return what the kernel dropped."""
    address = receiver.address(load.transport)
    dropped = _dropped(address)
    with sender(address, load, seconds, rate) as process:
        sent = finished(process, load, receiver)
    _drained(address)
    lost = (_dropped(address) - dropped) * load.per_frame
    return Outcome(sent.sent, sent.refused, sent.refused + lost, sent.seconds, sent.sender_busy)


@frozen
class Stored:
    """Storing while receiving: ``rate`` is the rows committed a second.

    ``limited`` if the sender kept its pace and the database was never behind: the limit is higher.
    """

    rate: float
    limited: bool
    outcome: Outcome


def store(receiver: Receiver, load: Load, rate: float, seconds: float, batch: int) -> Stored:
    """Send at ``rate`` for ``seconds``, and wait until all is committed.

    The last ``batch`` requests are left out of the rate: they wait for the flush interval.
    """
    address = receiver.address(load.transport)
    counted, before, dropped = receiver.counted(), receiver.stored() or 0, _dropped(address)
    cpu, database = receiver.cpu(), receiver.database_cpu()
    with sender(address, load, seconds, rate) as process:
        sent = finished(process, load, receiver)
    ended = time.monotonic()
    arrived = sent.sent - (_dropped(address) - dropped) * load.per_frame

    def committed(least: int) -> int | None:
        done = (receiver.stored() or 0) - before
        receiver.counted()  # raises Failed if some were dropped
        return done if done >= least else None

    nearly = wait_for(lambda: committed(max(1, arrived - batch)), "it is stored", STORED_SECONDS)
    late = time.monotonic() - ended
    wait_for(lambda: committed(arrived), "all is stored", STORED_SECONDS)
    outcome = Outcome(
        sent=sent.sent,
        refused=sent.refused,
        lost=sent.sent + sent.refused - (receiver.counted() - counted),
        seconds=sent.seconds,
        sender_busy=sent.sender_busy,
        cpu=receiver.cpu() - cpu,
        database_cpu=receiver.database_cpu() - database,
    )
    if late > 2 * POLL_SECONDS:
        return Stored(nearly / (sent.seconds + late), limited=False, outcome=outcome)
    return Stored(outcome.rate, outcome.rate > SENDER_LIMIT * rate, outcome)


def _port(address: str) -> int | None:
    return int(address.rpartition(":")[2]) if address.startswith("udp:") else None


def _dropped(address: str) -> int:
    port = _port(address)
    return 0 if port is None else machine.udp_queue(port)[1]


def _drained(address: str) -> None:
    port = _port(address)
    if port is not None:
        wait_for(lambda: machine.udp_queue(port)[0] == 0 or None, "the socket is drained")

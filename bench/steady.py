"""A steady load, or none: the CPU and the memory that a receiver takes meanwhile."""

import subprocess
import sys
import time

from attrs import frozen

from bench import machine
from bench.daemon import FLUSH_SECONDS, Aegisd
from bench.measure import POLL_SECONDS, SETTLED_SECONDS, Load, Outcome, begun, finished, sender
from bench.receiver import Failed, Receiver, wait_for

WARM_SECONDS = 0.5
TAIL_SECONDS = 0.3
"""The sender goes on for so long behind the window, lest the window sees its end."""

STORED_SECONDS = 60
REPORT_SECONDS = 60

MEGABYTE = 1_000_000


@frozen
class Share:
    """CPU seconds a second: the receiver's and its database's share of one core."""

    cpu: float
    database: float


@frozen
class Steady:
    """What a load led to. ``batches`` are the flushes in an interval, where that is known."""

    share: Share
    sent: int
    lost: int
    rate: float
    batches: float | None


def window(receiver: Receiver, seconds: float) -> Share:
    """The CPU taken from now on, for some seconds."""
    start, cpu, database = time.monotonic(), receiver.cpu(), receiver.database_cpu()
    time.sleep(seconds)
    end, cpu_then, database_then = time.monotonic(), receiver.cpu(), receiver.database_cpu()
    # processes of the database that ended meanwhile take their CPU along
    return Share(
        (cpu_then - cpu) / (end - start), max(0.0, database_then - database) / (end - start)
    )


def measure(receiver: Receiver, load: Load, rate: float, seconds: float) -> Steady:
    """Send at ``rate``; the CPU of ``seconds`` in the midst of it."""
    counted, batches, start = receiver.counted(), _batches(receiver), time.monotonic()
    address, sending = receiver.address(load.transport), WARM_SECONDS + seconds + TAIL_SECONDS
    with sender(address, load, sending, rate, announce=True) as process:
        begun(process)
        time.sleep(WARM_SECONDS)
        share = window(receiver, seconds)
        sent = finished(process, load, receiver)
    lost = sent.sent + sent.refused - _handled(receiver, counted, sent.sent)
    flushed = None
    if batches is not None:
        then = _batches(receiver) or 0
        flushed = (then - batches) / (time.monotonic() - start) * FLUSH_SECONDS
    return Steady(share, sent.sent + sent.refused, lost, sent.rate, flushed)


def prepare(receiver: Receiver, load: Load, rate: float, seconds: float) -> None:
    """Send for a while, and wait until all is done: what is done once is done then."""
    counted = receiver.counted()
    with sender(receiver.address(load.transport), load, seconds, rate) as process:
        sent = finished(process, load, receiver)
    _handled(receiver, counted, sent.sent)
    if receiver.stored() is not None:
        wait_stored(receiver)


def wait_stored(receiver: Receiver) -> int:
    """Wait until all that was counted is committed; how many rows that is. Raises Failed."""
    counted = receiver.counted()

    def done() -> int | None:
        receiver.alive()
        stored = receiver.stored() or 0
        return stored if stored >= counted else None

    stored = wait_for(done, f"{counted:,} rows are committed", STORED_SECONDS)
    if stored != counted:
        raise Failed(f"{stored:,} rows committed for {counted:,} events")
    return stored


def _handled(receiver: Receiver, before: int, sent: int) -> int:
    """How many were counted, once that are all that were sent or nothing more is to come."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while (handled := receiver.counted() - before) < sent and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return handled


def _batches(receiver: Receiver) -> int | None:
    if not isinstance(receiver, Aegisd):
        return None
    return int(receiver.status()["flush"]["batches"])


@frozen
class Soak:
    """A long load, and the memory of the daemon's process in bytes, each minute."""

    sent: int
    lost: int
    seconds: float
    resident: list[int]


def soak(daemon: Aegisd, load: Load, rate: float, seconds: float) -> Soak:
    """Send for so long; the memory is told on standard error as it is read."""
    resident = [_resident(daemon, 0)]
    counted = daemon.counted()
    with sender(daemon.address(load.transport), load, seconds, rate, announce=True) as process:
        begun(process)
        start = time.monotonic()
        while True:
            try:
                process.wait(REPORT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                daemon.alive()
                resident.append(_resident(daemon, time.monotonic() - start))
        sent: Outcome = finished(process, load, daemon)
    lost = sent.sent + sent.refused - _handled(daemon, counted, sent.sent)
    resident.append(_resident(daemon, sent.seconds))
    return Soak(sent.sent + sent.refused, lost, sent.seconds, resident)


def _resident(daemon: Aegisd, seconds: float) -> int:
    found = 0 if daemon.process is None else machine.resident_bytes(daemon.process.pid)
    print(f"after {seconds:,.0f} s {found / MEGABYTE:.1f} MB are resident", file=sys.stderr)
    return found

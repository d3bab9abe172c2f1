"""CPU and memory of a receiver under a steady load, or without load."""

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
"""The sender goes on for so long after the window, so that its end is outside."""

STORED_SECONDS = 60
REPORT_SECONDS = 60

MEGABYTE = 1_000_000


@frozen
class Share:
    """The receiver's and its database's share of one core: CPU seconds a second."""

    cpu: float
    database: float


@frozen
class Steady:
    """The result of a load. ``batches`` are the flushes in an interval, if known."""

    share: Share
    sent: int
    lost: int
    rate: float
    batches: float | None


def window(receiver: Receiver, seconds: float) -> Share:
    """The CPU used during the next seconds."""
    start, cpu, database = time.monotonic(), receiver.cpu(), receiver.database_cpu()
    time.sleep(seconds)
    end, cpu_then, database_then = time.monotonic(), receiver.cpu(), receiver.database_cpu()
    # the CPU of database processes that ended meanwhile is missing
    return Share(
        (cpu_then - cpu) / (end - start), max(0.0, database_then - database) / (end - start)
    )


def measure(receiver: Receiver, load: Load, rate: float, seconds: float) -> Steady:
    """Send at ``rate``; return the CPU of ``seconds`` in the middle."""
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
    """Send for a while and wait until all is handled, so that one-time work is done."""
    counted = receiver.counted()
    with sender(receiver.address(load.transport), load, seconds, rate) as process:
        sent = finished(process, load, receiver)
    _handled(receiver, counted, sent.sent)
    if receiver.stored() is not None:
        wait_stored(receiver)


def wait_stored(receiver: Receiver) -> int:
    """Wait until every counted event is committed; return the rows. Raises Failed."""
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
    """The count; wait until it is all that was sent, for SETTLED_SECONDS at most."""
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
    """Send for so long; print the memory to standard error each minute."""
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

"""Rounds: the daemon is killed under load, at a named point or at any moment, and started again."""

import os
import signal
import sys
import threading
from pathlib import Path
from random import Random

from support import Daemon
from torture.outcome import Outcome, outcome, wait_until_stored
from torture.points import POINTS
from torture.sources import sending

TESTS = Path(__file__).parents[1]
ANY_MOMENT = "at any moment"
MOMENTS_SECONDS = 0.5  # within which any moment lies
MOST_PASSES = 12  # of a point, before the daemon is killed at it
POINT_SECONDS = 120.0

CONFIG = """
[ingest]
udp = ""
[http]
listen = "127.0.0.1:0"
[metrics]
flush_interval_ms = 20
[storage]
journal_sync_ms = 20
"""


def plan(rounds: int, random: Random) -> list[str]:
    """Where each round's daemon is killed: 7 of 10 at the points in turn, the others anywhere."""
    names = list(POINTS)
    turns = [names[i % len(names)] for i in range(rounds * 7 // 10)]
    turns += [ANY_MOMENT] * (rounds - len(turns))
    random.shuffle(turns)
    return turns


def crash(dsn: str, directory: Path, points: list[str], random: Random) -> Outcome:
    """Kill a daemon at each of the points in turn; then count what is in its database."""
    daemon = Daemon(
        directory,
        CONFIG,
        {"AEGISD_STORAGE__DSN": dsn, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        with sending(daemon.runtime / "stream.sock", random) as sources:
            for point in points:
                _start(daemon, point, random.randint(1, MOST_PASSES))
                _wait_for_its_end(daemon, point, random)
                sources.check()
            _start(daemon, "never", 0)
            sources.finish()
        wait_until_stored(daemon)
        written, acknowledged = sources.written, sources.acknowledged
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.kill()
    return outcome(dsn, written, acknowledged, len(points))


def _start(daemon: Daemon, point: str, count: int) -> None:
    try:
        daemon.start(sys.executable, "-m", "torture.points", point, str(count))
    except AssertionError:
        assert daemon.process is not None
        if daemon.process.poll() != -signal.SIGKILL:  # the point may come before it is ready
            raise


def _wait_for_its_end(daemon: Daemon, point: str, random: Random) -> None:
    assert daemon.process is not None
    if point == ANY_MOMENT:
        kill = threading.Timer(random.random() * MOMENTS_SECONDS, daemon.process.kill)
        kill.start()
    code = daemon.process.wait(POINT_SECONDS)
    assert code == -signal.SIGKILL, f"{point}: ended with {code}: {daemon.log()}"


def seed() -> int:
    """The seed that was asked for, or a new one."""
    return int(os.environ.get("TORTURE_SEED") or Random().randrange(2**32))

"""Rounds: frames that are no messages stand beside good ones, and their senders connect again.

A round is one such frame. The good frames behind it are sent over another connection at the same
time, so that the daemon takes both together.
"""

import sys
from pathlib import Path
from random import Random

from support import Daemon, wait_until
from torture.crashes import CONFIG, TESTS
from torture.outcome import Outcome, outcome, wait_until_stored
from torture.sources import sending

RUDENESS = 0.3
SOURCES = 16
"""So many that the daemon is busy with others' frames when both connections' come."""


def blunders(dsn: str, directory: Path, rounds: int, random: Random) -> Outcome:
    """Have so many of them sent; then count what is in the database."""
    daemon = Daemon(
        directory,
        CONFIG,
        {"AEGISD_STORAGE__DSN": dsn, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        daemon.start(sys.executable, "-m", "torture.points", "never", "0")
        socket = daemon.runtime / "stream.sock"
        with sending(socket, random, SOURCES, RUDENESS) as sources:

            def enough() -> bool:
                sources.check()
                return sources.unreadable >= rounds

            wait_until(enough, f"{rounds} frames that are no messages are sent", 600)
            sources.finish()
        wait_until_stored(daemon)
        written, acknowledged = sources.written, sources.acknowledged
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.kill()
    return outcome(dsn, written, acknowledged, sources.unreadable)

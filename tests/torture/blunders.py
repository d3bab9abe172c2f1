"""Rounds: a frame that is no message stands between good ones, and its sender connects again.

The good frames behind it are sent again over another connection at the same time, so that the
daemon takes the frames of both connections in one group.
"""

import sys
from pathlib import Path
from random import Random

from support import Daemon, wait_until
from torture.crashes import CONFIG, TESTS
from torture.outcome import Outcome, outcome, wait_until_stored
from torture.sources import sending

MALFORMED_SHARE = 0.3  # of the frames
SOURCES = 16
"""Enough to keep the daemon busy with other frames while those of both connections arrive."""


def blunders(dsn: str, directory: Path, rounds: int, random: Random) -> Outcome:
    """Have so many such frames sent; then count what is in the database."""
    daemon = Daemon(
        directory,
        CONFIG,
        {"AEGISD_STORAGE__DSN": dsn, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        daemon.start(sys.executable, "-m", "torture.points", "never", "0")
        socket = daemon.runtime / "stream.sock"
        with sending(socket, random, SOURCES, MALFORMED_SHARE) as sources:

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

"""Rounds: the daemon's clock steps, while it runs and while it is down.

``python -m torture.clocks FILE python -m aegisd …`` is a daemon whose wall clock is off by the
seconds that FILE holds. Its steady clock is the machine's, and so is the database's clock.
"""

import signal
import sys
import threading
import time
from pathlib import Path
from random import Random

from support import Daemon
from torture.crashes import CONFIG, TESTS
from torture.outcome import Outcome, outcome, wait_until_stored
from torture.points import SEGMENT_BYTES
from torture.sources import sending

from aegisd import cli
from aegisd.store.journal import journal

STEPS = (0, 1, -1, 60, -60, 3600, -3600, 90_000, -90_000)
"""Seconds; 90,000 are more than the day that a source's mark is kept for."""

LONGEST_SECONDS = 0.3  # of a round
KILLS = 0.2  # of the rounds end with SIGKILL and another start


def clock_steps(dsn: str, directory: Path, rounds: int, random: Random) -> Outcome:
    """Set the clock so many times; then count what is in the database."""
    offset = directory / "offset"
    offset.write_text("0")
    daemon = Daemon(
        directory,
        CONFIG,
        {"AEGISD_STORAGE__DSN": dsn, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    command = (sys.executable, "-m", "torture.clocks", str(offset))
    pause = threading.Event()
    try:
        daemon.start(*command)
        with sending(daemon.runtime / "stream.sock", random) as sources:
            for _ in range(rounds):
                pause.wait(random.random() * LONGEST_SECONDS)
                if random.random() < KILLS:
                    assert daemon.process is not None
                    daemon.process.send_signal(signal.SIGKILL)
                    daemon.process.wait(60)
                    set_clock(offset, random.choice(STEPS))
                    daemon.start(*command)
                else:
                    set_clock(offset, random.choice(STEPS))
                sources.check()
            sources.finish()
        wait_until_stored(daemon)
        written, acknowledged = sources.written, sources.acknowledged
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.kill()
    return outcome(dsn, written, acknowledged, rounds)


def set_clock(offset: Path, seconds: int) -> None:
    """Have the daemon's clock off by so many seconds, from one moment to the next."""
    fresh = offset.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.rename(offset)


def main() -> int:
    file, _python, _m, _aegisd, *arguments = sys.argv[1:]
    journal.SEGMENT_BYTES = SEGMENT_BYTES
    right, right_ns = time.time, time.time_ns

    def off() -> int:
        with open(file) as there:
            return int(there.read())

    time.time = lambda: right() + off()
    time.time_ns = lambda: right_ns() + off() * 1_000_000_000
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())

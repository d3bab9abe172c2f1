"""The daemon's clock is set, by up to more than a day, while it runs and while it is down."""

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from support import Daemon, wait_until
from torture.clocks import clock_steps, set_clock
from torture.crashes import CONFIG, TESTS, seed

ROUNDS = 20


def test_clock_step_loses_and_doubles_no_event(dsn: str, directory: Path) -> None:
    number = seed()
    print(f"TORTURE_SEED={number}")
    result = clock_steps(dsn, directory, ROUNDS, Random(number))
    print(result)
    assert result.acknowledged == result.events
    assert (result.lost, result.doubled) == (0, 0)


def test_datagrams_are_stored_once_while_the_clock_steps_an_hour(
    dsn: str, directory: Path, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    offset = directory / "offset"
    set_clock(offset, 0)
    daemon = Daemon(directory, CONFIG, {"AEGISD_STORAGE__DSN": dsn, "PYTHONPATH": str(TESTS)})
    try:
        daemon.start(sys.executable, "-m", "torture.clocks", str(offset))
        for number in range(28):
            set_clock(offset, [0, 3600, 0, -3600][number % 4])
            paths = [f"/{number}/{i}" for i in range(400)]
            daemon.emit(*({"method": "GET", "path": p, "status_code": 200} for p in paths))
        daemon.wait_for_events(11_200)
        wait_until(lambda: not daemon.get("/api/status")["journal"]["events"], "all is stored")
        counts = rows("SELECT count(*), count(DISTINCT path) FROM request_metrics")
        assert counts == [(11_200, 11_200)]
    finally:
        daemon.kill()

"""The daemon is killed under load, again and again: every event is in Postgres, and once."""

from pathlib import Path
from random import Random

from torture.crashes import crash, plan, seed

ROUNDS = 20


def test_daemon_killed_at_any_crash_point_loses_and_doubles_no_event(
    dsn: str, directory: Path
) -> None:
    number = seed()
    print(f"TORTURE_SEED={number}")
    random = Random(number)
    result = crash(dsn, directory, plan(ROUNDS, random), random)
    print(result)
    assert result.rounds == ROUNDS
    assert result.acknowledged == result.events
    assert (result.lost, result.doubled) == (0, 0)

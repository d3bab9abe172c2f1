"""Postgres dies, or the line to it breaks, while sources send: every event is stored, and once."""

from pathlib import Path
from random import Random

from torture.breaks import KINDS, breaks, deaths
from torture.crashes import seed
from torture.outcome import Outcome


def test_a_line_that_breaks_at_any_byte_and_around_commit_loses_and_doubles_nothing(
    dsn: str, directory: Path
) -> None:
    assert_exactly_once(breaks(dsn, directory, 2 * len(KINDS), seeded()))


def test_a_postgres_that_is_killed_with_all_its_processes_loses_and_doubles_nothing(
    directory: Path,
) -> None:
    assert_exactly_once(deaths(directory, 2, seeded()))


def seeded() -> Random:
    number = seed()
    print(f"TORTURE_SEED={number}")
    return Random(number)


def assert_exactly_once(result: Outcome) -> None:
    print(result)
    assert result.acknowledged == result.events
    assert (result.lost, result.doubled) == (0, 0)

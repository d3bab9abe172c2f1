"""Postgres dies, or the line to it breaks, while sources send: every event is stored, and once."""

from pathlib import Path
from random import Random

from torture.breaks import KINDS, breaks, deaths
from torture.crashes import seed
from torture.outcome import Outcome


def test_database_connection_cut_at_any_byte_loses_and_doubles_no_event(
    dsn: str, directory: Path
) -> None:
    assert_exactly_once(breaks(dsn, directory, 2 * len(KINDS), seeded()))


def test_killed_postgres_loses_and_doubles_no_event(
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

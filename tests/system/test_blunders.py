"""Frames that are no messages, beside good ones that are sent again at the same time."""

from pathlib import Path
from random import Random

from torture.blunders import blunders
from torture.crashes import seed

ROUNDS = 200


def test_frames_beside_an_unreadable_one_are_stored_once(dsn: str, directory: Path) -> None:
    number = seed()
    print(f"TORTURE_SEED={number}")
    result = blunders(dsn, directory, ROUNDS, Random(number))
    print(result)
    assert result.rounds >= ROUNDS
    assert result.acknowledged == result.events
    assert (result.lost, result.doubled) == (0, 0)

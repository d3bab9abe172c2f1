"""The power is cut under load, on a disk that forgets: every acknowledged event is stored, once."""

from pathlib import Path
from random import Random

import pytest
from streams import Stream
from support import wait_until
from torture.crashes import seed
from torture.power import cut, disk, missing, on_disk, power_cuts, start

ROUNDS = 6
EVENT = {"method": "GET", "path": "/", "status_code": 200}


pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no power can be cut: {missing()}")


def test_power_cut_loses_and_doubles_no_acknowledged_event(dsn: str, directory: Path) -> None:
    number = seed()
    print(f"TORTURE_SEED={number}")
    result = power_cuts(dsn, directory, ROUNDS, Random(number))
    print(result)
    assert result.acknowledged == result.events
    assert (result.lost, result.doubled) == (0, 0)


def test_marks_outlive_their_segments(dsn: str, directory: Path) -> None:
    """The old segments are deleted when all in them is stored, long before a sync is due."""
    mountpoint = directory / "disk"
    with disk(mountpoint, 0):
        daemon = on_disk(dsn, directory, mountpoint, STORAGE__JOURNAL_SYNC_MS="3600000")
        try:
            start(daemon)
            message = {"source": "s", "seq": 0, "events": [EVENT]}
            with Stream(daemon.runtime / "stream.sock") as stream:
                assert stream.ask(message)["accepted"] == 1
            (told,) = (mountpoint / "journal").glob("*.segment")
            for number in range(300):
                daemon.emit([EVENT | {"path": f"/{number}/{i}"} for i in range(100)])
            daemon.wait_for_rows(30_001)
            wait_until(lambda: not told.exists(), "its segment is deleted")
            cut(mountpoint, daemon, keeps="names")
            start(daemon)
            with Stream(daemon.runtime / "stream.sock") as stream:
                assert stream.ask(message)["duplicate"]
        finally:
            daemon.kill()

"""What the database holds, against what was sent."""

import asyncio

from attrs import define
from support import Daemon, query, wait_until

STORED = """
SELECT split_part(path, '/', 2), count(*), count(DISTINCT path) FROM request_metrics GROUP BY 1
"""


@define
class Outcome:
    """Sums over rounds."""

    rounds: int = 0
    events: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0

    def add(self, other: "Outcome") -> None:
        self.rounds += other.rounds
        self.events += other.events
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.doubled += other.doubled

    @property
    def is_good(self) -> bool:
        return not self.lost and not self.doubled

    def __str__(self) -> str:
        return (
            f"rounds {self.rounds} events {self.events} acknowledged {self.acknowledged}"
            f" lost {self.lost} doubled {self.doubled}"
        )


def wait_until_stored(daemon: Daemon) -> None:
    """Until nothing waits in the journal."""
    wait_until(
        lambda: daemon.get("/api/status")["journal"]["events"] == 0, "nothing waits", seconds=120
    )


def outcome(dsn: str, written: dict[str, int], acknowledged: int, rounds: int) -> Outcome:
    """Count what is in the database; ``written`` are the events of each source, all acknowledged.

    A stored path that was never sent counts as doubled.
    """
    found = asyncio.run(query(dsn, STORED))
    stored = {name: distinct for name, _, distinct in found}
    events = sum(written.values())
    return Outcome(
        rounds,
        events,
        acknowledged,
        lost=sum(count - stored.get(name, 0) for name, count in written.items()),
        doubled=sum(rows for _, rows, _ in found) - sum(stored.values()),
    )

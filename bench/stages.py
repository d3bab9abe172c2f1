"""The cost of a burst, stage by stage: ``python -m bench.stages``.

Bursts of some sizes, one map a datagram as in ``bench.load``, pass through the daemon's own parts
in this process, without socket, loop and database. A stage's figure is the median of many bursts.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from aegisd.config.settings import Privacy
from aegisd.events.block import Block
from aegisd.ingest.burst import Burst
from aegisd.intake.intake import Intake
from aegisd.live.state import LiveState
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.journal import pack_blocks
from aegisd.store.journal.journal import Journal
from aegisd.wire.decode import Decoder
from aegisd.wire.naming.endpoints import EndpointNamer
from bench import events

SIZES = (1, 10, 100, 1000)
BURSTS = 400
ENDPOINTS = 200
MAX_AGE = 30 * 86_400 * 1_000_000
JOURNAL_BYTES = 2**30
BURSTS_A_SECOND = 28
"""As many as under a steady load."""


@define
class Clock:
    """Both clocks; each ``tick`` advances them by a burst's share of a second."""

    now: float = field(factory=time.time)

    def __call__(self) -> tuple[float, float]:
        return self.now, self.now

    def tick(self) -> None:
        self.now += 1 / BURSTS_A_SECOND


@define
class Stages:
    """The microseconds of each stage, burst by burst."""

    taken: dict[str, list[float]] = field(factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.taken.setdefault(name, []).append((time.perf_counter() - start) * 1e6)

    def timed(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        """The same call, timed."""

        def wrapped(*args: object) -> object:
            with self.stage(name):
                return call(*args)

        return wrapped


def run(size: int, frames: list[bytes], directory: Path) -> dict[str, float]:
    """The median of each stage for bursts of ``size``, and of the whole."""
    stages, clock = Stages(), Clock()
    live = LiveState(2000, *clock())
    journal = Journal(directory, JOURNAL_BYTES, round(clock.now * 1e6))
    backlog = Backlog(journal, lambda: clock.now)
    decoder = Decoder(MAX_AGE, Privacy(), EndpointNamer(templates=True))

    def keep(blocks: list[Block]) -> None:
        with stages.stage("journal and backlog"):
            backlog.append(blocks)

    def whole() -> Iterator[tuple[Burst, Intake]]:
        intake = Intake(decoder, Privacy(), live, keep, clock)
        for start in range(0, BURSTS * size, size):
            held = [frames[i % len(frames)] for i in range(start, start + size)]
            yield Burst(held), intake

    for burst, _ in whole():
        clock.tick()
        now = round(clock.now * 1e6)
        with stages.stage("decode"):
            decoded = list(decoder.decode(burst.messages, now))
        blocks = [block for part in decoded for block in part.blocks]
        with stages.stage("journal's entry alone"):
            pack_blocks(blocks)
    for burst, intake in whole():
        clock.tick()
        with stages.stage("all"):
            for _ in intake.process(LISTENER, burst):
                pass
    for _ in range(BURSTS):
        clock.tick()
        with stages.stage("live state: once a second"):
            live.advance(*clock())
            live.overview()
    journal.close()
    return {
        name: statistics.median(taken[len(taken) // 4 :]) for name, taken in stages.taken.items()
    }


class Listener:
    """The listener that the bursts name."""

    address = "bench"


LISTENER = Listener()


def main() -> None:
    frames = events.maps(events.make_requests(ENDPOINTS))
    columns = []
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            columns.append(run(size, frames, Path(directory)))
    print("| µs a burst of | " + " | ".join(f"{size:,}" for size in SIZES) + " |")
    print("| --- |" + " --- |" * len(SIZES))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.0f}" for column in columns) + " |")


if __name__ == "__main__":
    main()

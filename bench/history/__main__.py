"""The time of answers from history, and the cost of rollups: ``make bench-history``.

Prints the tables of bench/README.md; progress goes to standard error.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import trio
from attrs import frozen

from aegisd.errors import AegisdError
from aegisd.events.units import SECOND_US
from aegisd.store.schema.levels import DAY
from bench import machine, sketches
from bench.history import answers, costs, fleets
from bench.history.answers import Asked, history_on
from bench.history.http import over_http
from bench.history.loading import FLUSH_SECONDS, Loader, Node, last_end
from bench.history.measuring import Results, say
from bench.history.server import Server, server
from bench.history.tdigests import tdigests
from bench.history.traffic import Traffic
from bench.receiver import Failed

PARTS = ("month", "fleet", "thousand", "drop", "bytes", "merging", "flush", "sketches")
DAYS = 30
NODES = ("gateway-1", "gateway-2", "gateway-3")
ENDPOINTS = 2000
WARNING = 30


@frozen
class Sizes:
    """Rows of the month and of the dropped day, and the seconds whose bytes are measured."""

    rows: int
    dropped: int
    seconds: int


FULL = Sizes(20_000_000, 5_000_000, 7200)
QUICK = Sizes(1_000_000, 500_000, 600)


class Bench:
    """The parts, each on databases of its own."""

    def __init__(self, server: Server, sizes: Sizes) -> None:
        self._server = server
        self._sizes = sizes
        self.results = Results()

    async def month(self) -> None:
        """A month of three nodes."""
        results, traffic = self.results, Traffic(ENDPOINTS)
        nodes = [Node(name) for name in NODES]
        async with self._server.database("month") as database:
            end = last_end(time.time_ns() // 1000)
            start = end - DAYS * DAY * SECOND_US
            say(f"loading {self._sizes.rows:,} rows")
            loader = Loader(database)
            began = time.monotonic()
            await loader.month(traffic, nodes, self._sizes.rows, start, end)
            say(f"loaded in {time.monotonic() - began:.0f} s")
            await database.vacuum()
            await costs.sizes(database, results)
            waiting = traffic.requests(
                traffic.stamps(FLUSH_SECONDS * self._sizes.rows // (DAYS * DAY), end, end + 1)
            )
            with history_on(database.postgres, NODES[0], [waiting]) as history:
                asked = Asked(database, history, end, NODES[0])
                await answers.paths(asked, "3 nodes, 2,000 endpoints", (50, 10), results)
                await answers.growth(asked, results)
                await answers.errors(asked, results)
                with failing("tdigest", results):
                    await tdigests(asked, results)
                await answers.against_raw(asked, results)
            await over_http(database, results)
            await costs.late(database, asked, loader, self._sizes.rows, results)

    async def fleet(self) -> None:
        """Twenty nodes with 200 endpoints; rollups only."""
        async with self._server.database("fleet") as database:
            end = last_end(time.time_ns() // 1000)
            await fleets.fill(database, end, nodes=20, endpoints=200)
            await database.vacuum()
            with history_on(database.postgres, "node-1") as history:
                asked = Asked(database, history, end, "node-1")
                await answers.paths(asked, "20 nodes, 200 endpoints", (100, 30), self.results)

    async def thousand(self) -> None:
        """A thousand nodes; rollups only."""
        async with self._server.database("thousand") as database:
            end = last_end(time.time_ns() // 1000)
            await fleets.fill(database, end, nodes=1000, endpoints=0)
            await database.vacuum()
            with history_on(database.postgres, "node-1") as history:
                asked = Asked(database, history, end, "node-1")
                await fleets.thousand(asked, self.results)

    async def drop(self) -> None:
        """Dropping a day."""
        async with self._server.database("drop") as database:
            await costs.dropping(database, self._sizes.dropped, self.results)

    async def bytes(self) -> None:
        """Bytes of rollups at 1,000 requests a second, and the time to fold them."""
        async with self._server.database("bytes") as database:
            await costs.at_a_thousand(database, self._sizes.seconds, self.results)
        async with self._server.database("folding") as database:
            await costs.folding(database, self.results)

    async def merging(self) -> None:
        """Merging ten thousand sketches."""
        async with self._server.database("merging") as database:
            await costs.merging(database, self.results)

    async def flush(self) -> None:
        """The cost that pieces add to a flush."""
        async with self._server.database("flush") as database:
            await costs.flushing(database, self.results)

    async def sketches(self) -> None:
        """The sketch compared with others."""
        sketches.measure(self.results)


@contextmanager
def failing(part: str, results: Results) -> Iterator[None]:
    """If a part can't be measured, say why."""
    try:
        yield
    except (Failed, AegisdError) as error:
        results.problems.append(f"{part}: {error}")


async def run(bench: Bench, parts: list[str]) -> None:
    for part in parts:
        with failing(part, bench.results):
            await getattr(bench, part)()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="1,000,000 rows in place of 20,000,000"
    )
    parser.add_argument("--rows", type=int, help="of the month")
    parser.add_argument("--only", default="", help=f"some of: {','.join(PARTS)}")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - set(PARTS):
        parser.error(f"--only: no such part: {', '.join(sorted(unknown))}")
    sizes = QUICK if options.quick else FULL
    if options.rows:
        sizes = Sizes(options.rows, sizes.dropped, sizes.seconds)

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    described = machine.describe()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name,
        server(Path(name)) as found,
    ):
        described["Postgres"] = found.settings()
        described["month"] = f"{sizes.rows:,} rows, {len(NODES)} nodes, {ENDPOINTS:,} endpoints"
        bench = Bench(found, sizes)
        trio.run(run, bench, [part for part in PARTS if part in only] or list(PARTS))
    described["took"] = f"{time.monotonic() - started:.0f} s"
    print(bench.results.render(described))


if __name__ == "__main__":
    # a signal raises SystemExit, so that the server is stopped and directories removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.umask(0o022)  # Postgres runs under another account
    main()

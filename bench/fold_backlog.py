"""How fast the pieces of late events are folded: ``python -m bench.fold_backlog``.

Logs of some weeks are imported from several nodes at once; then the maintainer folds the pieces,
pass by pass. Prints the table of bench/README.md; progress goes to standard error.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
import trio
from attrs import frozen

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Days, Metrics
from aegisd.events.units import SECOND_US
from aegisd.store.rollups.folding import PIECE_TABLES
from aegisd.store.schema.levels import DAY
from aegisd.store.upkeep.maintainer import Maintainer
from bench import machine
from bench.history.loading import Loader, Node
from bench.history.server import Database, Server, server
from bench.history.traffic import Traffic

EVENTS = 10_000_000
NODES = 4
DAYS = 28
ENDPOINTS = 2000
BATCH = 10_000
"""The default of ``metrics.batch_size``."""

KEPT = Days(60)
"""How long raw rows are kept: none must be dropped during the measurement."""

WARNING = 30


@frozen
class Pass:
    """A pass of the upkeep."""

    seconds: float
    folded: int
    left: int


async def fill(database: Database, events: int, now: int) -> None:
    """Store the nodes' imports: each imports its own log, in order of time."""
    traffic, loader = Traffic(ENDPOINTS), Loader(database)
    nodes = [Node(f"gateway-{i}") for i in range(NODES)]
    stamps = [
        traffic.stamps(events // NODES, now - DAYS * DAY * SECOND_US, now, late=False)
        for _ in nodes
    ]
    for at in range(0, events // NODES, BATCH):
        for node, own in zip(nodes, stamps, strict=True):
            part = own[at : at + BATCH]
            await loader.write(node, [traffic.requests(part), traffic.decisions(part)])


async def pieces(database: Database) -> int:
    """The number of pieces that are not folded yet, of all kinds."""
    counts = [await database.ask(f"SELECT count(*) FROM {table}") for table in PIECE_TABLES]
    return sum(int(count) for ((count,),) in counts)


async def fold(database: Database) -> list[Pass]:
    """Let the maintainer do its passes until no piece is left."""
    keeper = Maintainer(
        database.postgres,
        Metrics(retention_days=KEPT),
        lambda: (time.time(), time.monotonic()),
        AlertTable(database.postgres, "bench"),
    )
    await database.ask("UPDATE rollup_progress SET folded_at = 'epoch'")
    passes: list[Pass] = []
    before = await pieces(database)
    while not passes or passes[-1].folded:
        begun = time.monotonic()
        await keeper.maintain()
        took = time.monotonic() - begun
        left = await pieces(database)
        passes.append(Pass(took, before - left, left))
        before = left
        print(f"{took:.1f} s: {passes[-1].folded:,} folded, {left:,} left", file=sys.stderr)
        for failure in keeper.duties.lines(admin=True):
            print(failure, file=sys.stderr)
    return passes[:-1]


def render(events: int, loaded: float, first: int, passes: Sequence[Pass]) -> str:
    """The table."""
    whole = [each for each in passes if each.left]
    rates = [each.folded / each.seconds for each in whole or passes]
    seconds = sum(each.seconds for each in passes)
    rows = [
        ("events, of how many nodes, over how many days", f"{events:,} · {NODES} · {DAYS}"),
        ("stored within, s", f"{loaded:.0f}"),
        ("pieces then", f"{first:,}"),
        ("folded within, s", f"{seconds:.0f}"),
        ("passes, the longest, s", f"{len(passes)} · {max(p.seconds for p in passes):.0f}"),
        ("pieces a second", f"{first / seconds:,.0f}"),
        ("… of the slowest and the quickest whole pass", f"{min(rates):,.0f} · {max(rates):,.0f}"),
        ("events a second", f"{events / seconds:,.0f}"),
    ]
    lines = ["| late events folded | |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {what} | {value} |" for what, value in rows)])


async def measure(found: Server, events: int) -> str:
    """Fill a database and fold it; return the times."""
    async with found.database("backlog") as database:
        begun = time.monotonic()
        await fill(database, events, int(time.time() * SECOND_US))
        loaded = time.monotonic() - begun
        first = await pieces(database)
        print(f"{first:,} pieces after {loaded:.0f} s", file=sys.stderr)
        return render(events, loaded, first, await fold(database))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.fold_backlog")
    parser.add_argument("--events", type=int, default=EVENTS)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(WARNING))
    with (
        tempfile.TemporaryDirectory(prefix="aegisd-bench-", dir="/tmp") as directory,
        server(Path(directory)) as found,
    ):
        about = machine.describe() | {"Postgres": found.settings()}
        print("\n".join(f"| {what} | {value} |" for what, value in about.items()), end="\n\n")
        print(trio.run(measure, found, options.events))


if __name__ == "__main__":
    main()

"""Answers of history on a month of traffic, compared with the same from the raw rows."""

import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from aegisd.config.settings import Rollups
from aegisd.events.block import Block
from aegisd.events.units import SECOND_US
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database.postgres import Postgres
from aegisd.store.history import ranges
from aegisd.store.history.history import History
from aegisd.store.history.ranges import Range
from aegisd.store.history.results import Latency
from aegisd.store.journal.journal import Journal
from aegisd.store.schema.levels import FINE, floor
from aegisd.store.upkeep.policy import kept_from
from bench.history.measuring import Bar, Results, figure, milliseconds, say
from bench.history.server import Database
from bench.receiver import Failed
from bench.store_table import NONE

JOURNAL_BYTES = 1 << 30
LIMIT = 10
PERCENTILES = "percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)"
RAW_RUNS = 3
"""Runs of queries that take half a minute each."""

Path_ = Callable[[History, Range, str | None], Awaitable[Any]]


async def _overview(history: History, range_: Range, node: str | None) -> Any:
    return await history.totals(range_, node), await history.present(range_.end, node)


PATHS: dict[str, Path_] = {
    "overview": _overview,
    "request-rate": lambda history, range_, node: history.requests(range_, node),
    "latency": lambda history, range_, node: history.latency(range_, node),
    "status-distribution": lambda history, range_, node: history.statuses(range_, node),
    "heatmap": lambda history, range_, node: history.durations(range_, node),
    "nodes": lambda history, range_, _: history.nodes(range_),
    "top-endpoints": lambda history, range_, node: history.top_endpoints(range_, node, LIMIT),
    "rate-limits": lambda history, range_, node: history.rate_limits(range_, node, LIMIT),
}
"""The query of history that each path of the API makes."""

OF_NAMES = ("top-endpoints", "rate-limits")


@frozen
class Asked:
    """A database, history on it, the end of its data, one of its nodes."""

    database: Database
    history: History
    now: int
    node: str

    def range(self, name: str, path: str = "overview") -> Range:
        """The range that the API makes for a path and a name, ending with the data."""
        kept = kept_from(Rollups(), self.now)
        return ranges.named_range(name, self.now, kept, names=path in OF_NAMES)


@contextmanager
def history_on(postgres: Postgres, node: str, waiting: Sequence[Block] = ()) -> Iterator[History]:
    """A daemon's history, with events waiting in its journal."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        journal = Journal(Path(directory) / "journal", JOURNAL_BYTES, 0)
        backlog = Backlog(journal, lambda: 0)
        backlog.append(waiting)
        try:
            yield History(postgres, backlog, node)
        finally:
            backlog.close()
            journal.close()


async def paths(asked: Asked, whose: str, aims: tuple[float, float], results: Results) -> None:
    """Every path and named range, of all nodes and of one."""
    head = f"{whose}: median ms, all nodes / one node|{'|'.join(ranges.NAMED_RANGES)}"
    worst: dict[str | None, tuple[float, str]] = {}
    for path, ask in PATHS.items():
        say(f"{whose}, {path}")
        cells = []
        for name in ranges.NAMED_RANGES:
            range_, taken = asked.range(name, path), []
            for node in (None, asked.node):
                taken.append(await milliseconds(lambda: ask(asked.history, range_, node)))  # noqa: B023
                worst[node] = max(worst.get(node, (0, "")), (taken[-1], f"{path} {name}"))
            cells.append(" / ".join(map(figure, taken)))
        results.row(head, path, *cells)
    for node, (value, where) in worst.items():
        what = f"{whose}, slowest path and range, {'all nodes' if node is None else 'one node'}"
        results.bars.append(Bar(what, value, "ms", *aims, note=where))


async def against_raw(asked: Asked, results: Results) -> None:
    """Thirty days compared with PERCENTILE_CONT on the raw rows."""
    range_ = asked.range("30d")
    counts = (
        "count(*), count(*) FILTER (WHERE status_code BETWEEN 1 AND 399),"
        " count(*) FILTER (WHERE status_code = 429)"
    )
    raw = {
        "overview": f"SELECT {counts}, {PERCENTILES} {_rows(range_)}",
        "latency": f"SELECT {_bucket(range_)}, {PERCENTILES} {_rows(range_)} GROUP BY 1",
    }
    for path, sql in raw.items():
        say(f"{path}, 30d, raw rows")
        ours = await milliseconds(lambda: PATHS[path](asked.history, range_, None))  # noqa: B023
        theirs = await milliseconds(lambda: asked.database.ask(sql), RAW_RUNS, 0)  # noqa: B023
        note = f"{figure(theirs)} ms against {figure(ours)} ms"
        results.bars.append(
            Bar(
                f"/{path}?range=30d against PERCENTILE_CONT on the raw rows",
                theirs / ours,
                "×",
                100,
                1000,
                at_least=True,
                note=note,
            )
        )


async def growth(asked: Asked, results: Results) -> None:
    """Thirty days compared with one."""
    for path in ("overview", "latency", "top-endpoints"):
        month, day = [
            await milliseconds(lambda: PATHS[path](asked.history, asked.range(name, path), None))  # noqa: B023
            for name in ("30d", "24h")
        ]
        note = f"{figure(month)} ms, {figure(day)} ms"
        results.bars.append(Bar(f"{path}: 30 days / 1 day", month / day, "×", 2, note=note))


async def errors(asked: Asked, results: Results) -> None:
    """The rollups' percentiles compared with percentile_disc, for whole ranges and for buckets.

    All events must be in the database, none waiting. Raises Failed if the counts differ.
    """
    head = "against percentile_disc, worst relative error|p50|p95|p99|buckets"
    worst = 0.0
    with history_on(asked.database.postgres, asked.node) as history:
        for name in ranges.NAMED_RANGES:
            say(f"errors, {name}")
            range_ = asked.range(name)
            whole = evolve(range_, bucket=10**9)
            totals = (await history.totals(range_, None)).figures
            ((_, count, exact),) = await _exact(asked.database, whole)
            if count != totals.requests:
                raise Failed(f"{name}: {totals.requests:,} requests for {count:,} rows")
            found = _errors(totals.latency, exact)
            results.row(head, f"overview, {name}", *map(_percent, found), NONE)
            worst = max(worst, *found[1:])
            series = (await history.latency(range_, None)).figures
            rows = {start: row for start, _, row in await _exact(asked.database, range_)}
            if rows.keys() != series.keys():
                raise Failed(f"{name}: {len(series)} buckets for {len(rows)}")
            each = [_errors(series[start], exact) for start, exact in rows.items()]
            found = [max(column) for column in zip(*each, strict=True)]
            results.row(head, f"latency, {name}", *map(_percent, found), str(len(each)))
            worst = max(worst, *found[1:])
    results.bars.append(Bar("p95 and p99 against percentile_disc, worst", worst * 100, "%", 1))


async def _exact(database: Database, range_: Range) -> list[tuple[Any, ...]]:
    """Start, requests and percentiles of each bucket, from the rows; without a time limit."""
    return await database.ask(
        f"SELECT extract(epoch FROM {_bucket(range_)})::bigint * {SECOND_US}, count(*),"
        " percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)"
        f" {_rows(range_)} GROUP BY 1"
    )


def _rows(range_: Range) -> str:
    low, high = (_moment(moment) for moment in (floor(range_.start, FINE), range_.end))
    return f'FROM request_metrics WHERE "timestamp" >= {low} AND "timestamp" < {high}'


def _bucket(range_: Range) -> str:
    return f"date_bin('{range_.bucket} seconds', \"timestamp\", 'epoch'::timestamptz)"


def _errors(ours: Latency, exact: Sequence[float]) -> list[float]:
    found = (ours.p50, ours.p95, ours.p99)
    return [abs((a or 0) - b) / b for a, b in zip(found, exact, strict=True)]


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _moment(micros: int) -> str:
    return f"'epoch'::timestamptz + {micros // SECOND_US} * interval '1 second'"

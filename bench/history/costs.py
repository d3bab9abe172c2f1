"""The cost of rollups: bytes, folding, flushes, merging, and dropping a day of rows."""

import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import Block
from aegisd.events.units import DAY_US, SECOND_US
from aegisd.stats import sketch
from aegisd.store.rollups.pieces import piece_rows
from aegisd.store.rollups.rollup import roll_up
from aegisd.store.schema import Partition
from aegisd.store.schema.levels import DAY, HOUR, MINUTE, floor
from aegisd.store.write.writer import MAX_BATCH_EVENTS
from bench.history.answers import PATHS, Asked
from bench.history.loading import FLUSH_SECONDS, FOLD_SECONDS, Loader, Node
from bench.history.measuring import RUNS, Bar, Results, figure, milliseconds, say
from bench.history.merged import merged
from bench.history.server import Database
from bench.history.traffic import LATE_SHARE, Traffic

ROWS, ROLLUPS, PIECES = (
    "relname ~ '^(request|rate_limit)_metrics'",
    "relname ~ '_rollups_'",
    "relname ~ '_pieces$'",
)
RATE, ENDPOINTS = 1000, 200
DROPS = 3
SKETCHES, BINS = 10_000, 300
FOLDS = {1: 5, 20: 3}
"""Minutes to fold, by number of nodes."""


async def sizes(database: Database, results: Results) -> None:
    """The month's bytes."""
    head = "bytes of|MiB|rows|bytes a row"
    for what in ("request_metrics", "request_rollups", "endpoint_rollups", "rate_limit_rollups"):
        ((rows,),) = await database.ask(
            "SELECT sum(reltuples)::bigint FROM pg_class"
            f" WHERE relkind = 'r' AND relname ~ '^{what}'"
        )
        size = await database.bytes(f"relname ~ '^{what}'")
        results.row(head, what, f"{size >> 20:,}", f"{rows:,}", f"{size / max(1, rows):,.0f}")
    rows_bytes, rollups = await database.bytes(ROWS), await database.bytes(ROLLUPS)
    note = "few requests a minute: most rollups of an endpoint are of one request"
    results.bars.append(
        Bar("rollups / rows, bytes, in the month", rollups / rows_bytes * 100, "%", note=note)
    )


async def late(
    database: Database, asked: Asked, loader: Loader, rows: int, results: Results
) -> None:
    """Answers after a month's late requests were folded one by one, as a daemon does every 20 s.

    (The month itself is folded every three hours, so that late requests of an hour are one row.)
    """
    say("late requests, one by one")
    asked_for = ("overview", "latency", "request-rate", "top-endpoints")
    before = {path: await _month(asked, path) for path in asked_for}
    bin_ = f"ceil(ln(greatest(us, 1)) / ln({sketch.GAMMA!r}::float8))::int + 1"
    await database.ask(
        'CREATE TABLE late AS SELECT "timestamp" AS t, method, endpoint, us,'
        f" ('1' || repeat('0', 12 * ({bin_})))::numeric AS sketch"
        " FROM (SELECT *, (duration_ms * 1000)::bigint AS us FROM request_metrics"
        f" WHERE random() < {LATE_SHARE}) r"
    )
    for kind, extra in (("request", ""), ("endpoint", ", method, endpoint")):
        for suffix, level, closed in (("1h", HOUR, "hours_closed"), ("1d", DAY, "days_closed")):
            more = ", checked, denied" if kind == "request" else ""
            await database.ask(
                f"INSERT INTO {kind}_rollups_{suffix} (bucket, node, summed{extra}, requests,"
                " status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed,"
                f" rate_limited{more}, timed, duration_sum_us, duration_min_us, duration_max_us,"
                " sketch, sketch_format)"
                f" SELECT date_bin('{level} seconds', t, 'epoch'::timestamptz), '', false{extra},"
                f" 1, 1, 0, 0, 0, 0, 0, 0{', 0, 0' if more else ''}, 1, us, us, us, sketch,"
                f" {sketch.FORMAT} FROM late, rollup_progress WHERE t < {closed}"
            )
    await database.vacuum()
    loader.clock.now += FOLD_SECONDS * SECOND_US
    await loader.maintainer.maintain()
    for path in asked_for:
        after = await _month(asked, path)
        what = f"{path}, 30d, with {figure(rows * LATE_SHARE)} late requests folded one by one"
        note = f"{figure(before[path])} ms without"
        results.bars.append(Bar(what, after, "ms", 50, 10, note=note))


async def _month(asked: Asked, path: str) -> float:
    return await milliseconds(lambda: PATHS[path](asked.history, asked.range("30d", path), None))


async def dropping(database: Database, rows: int, results: Results) -> None:
    """The time to drop a day of rows, as the maintainer does it."""
    loader, node, traffic = Loader(database), Node("gateway"), Traffic(2000)
    first = time.time_ns() // 1000 // DAY_US - DROPS
    taken = []
    for day in range(first, first + DROPS):
        say(f"dropping a day of {rows:,} rows")
        start = day * DAY_US
        stamps = traffic.stamps(MAX_BATCH_EVENTS, start, start + DAY_US, late=False)
        block = traffic.requests(stamps)
        for _ in range(rows // MAX_BATCH_EVENTS):
            await loader.write(node, [block], pieces=False)
        await database.ask("CHECKPOINT")  # in reality the dropped day was written a month ago
        partition = Partition.of("request_metrics", day)
        began = time.perf_counter()
        await database.postgres.drop_partition(partition)
        taken.append((time.perf_counter() - began) * 1000)
    what = f"dropping a day of {rows:,} rows"
    note = f"worst of {DROPS}: {figure(max(taken))} ms"
    results.bars.append(Bar(what, statistics.median(taken), "ms", 100, note=note))


async def at_a_thousand(database: Database, seconds: int, results: Results) -> None:
    """Bytes at 1,000 requests a second, flush by flush; then hours and the day are closed.

    A part of a day has the rollups of a whole day, so a full day's share is smaller.
    """
    say(f"bytes, {seconds} s at {RATE:,} requests a second")
    loader, node, traffic = Loader(database), Node("gateway"), Traffic(ENDPOINTS)
    start = floor(time.time_ns() // 1000, DAY) - 2 * DAY * SECOND_US
    await loader.begin(start)
    for moment in range(start, start + seconds * SECOND_US, FLUSH_SECONDS * SECOND_US):
        end = moment + FLUSH_SECONDS * SECOND_US
        stamps = traffic.stamps(RATE * FLUSH_SECONDS, moment, end, late=False)
        await loader.write(node, [traffic.requests(stamps)])
        loader.clock.now = end
        if end // SECOND_US % FOLD_SECONDS == 0:
            await loader.maintainer.maintain()
    for _ in range(2):
        loader.clock.now += (DAY + HOUR) * SECOND_US
        await loader.maintainer.fold()
    rows = await database.bytes(ROWS)
    head = f"bytes at {RATE:,} requests/s, {ENDPOINTS} endpoints, {seconds} s|MiB|% of the rows'"
    results.row(head, "rows", f"{rows / 2**20:,.1f}", "100")
    tables = ("request_rollups_10s", "request_rollups_1m", "request_rollups_1h")
    tables += ("request_rollups_1d", "endpoint_rollups_1m", "endpoint_rollups_1h")
    for table in (*tables, "endpoint_rollups_1d", "pieces"):
        size = await database.bytes(PIECES if table == "pieces" else f"relname ~ '^{table}'")
        name = f"{table}, which don't grow" if table == "pieces" else table
        results.row(head, name, f"{size / 2**20:,.1f}", f"{size / rows:.2%}")
    share = await database.bytes(ROLLUPS) / rows * 100
    what = f"rollups / rows, bytes, at {RATE:,} requests/s, {ENDPOINTS} endpoints"
    results.bars.append(Bar(what, share, "%", 3, 1))


async def folding(database: Database, results: Results) -> None:
    """The time to fold a minute's pieces, of 1,000 requests a second of each node."""
    loader, traffic = Loader(database), Traffic(ENDPOINTS)
    start = floor(time.time_ns() // 1000, DAY) - 2 * DAY * SECOND_US
    await loader.begin(start)
    for count, minutes in FOLDS.items():
        say(f"folding a minute of {count} nodes")
        nodes, taken = [Node(f"node-{i}") for i in range(count)], []
        for _ in range(minutes):
            for flush in range(MINUTE // FLUSH_SECONDS):
                low = start + flush * FLUSH_SECONDS * SECOND_US
                for node in nodes:
                    stamps = traffic.stamps(
                        RATE * FLUSH_SECONDS, low, low + FLUSH_SECONDS * SECOND_US, late=False
                    )
                    await loader.write(node, [traffic.requests(stamps)], rows=False)
            start += MINUTE * SECOND_US
            loader.clock.now = start + FOLD_SECONDS * SECOND_US
            began = time.perf_counter()
            await loader.maintainer.fold()
            taken.append((time.perf_counter() - began) * 1000)
            await loader.maintainer.maintain()
        what = (
            f"folding a minute of {count} node{'s' if count > 1 else ''}, {RATE:,} requests/s each"
        )
        results.bars.append(Bar(what, statistics.median(taken), "ms"))


async def flushing(database: Database, results: Results) -> None:
    """The cost of pieces in a flush: rolling up and laying out (CPU), and in all (time)."""
    say("flushes")
    loader, node = Loader(database), Node("gateway")
    head = "a flush, µs an event|endpoints|rows alone|with pieces|pieces made, CPU|pieces, rows"
    now = time.time_ns() // 1000
    for size, endpoints in ((5000, 200), (5000, 2000), (100_000, 200), (100_000, 2000)):
        traffic = Traffic(endpoints)
        stamps = traffic.stamps(size, now, now + FLUSH_SECONDS * SECOND_US, late=False)
        block = traffic.requests(stamps)
        taken: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(RUNS + 2):
            for pieces, times in taken.items():
                began = time.perf_counter()
                await loader.write(node, [block], pieces=pieces)
                times.append(time.perf_counter() - began)
        cells = [statistics.median(times[2:]) / size * 1e6 for times in taken.values()]
        cpu = _least(lambda: _laid_out(block)) / size * 1e6  # noqa: B023
        made = sum(table.size for table in piece_rows(roll_up([block]), node.name))
        figures = [f"{value:.2f}" for value in (*cells, cpu)]
        results.row(head, f"of {size:,}", f"{endpoints:,}", *figures, f"{made:,}")


def _laid_out(block: Block) -> None:
    for table in piece_rows(roll_up([block]), "gateway"):
        for _ in table.chunks():
            pass


def _least(work: Callable[[], object]) -> float:
    """CPU seconds of the quickest run."""
    taken = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


async def merging(database: Database, results: Results) -> None:
    """Decoding and merging stored sketches of 300 used bins; with numpy also of 200 to 400."""
    say(f"merging {SKETCHES:,} sketches")
    random = np.random.default_rng(1)
    numerics = _stored(random, np.full(SKETCHES, BINS))
    varied = _stored(random, random.integers(BINS - 100, BINS + 101, SKETCHES))
    what = f"merging {SKETCHES:,} sketches of {BINS} bins:"
    results.bars.append(Bar(f"{what} numpy", _decoding(numerics), "ms", 15, 5))
    other = f"merging {SKETCHES:,} sketches of {BINS - 100} to {BINS + 100} bins: numpy"
    results.bars.append(Bar(other, _decoding(varied), "ms"))
    postgres = database.postgres
    await postgres.execute("CREATE TABLE merging (sketch numeric NOT NULL)")
    await postgres.execute("INSERT INTO merging SELECT unnest($1::numeric[])", numerics)
    await database.vacuum()
    for how in (
        "sum(sketch)",
        "sketch_quantiles(sum(sketch), ARRAY[0.5, 0.95, 0.99])",
        "sketch_merge(sketch)",
    ):
        sql = f"SELECT {how} FROM merging"
        median = await milliseconds(lambda: postgres.fetch(sql))  # noqa: B023
        results.bars.append(Bar(f"{what} {how}", median, "ms", 500, 150))


def _stored(random: np.random.Generator, widths: NDArray[np.int64]) -> list[bytes]:
    """Sketches with so many bins each, all used."""
    first = random.integers(300, 500, len(widths))
    rows = np.repeat(np.arange(len(widths)), widths)
    bins = np.concatenate([low + np.arange(n) for low, n in zip(first, widths, strict=True)])
    stored = sketch.encode(rows, bins, random.integers(1, 1000, len(bins)), len(widths))
    return [
        stored.octets[start : start + length].tobytes()
        for start, length in zip(stored.starts.tolist(), stored.lengths.tolist(), strict=True)
    ]


def _decoding(numerics: list[bytes]) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(RUNS + 2):
        began = time.perf_counter()
        merged(numerics)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[2:])

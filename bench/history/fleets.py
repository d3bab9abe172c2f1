"""Rollups of many nodes, generated in SQL from plausible sketches: real rows would take weeks.

Each level has only the rows that a query of a named range can read: whole days, the hours of days
in which a range starts or ends, the minutes of such hours. The nodes' own rows use a palette of
sketches; the maintainer's own insertion makes the rows of all nodes from them.
"""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from aegisd.events.units import DAY_US, SECOND_US
from aegisd.stats import sketch
from aegisd.store.database.postgres import Session
from aegisd.store.history import queries, ranges
from aegisd.store.history.cover import Progress, cover
from aegisd.store.rollups.statement import add_up, sums
from aegisd.store.schema import PARTITIONED, Partition
from aegisd.store.schema.levels import (
    DAY,
    FINE,
    HOUR,
    MINUTE,
    REQUESTS,
    ROLLUP_KINDS,
    RollupKind,
    ceil,
    floor,
)
from bench import events
from bench.history.answers import PATHS, Asked
from bench.history.loading import FLUSH_SECONDS, UNFOLDED_SECONDS
from bench.history.measuring import Bar, Results, figure, milliseconds, say
from bench.history.server import Database
from bench.history.traffic import MEDIAN_US, SIGMA, TAIL_EXPONENT, TAIL_FROM_US, TAIL_SHARE

PALETTE = 64
RATE = 50
"""Requests a second of each node."""

DRAWN = 50_000
"""Most durations drawn for a sketch; sketches of more are multiples of one."""

PIECE_SHARE = 0.5
"""The share of the endpoints that a flush has requests for."""


@frozen
class Span:
    """A stretch of a level to fill."""

    level: int
    start: int
    end: int


async def fill(database: Database, end: int, *, nodes: int, endpoints: int) -> None:
    """A month that ends at ``end``, except for what is not folded yet."""
    postgres = database.postgres
    folded = end - UNFOLDED_SECONDS * SECOND_US
    hours, days = floor(folded - 300 * SECOND_US, HOUR), floor(folded - 300 * SECOND_US, DAY)
    await postgres.fetch(
        "UPDATE rollup_progress SET hours_closed = $1, days_closed = $2", hours, days
    )
    await database.ask(
        "CREATE TABLE palette (k integer, scale bigint, requests bigint, timed bigint,"
        " sum_us bigint, min_us bigint, max_us bigint, sketch numeric, UNIQUE (scale, k))"
    )
    for kind in ROLLUP_KINDS if endpoints else (REQUESTS,):
        names = endpoints if kind.names else 1
        for span in _spans(kind, end, folded, {HOUR: hours, DAY: days}):
            say(f"{nodes} nodes, {kind.table(span.level)}")
            await _fill(database, kind, span, nodes, names)
        await _pieces(database, kind, Span(FINE, folded, end), nodes, names)


def _spans(kind: RollupKind, end: int, folded: int, closed: dict[int, int]) -> Iterator[Span]:
    """The stretches of a kind that queries of the named ranges can read."""
    starts = [end - length * SECOND_US for length, _ in ranges.NAMED_RANGES.values()]
    first = floor(min(starts), DAY)
    yield Span(DAY, first, closed[DAY])
    if kind is REQUESTS:
        yield Span(HOUR, first, closed[HOUR])
        yield Span(MINUTE, floor(end - 25 * HOUR * SECOND_US, HOUR), floor(folded, MINUTE))
        yield Span(FINE, floor(end - 1000 * SECOND_US, MINUTE), floor(folded, MINUTE))
    else:
        recent = closed[DAY] - DAY * SECOND_US
        yield Span(HOUR, recent, closed[HOUR])
        yield from (Span(HOUR, d, d + DAY * SECOND_US) for d in _whole(starts, DAY) if d < recent)
        recent = closed[HOUR] - HOUR * SECOND_US
        yield Span(MINUTE, recent, floor(folded, MINUTE))
    # more minutes, for ranges that start in the middle of an hour
    since = floor(end - 25 * HOUR * SECOND_US, HOUR) if kind is REQUESTS else recent
    yield from (Span(MINUTE, h, h + HOUR * SECOND_US) for h in _whole(starts, HOUR) if h < since)


def _whole(moments: list[int], level: int) -> list[int]:
    return sorted({floor(moment, level) for moment in moments})


async def _fill(database: Database, kind: RollupKind, span: Span, nodes: int, names: int) -> None:
    """The nodes' own rows, and those of all nodes."""
    postgres, table = database.postgres, kind.table(span.level)
    if table in PARTITIONED:
        await postgres.make_partitions(
            {
                Partition.of(table, moment // DAY_US)
                for moment in range(span.start, span.end, DAY_US)
            }
            | {Partition.of(table, (span.end - 1) // DAY_US)}
        )
    scale = max(1, RATE * span.level // names)
    await _paint(database, scale)
    await database.ask(
        _synthetic(kind, table, span, span.level, nodes, names, scale, "true, "),
        f"ANALYZE {table}",
    )
    for at in range(span.start, span.end, DAY_US):
        until = min(at + DAY_US, span.end)
        where = f"summed AND bucket >= {_at(at)} AND bucket < {_at(until)}"
        await database.ask(
            add_up(
                kind=kind,
                source_table=table,
                where=where,
                level=span.level,
                node="''",
                summed="false",
            )
        )


async def _pieces(database: Database, kind: RollupKind, span: Span, nodes: int, names: int) -> None:
    """A piece for each node, flush and name."""
    names = max(1, round(names * PIECE_SHARE))
    scale = max(1, RATE * FLUSH_SECONDS // names)
    await _paint(database, scale)
    await database.ask(
        _synthetic(kind, kind.pieces_table, span, FLUSH_SECONDS, nodes, names, scale, "")
    )


def _synthetic(
    kind: RollupKind,
    table: str,
    span: Span,
    step: int,
    nodes: int,
    names: int,
    scale: int,
    summed: str,
) -> str:
    values = {
        "requests": "p.requests",
        "status_2xx": "p.requests - p.requests / 20",
        "status_4xx": "p.requests / 20",
        "failed": "p.requests / 20",
        "checked": "p.requests",
        "denied": "p.requests / 20",
        "timed": "p.timed",
        "duration_sum_us": "p.sum_us",
        "duration_min_us": "p.min_us",
        "duration_max_us": "p.max_us",
        "sketch": "p.sketch",
        "sketch_format": str(sketch.FORMAT),
    }
    texts = {"method": "'GET'", "endpoint": "'/api/' || name", "key": "'client-' || name"}
    columns = [f'"{name}"' for name in kind.names] + list(sums(kind))
    chosen = [texts[name] for name in kind.names] + [values.get(c, "0") for c in sums(kind)]
    level = MINUTE if kind.names and span.level == FINE else span.level
    bucket = f"date_bin('{level} seconds', b, 'epoch'::timestamptz)"
    return (
        f"INSERT INTO {table} (bucket, node, {'summed, ' if summed else ''}{', '.join(columns)})"
        f" SELECT {bucket}, 'node-' || node, {summed}{', '.join(chosen)}"
        f" FROM generate_series({_at(span.start)}, {_at(span.end - 1)}, '{step} seconds') b,"
        f" generate_series(1, {nodes}) node, generate_series(1, {names}) name, palette p"
        f" WHERE p.scale = {scale} AND p.k ="
        f" (node * 7 + name * 13 + extract(epoch FROM b)::bigint / {step}) % {PALETTE}"
    )


async def _paint(database: Database, scale: int) -> None:
    """Sketches of about ``scale`` durations each."""
    found = await database.ask(f"SELECT 1 FROM palette WHERE scale = {scale}")
    if found:
        return
    random = np.random.default_rng(events.SEED)
    rows, pairs = [], []
    size = min(scale, DRAWN)
    for k in range(PALETTE):
        body = random.lognormal(np.log(MEDIAN_US) + random.normal(0, 0.3), SIGMA, size)
        tail = TAIL_FROM_US * (1 + random.pareto(TAIL_EXPONENT, size))
        micros = np.where(random.random(size) < TAIL_SHARE, tail, body)
        values = np.clip(np.rint(micros), 1, sketch.MAX_VALUE).astype(np.int64)
        counts = np.bincount(sketch.bins_of(values), minlength=sketch.BINS) * (scale // size)
        used = np.flatnonzero(counts)
        pairs.append((np.full(len(used), k), used, counts[used]))
        total = int(values.sum()) * (scale // size)
        rows.append((k, int(counts.sum()), total, int(values.min()), int(values.max())))
    stored = sketch.encode(*(np.concatenate(part) for part in zip(*pairs, strict=True)), PALETTE)
    numerics = [
        stored.octets[start : start + length].tobytes()
        for start, length in zip(stored.starts.tolist(), stored.lengths.tolist(), strict=True)
    ]
    await database.postgres.fetch(
        "INSERT INTO palette SELECT k, $1, n, n, s, low, high, sketch FROM unnest($2::int[],"
        " $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::numeric[])"
        " r (k, n, s, low, high, sketch)",
        scale,
        *(list(column) for column in zip(*rows, strict=True)),
        numerics,
    )


async def thousand(asked: Asked, results: Results) -> None:
    """Latency of thirty days, from the rows of all nodes, and merged from each node's own."""
    say("1,000 nodes")
    range_ = asked.range("30d")
    nodes = "1,000 nodes, latency, 30 days"
    for whose, node in (("all", None), ("one of them", asked.node)):
        taken = await milliseconds(lambda: PATHS["latency"](asked.history, range_, node))  # noqa: B023
        aims = (1000, 200) if node is None else (None, None)
        results.bars.append(Bar(f"{nodes}: {whose}", taken, "ms", *aims))
    await asked.database.ask("CREATE TABLE kept AS TABLE request_pieces", "TRUNCATE request_pieces")
    taken = await milliseconds(lambda: PATHS["latency"](asked.history, range_, None))
    results.bars.append(Bar(f"{nodes}: all, nothing unfolded", taken, "ms"))

    async def merge(session: Session) -> int:
        ((hours, days),) = await session.fetch(
            "SELECT hours_closed, days_closed FROM rollup_progress"
        )
        segments = cover(range_.start, range_.end, (FINE, MINUTE, HOUR), Progress(hours, days))
        sql, args = queries.series(REQUESTS, segments, None, range_.bucket, timed=True)
        return len(await session.fetch(sql.replace("NOT summed", "summed"), *args))

    taken = await milliseconds(lambda: asked.database.postgres.read(merge), 3, 1)
    hours = (ceil(range_.end, HOUR) - floor(range_.start, HOUR)) // (HOUR * SECOND_US)
    note = f"{figure(hours * 1000)} sketches merged in SQL"
    results.bars.append(Bar(f"{nodes}: from each node's own rows", taken, "ms", note=note))


def _at(moment: int) -> str:
    return f"to_timestamp({moment // SECOND_US})"

"""The same answers from Debian's postgresql-15-tdigest: same levels, rows and queries."""

from collections.abc import Callable

import asyncpg
from attrs import evolve

from aegisd.store.database.postgres import Session
from aegisd.store.history import queries
from aegisd.store.history.cover import Progress, cover
from aegisd.store.history.ranges import Range
from aegisd.store.rollups.statement import binned
from aegisd.store.schema.levels import DAY, FINE, HOUR, MINUTE, REQUESTS, floor
from bench.history.answers import PATHS, Asked
from bench.history.loading import FLUSH_SECONDS, UNFOLDED_SECONDS
from bench.history.measuring import Bar, Results, figure, milliseconds, say
from bench.receiver import Failed

COMPRESSION = 100
FINE_DAYS = 2  # how long ten seconds are kept
RANGES = ("1h", "24h", "7d", "30d")

_ADDED = {
    "requests": "count(*)",
    "status_2xx": "count(*) FILTER (WHERE status_code BETWEEN 200 AND 299)",
    "status_3xx": "count(*) FILTER (WHERE status_code BETWEEN 300 AND 399)",
    "status_4xx": "count(*) FILTER (WHERE status_code BETWEEN 400 AND 499)",
    "status_5xx": "count(*) FILTER (WHERE status_code BETWEEN 500 AND 599)",
    "status_other": "count(*) FILTER (WHERE status_code NOT BETWEEN 200 AND 599)",
    "failed": "count(*) FILTER (WHERE status_code NOT BETWEEN 1 AND 399)",
    "rate_limited": "count(*) FILTER (WHERE status_code = 429)",
    "checked": "0::bigint",
    "denied": "0::bigint",
    "timed": "count(duration_ms)",
    "duration_sum_us": "sum((duration_ms * 1000)::bigint)",
    "sketch": f"tdigest(duration_ms, {COMPRESSION})",
}
_QUANTILES = "tdigest_percentile(sketch, ARRAY[0.5, 0.95, 0.99])"


async def tdigests(asked: Asked, results: Results) -> None:
    """Ours compared with tdigest's, over the same stretches. Raises Failed if not installed."""
    try:
        await asked.database.ask("CREATE EXTENSION tdigest")
    except asyncpg.PostgresError as error:
        raise Failed("tdigest is not there: apt-get install postgresql-15-tdigest") from error
    await _build(asked)
    for path, change in (("overview", _whole), ("latency", None)):
        for name in RANGES:
            say(f"tdigest, {path}, {name}")
            await _compare(asked, path, name, change, results)


async def _compare(
    asked: Asked,
    path: str,
    name: str,
    change: Callable[[Range], Range] | None,
    results: Results,
) -> None:
    range_ = asked.range(name)
    kept = range_ if change is None else change(range_)

    async def theirs() -> object:
        return await asked.database.postgres.read(lambda fetch: _ask(fetch, range_, kept.bucket))

    async def ours() -> object:
        if path == "overview":  # it also reads other tables, for presence
            return (await asked.history.totals(range_, None)).figures
        return await PATHS[path](asked.history, range_, None)

    own, other = await milliseconds(ours), await milliseconds(theirs)
    results.bars.append(
        Bar(
            f"{path}, {name}, against tdigest",
            own / other,
            "×",
            1.5,
            1,
            note=f"{figure(own)} ms, {figure(other)} ms",
        )
    )


def _whole(range_: Range) -> Range:
    """One bucket that contains all days of the data."""
    return evolve(range_, bucket=10**9)


async def _ask(session: Session, range_: Range, bucket: int) -> object:
    ((hours, days),) = await session.fetch("SELECT hours_closed, days_closed FROM rollup_progress")
    levels = tuple(level for level in REQUESTS.levels if level <= bucket)
    segments = cover(range_.start, range_.end, levels, Progress(hours, days))
    sql, args = queries.series(REQUESTS, segments, None, bucket, timed=True)
    sql = sql.replace("sum(sketch) AS sketch", "tdigest(sketch) AS sketch")
    sql = sql.replace("sum(sketch)", _QUANTILES)
    for kind in ("rollups", "pieces"):
        sql = sql.replace(f"request_{kind}", f"tdigest_{kind}")
    return await session.fetch(sql, *args)


async def _build(asked: Asked) -> None:
    """Rows of all nodes at each level, and pieces where the maintainer hasn't folded yet."""
    postgres = asked.database.postgres
    ((hours, days),) = await postgres.fetch("SELECT hours_closed, days_closed FROM rollup_progress")
    folded = asked.now - UNFOLDED_SECONDS * 1_000_000
    spans = {
        FINE: (floor(folded, DAY) - FINE_DAYS * DAY * 1_000_000, folded),
        MINUTE: (0, folded),
        HOUR: (0, hours),
        DAY: (0, days),
    }
    for level, (start, end) in spans.items():
        table = REQUESTS.table(level).replace("request", "tdigest")
        say(f"building {table}")
        await asked.database.ask(
            f"CREATE TABLE {table} AS SELECT {_bucket(level)} AS bucket, ''::text AS node,"
            f" false AS summed, {_columns()} FROM request_metrics WHERE {_between(start, end)}"
            " GROUP BY 1",
            f"CREATE INDEX ON {table} (bucket) WHERE NOT summed",
            f"VACUUM ANALYZE {table}",
        )
    await asked.database.ask(
        f"CREATE TABLE tdigest_pieces AS SELECT {_bucket(FINE)} AS bucket, node, {_columns()}"
        f" FROM request_metrics WHERE {_between(folded, asked.now)}"
        f" GROUP BY 1, 2, {_bucket(FLUSH_SECONDS)}",
        "VACUUM ANALYZE tdigest_pieces",
    )


def _bucket(seconds: int) -> str:
    return binned(seconds, '"timestamp"')


def _columns() -> str:
    return ", ".join(f"{how} AS {name}" for name, how in _ADDED.items())


def _between(start: int, end: int) -> str:
    moments = [f"to_timestamp({moment // 1_000_000})" for moment in (start, end)]
    return f'"timestamp" >= {moments[0]} AND "timestamp" < {moments[1]}'

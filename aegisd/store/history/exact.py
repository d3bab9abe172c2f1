"""Answers about the past from the raw rows: exact, and slow where there are many rows.

A row stands for ``weight`` requests, so counts are sums of weights. A quantile is a weighted
``percentile_disc`` of Postgres: the smallest duration d such that the rows with durations up to d
have the quantile's share of all weights.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aegisd.events.counters import counted_sql
from aegisd.events.units import SECOND_US
from aegisd.store.backlog import Backlog
from aegisd.store.database import Postgres, Session
from aegisd.store.history.ranges import Range
from aegisd.store.history.results import Answer, Latency, Totals
from aegisd.store.history.sums import Endpoint

T = TypeVar("T")

_SUCCEEDED = counted_sql("succeeded", "status_code")
_RATE_LIMITED = counted_sql("rate_limited", "status_code")
_WHERE = '"timestamp" >= $1 AND "timestamp" < $2 AND ($3::text IS NULL OR node = $3)'
_ENDPOINT = "($5::text IS NULL OR method = $5 AND endpoint = $6)"
_BUCKET = "date_bin(make_interval(secs => $4::int), \"timestamp\", 'epoch'::timestamptz)"


def _with_quantiles(*, per_bucket: bool) -> str:
    """The CTE q: requests, with the weights up to each row's duration and of all timed rows."""
    columns = f"{_BUCKET} AS bucket" if per_bucket else "status_code"
    partition = "PARTITION BY bucket" if per_bucket else ""
    where = f"{_WHERE} AND {_ENDPOINT}" if per_bucket else _WHERE
    return (
        f"WITH r AS (SELECT {columns}, duration_ms, weight::float8 AS weight"
        f" FROM request_metrics WHERE {where}),"
        f" q AS (SELECT *, sum(weight) FILTER (WHERE duration_ms IS NOT NULL) OVER"
        f" ({partition}) AS timed, sum(weight) FILTER (WHERE duration_ms IS NOT NULL) OVER"
        f" ({partition} ORDER BY duration_ms) AS up_to FROM r)"
    )


def _quantile(share: float) -> str:
    return f"min(duration_ms) FILTER (WHERE up_to >= {share} * timed)"


_AVERAGE = (
    "sum(duration_ms * weight) / nullif(sum(weight) FILTER (WHERE duration_ms IS NOT NULL), 0)"
)


class ExactHistory:
    """Queries of the raw rows; ``node`` None is all nodes.

    All raise DatabaseUnavailable, which is Busy where too many slow queries run already.
    """

    def __init__(self, postgres: Postgres, backlog: Backlog, node: str) -> None:
        self._postgres = postgres
        self._backlog = backlog
        self._node = node

    async def totals(self, range_: Range, node: str | None) -> Answer[Totals]:
        """Counts and latencies of the whole range."""

        async def work(session: Session) -> Totals:
            ((requests, succeeded, limited, *latency),) = await session.fetch(
                f"{_with_quantiles(per_bucket=False)}"
                f" SELECT sum(weight), sum(weight) FILTER (WHERE {_SUCCEEDED}),"
                f" sum(weight) FILTER (WHERE {_RATE_LIMITED}),"
                f" {_quantile(0.5)}, {_quantile(0.95)}, {_quantile(0.99)}, {_AVERAGE} FROM q",
                *asked,
            )
            ((denied,),) = await session.fetch(
                f"SELECT count(*) FROM rate_limit_metrics WHERE NOT allowed AND {_WHERE}", *asked
            )
            return Totals(
                _whole(requests), _whole(succeeded), _whole(limited), denied, Latency(*latency)
            )

        asked = (range_.start, range_.end, node)
        return await self._ask(node, work)

    async def latency(
        self, range_: Range, node: str | None, endpoint: Endpoint | None = None
    ) -> Answer[dict[int, Latency]]:
        """Latencies by bucket, of all endpoints or of one."""
        method, path = endpoint or (None, None)

        async def work(session: Session) -> dict[int, Latency]:
            rows = await session.fetch(
                f"{_with_quantiles(per_bucket=True)}"
                f" SELECT bucket, {_quantile(0.5)}, {_quantile(0.95)}, {_quantile(0.99)},"
                f" {_AVERAGE} FROM q GROUP BY bucket",
                range_.start,
                range_.end,
                node,
                range_.bucket,
                method,
                path,
            )
            return {bucket: Latency(*latency) for bucket, *latency in rows}

        return await self._ask(node, work)

    async def _ask(self, node: str | None, work: Callable[[Session], Awaitable[T]]) -> Answer[T]:
        """What ``work`` makes of the rows; complete until the oldest event in the backlog.

        The backlog is looked at before the first query. Events that are committed in between are
        counted, though the answer may not tell so.
        """

        async def query(session: Session) -> Answer[T]:
            oldest = self._backlog.load_oldest() if node in (None, self._node) else None
            return Answer(await work(session), None if oldest is None else oldest * SECOND_US)

        return await self._postgres.ask(query, slow=True)


def _whole(weights: float | None) -> int:
    return round(weights or 0)

"""Answers about the past, by plain SQL over the stored rows.

A row stands for ``weight`` requests, so counts are sums of weights and a quantile is the
smallest duration at which the weights of all that are no longer reach its share: Postgres'
``percentile_disc``, weighted.
"""

from typing import Any

from attrs import frozen

from aegisd.store.postgres import Postgres
from aegisd.store.ranges import SECOND, Range

PRESENCE_SECONDS = 300
"""Backends and connections count what was heard of in the last five minutes."""


@frozen
class Latency:
    """In ms; None where no request had a duration."""

    p50: float | None
    p95: float | None
    p99: float | None
    average: float | None


@frozen
class Totals:
    """Requests of a range."""

    requests: int
    succeeded: int
    rate_limited: int
    latency: Latency


@frozen
class Present:
    """Who was there in the last five minutes, over all nodes asked for."""

    connections: int
    backends: int
    healthy: int


@frozen
class StatusCounts:
    """Requests of a bucket by class of status."""

    status_2xx: int
    status_3xx: int
    status_4xx: int
    status_5xx: int
    other: int


@frozen
class EndpointTotals:
    """Requests of one endpoint; latencies in ms."""

    method: str
    path: str
    requests: int
    failed: int
    average: float | None
    p95: float | None


@frozen
class KeyTotals:
    """Rate-limit decisions of one key."""

    key: str
    checked: int
    denied: int


_SUCCEEDED = "status_code BETWEEN 1 AND 399"
_WHERE = '"timestamp" >= $1 AND "timestamp" < $2 AND ($3::text IS NULL OR node = $3)'
_BUCKET = "date_bin(make_interval(secs => $4::int), \"timestamp\", 'epoch'::timestamptz)"


def _with_quantiles(group: str, *, per_bucket: bool) -> str:
    """Requests with what a weighted quantile needs: weights up to the row, and of all."""
    columns = f"{_BUCKET} AS bucket" if per_bucket else "method, endpoint, status_code"
    partition = f"PARTITION BY {group}" if group else ""
    return (
        f"WITH r AS (SELECT {columns}, duration_ms, weight::float8 AS weight"
        f" FROM request_metrics WHERE {_WHERE}),"
        f" q AS (SELECT *, sum(weight) FILTER (WHERE duration_ms IS NOT NULL) OVER"
        f" ({partition}) AS timed, sum(weight) FILTER (WHERE duration_ms IS NOT NULL) OVER"
        f" ({partition} ORDER BY duration_ms) AS up_to FROM r)"
    )


def _quantile(share: float) -> str:
    return f"min(duration_ms) FILTER (WHERE up_to >= {share} * timed)"


_AVERAGE = (
    "sum(duration_ms * weight) / nullif(sum(weight) FILTER (WHERE duration_ms IS NOT NULL), 0)"
)


class History:
    """The queries. All raise DatabaseUnavailable; ``node`` None is all nodes."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def totals(self, range_: Range, node: str | None) -> Totals:
        """Counts and latencies of the whole range."""
        ((requests, succeeded, limited, *latency),) = await self._ask(
            f"{_with_quantiles('', per_bucket=False)}"
            f" SELECT sum(weight), sum(weight) FILTER (WHERE {_SUCCEEDED}),"
            f" sum(weight) FILTER (WHERE status_code = 429),"
            f" {_quantile(0.5)}, {_quantile(0.95)}, {_quantile(0.99)}, {_AVERAGE} FROM q",
            range_,
            node,
        )
        return Totals(_whole(requests), _whole(succeeded), _whole(limited), Latency(*latency))

    async def present(self, now: int, node: str | None) -> Present:
        """Backends and connections at ``now`` (microseconds since 1970)."""
        lately = Range(now - PRESENCE_SECONDS * SECOND, now, PRESENCE_SECONDS)
        ((connections,),) = await self._ask(
            "SELECT sum(active_connections) FROM (SELECT DISTINCT ON (node, source)"
            f" active_connections FROM system_metrics WHERE {_WHERE}"
            ' ORDER BY node, source, "timestamp" DESC) latest',
            lately,
            node,
        )
        ((backends, healthy),) = await self._ask(
            "SELECT count(*), count(*) FILTER (WHERE status = 'healthy') FROM"
            " (SELECT DISTINCT ON (backend_name) status FROM backend_metrics"
            f' WHERE {_WHERE} ORDER BY backend_name, "timestamp" DESC) latest',
            lately,
            node,
        )
        return Present(int(connections or 0), backends, healthy)

    async def requests(self, range_: Range, node: str | None) -> dict[int, int]:
        """Requests by bucket."""
        rows = await self._ask(
            f"SELECT {_BUCKET}, sum(weight::float8) FROM request_metrics WHERE {_WHERE} GROUP BY 1",
            range_,
            node,
            range_.bucket,
        )
        return {bucket: _whole(requests) for bucket, requests in rows}

    async def latency(self, range_: Range, node: str | None) -> dict[int, Latency]:
        """Latencies by bucket."""
        rows = await self._ask(
            f"{_with_quantiles('bucket', per_bucket=True)}"
            f" SELECT bucket, {_quantile(0.5)}, {_quantile(0.95)}, {_quantile(0.99)}, {_AVERAGE}"
            " FROM q GROUP BY bucket",
            range_,
            node,
            range_.bucket,
        )
        return {bucket: Latency(*latency) for bucket, *latency in rows}

    async def statuses(self, range_: Range, node: str | None) -> dict[int, StatusCounts]:
        """Requests by bucket and class of status."""
        classes = ", ".join(
            f"sum(weight::float8) FILTER (WHERE status_code / 100 = {hundred})"
            for hundred in (2, 3, 4, 5)
        )
        rows = await self._ask(
            f"SELECT {_BUCKET}, {classes}, sum(weight::float8) FILTER"
            " (WHERE status_code / 100 NOT BETWEEN 2 AND 5)"
            f" FROM request_metrics WHERE {_WHERE} GROUP BY 1",
            range_,
            node,
            range_.bucket,
        )
        return {bucket: StatusCounts(*map(_whole, counts)) for bucket, *counts in rows}

    async def top_endpoints(
        self, range_: Range, node: str | None, limit: int
    ) -> list[EndpointTotals]:
        """The endpoints with most requests."""
        rows = await self._ask(
            f"{_with_quantiles('method, endpoint', per_bucket=False)}"
            " SELECT method, endpoint, sum(weight),"
            f" sum(weight) FILTER (WHERE NOT {_SUCCEEDED}), {_AVERAGE}, {_quantile(0.95)}"
            " FROM q GROUP BY method, endpoint ORDER BY 3 DESC, 1, 2 LIMIT $4",
            range_,
            node,
            limit,
        )
        return [
            EndpointTotals(method, path, _whole(requests), _whole(failed), average, p95)
            for method, path, requests, failed, average, p95 in rows
        ]

    async def rate_limits(self, range_: Range, node: str | None) -> tuple[int, int]:
        """Decisions made, and how many were denials."""
        ((checked, denied),) = await self._ask(
            "SELECT count(*), count(*) FILTER (WHERE NOT allowed) FROM rate_limit_metrics"
            f" WHERE {_WHERE}",
            range_,
            node,
        )
        return checked, denied

    async def top_keys(self, range_: Range, node: str | None, limit: int) -> list[KeyTotals]:
        """The keys with most denials, then most decisions."""
        rows = await self._ask(
            "SELECT key, count(*), count(*) FILTER (WHERE NOT allowed) FROM rate_limit_metrics"
            f" WHERE {_WHERE} GROUP BY key ORDER BY 3 DESC, 2 DESC, 1 LIMIT $4",
            range_,
            node,
            limit,
        )
        return [KeyTotals(*row) for row in rows]

    async def _ask(
        self, sql: str, range_: Range, node: str | None, *more: Any
    ) -> list[tuple[Any, ...]]:
        return await self._postgres.fetch(sql, range_.start, range_.end, node, *more)


def _whole(weights: float | None) -> int:
    return round(weights or 0)

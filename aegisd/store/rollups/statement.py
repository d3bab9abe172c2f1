"""The SQL statement that adds rows of pieces, or of a finer level, up as rows of a level. Pure.

This is the whole of it for endpoints by the minute, with merging (a test holds it to the code):

    WITH
    -- the source's rows added up by bucket and name
    added AS (
        SELECT date_bin('60 seconds', bucket, '1970-01-01 00:00:00+00'::timestamptz) AS bucket,
            node AS node, false AS summed, "method", "endpoint",
            sum(requests) AS requests, sum(status_2xx) AS status_2xx,
            sum(status_3xx) AS status_3xx, sum(status_4xx) AS status_4xx,
            sum(status_5xx) AS status_5xx, sum(status_other) AS status_other,
            sum(failed) AS failed, sum(rate_limited) AS rate_limited, sum(timed) AS timed,
            sum(duration_sum_us) AS duration_sum_us, min(duration_min_us) AS duration_min_us,
            max(duration_max_us) AS duration_max_us, sum(sketch) AS sketch,
            min(sketch_format) AS sketch_format
        FROM endpoint_pieces
        WHERE bucket >= '2026-06-01 10:00:00+00:00'::timestamptz
            AND bucket < '2026-06-01 10:05:00+00:00'::timestamptz
        GROUP BY 1, 2, 3, 4, 5
    ),
    -- for each: whether the level's bucket has the name already, and how many names it has
    found AS (
        SELECT a.*, coalesce(c.known, false) AS known, c.there
        FROM added a CROSS JOIN LATERAL (
            SELECT bool_or(t."method" = a."method" AND t."endpoint" = a."endpoint") AS known,
                count(*) FILTER (
                    WHERE NOT (t."method" = '(other)' AND t."endpoint" = '(other)')
                ) AS there
            FROM endpoint_rollups_1m t
            WHERE t.bucket >= '2026-06-01 00:00:00+00:00'::timestamptz
                AND t.bucket < '2026-06-02 00:00:00+00:00'::timestamptz
                AND t.bucket = a.bucket AND t.node = a.node
                AND t.summed IS NOT DISTINCT FROM a.summed
        ) c
    ),
    -- the place of each new name in its bucket: behind the names there, the busiest first
    ranked AS (
        SELECT *, there + row_number() OVER (
            PARTITION BY bucket, node, summed, known
            ORDER BY ("method" = '(other)' AND "endpoint" = '(other)'), requests DESC,
                "method", "endpoint"
        ) AS place
        FROM found
    ),
    -- new names beyond the places become (other)
    named AS (
        SELECT bucket, node, summed,
            CASE WHEN known OR place <= 200 THEN "method" ELSE '(other)' END AS "method",
            CASE WHEN known OR place <= 200 THEN "endpoint" ELSE '(other)' END AS "endpoint",
            requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed,
            rate_limited, timed, duration_sum_us, duration_min_us, duration_max_us, sketch,
            sketch_format
        FROM ranked
    ),
    -- the level's rows of the same bucket and name are taken out
    old AS (
        DELETE FROM endpoint_rollups_1m t
        USING (SELECT DISTINCT bucket, node, summed, "method", "endpoint" FROM named) n
        WHERE t.bucket >= '2026-06-01 00:00:00+00:00'::timestamptz
            AND t.bucket < '2026-06-02 00:00:00+00:00'::timestamptz
            AND t.bucket = n.bucket AND t.node = n.node
            AND t.summed IS NOT DISTINCT FROM n.summed
            AND t."method" = n."method" AND t."endpoint" = n."endpoint"
        RETURNING t.bucket, t.node, t.summed, t."method", t."endpoint", t.requests, t.status_2xx,
            t.status_3xx, t.status_4xx, t.status_5xx, t.status_other, t.failed, t.rate_limited,
            t.timed, t.duration_sum_us, t.duration_min_us, t.duration_max_us, t.sketch,
            t.sketch_format
    )
    -- and both together put in
    INSERT INTO endpoint_rollups_1m (
        bucket, node, summed, "method", "endpoint", requests, status_2xx, status_3xx, status_4xx,
        status_5xx, status_other, failed, rate_limited, timed, duration_sum_us, duration_min_us,
        duration_max_us, sketch, sketch_format
    )
    SELECT bucket, node, summed, "method", "endpoint",
        sum(requests) AS requests, sum(status_2xx) AS status_2xx, sum(status_3xx) AS status_3xx,
        sum(status_4xx) AS status_4xx, sum(status_5xx) AS status_5xx,
        sum(status_other) AS status_other, sum(failed) AS failed,
        sum(rate_limited) AS rate_limited, sum(timed) AS timed,
        sum(duration_sum_us) AS duration_sum_us, min(duration_min_us) AS duration_min_us,
        max(duration_max_us) AS duration_max_us, sum(sketch) AS sketch,
        min(sketch_format) AS sketch_format
    FROM (
        SELECT bucket, node, summed, "method", "endpoint", requests, status_2xx, status_3xx,
            status_4xx, status_5xx, status_other, failed, rate_limited, timed, duration_sum_us,
            duration_min_us, duration_max_us, sketch, sketch_format
        FROM named
        UNION ALL
        SELECT bucket, node, summed, "method", "endpoint", requests, status_2xx, status_3xx,
            status_4xx, status_5xx, status_other, failed, rate_limited, timed, duration_sum_us,
            duration_min_us, duration_max_us, sketch, sketch_format
        FROM old
    ) merged
    GROUP BY 1, 2, 3, 4, 5

GROUP BY goes by number, since a name would be the source's column, not the bucket made of it.
Without merging there is no ``old``, ``found`` is ``SELECT *, false AS known, 0 AS there FROM
added``, and the rows put in are those of ``named``. A kind without names has only ``added`` and
``old``.
"""

from collections.abc import Iterable

from aegisd.events.counters import OTHER
from aegisd.store.rollups.rollup import MAX_NAMES
from aegisd.store.schema import RollupKind

EPOCH = "'1970-01-01 00:00:00+00'::timestamptz"

_KEYS = ("bucket", "node", "summed")


def binned(seconds: int, column: str = "bucket") -> str:
    """The start of the bucket a row lies in, whatever the session's time zone."""
    return f"date_bin('{seconds} seconds', {column}, {EPOCH})"


def is_other(names: Iterable[str]) -> str:
    """The condition that a row is the one of all names without a place.

    Only where all of its names are OTHER: a sender may call a method so, and gets no more places.
    """
    return " AND ".join(f"{name} = '{OTHER}'" for name in names)


def sums(kind: RollupKind) -> dict[str, str]:
    """How each column of a kind's rollups is added up; not those of time, node and names."""
    columns = {name: f"sum({name})" for name in kind.counters}
    if kind.timed:
        columns |= {
            "duration_sum_us": "sum(duration_sum_us)",
            "duration_min_us": "min(duration_min_us)",
            "duration_max_us": "max(duration_max_us)",
            "sketch": "sum(sketch)",
            "sketch_format": "min(sketch_format)",
        }
    return columns


def add_up(
    *,
    kind: RollupKind,
    source_table: str,
    where: str,
    level: int,
    node: str = "node",
    summed: str = "summed",
    merge_where: str = "",
) -> str:
    """The statement that makes rows of a level from ``source_table``; the busiest names stay apart.

    ``node`` and ``summed`` are the SQL of these two columns. ``merge_where``, a condition on the
    level's rows t, has the rows that are there already added to, so that late events leave no rows
    behind; a new name finds a place while the bucket has fewer than MAX_NAMES.
    """
    table, figures, names = kind.table(level), sums(kind), _quoted(kind)
    keys = [f"{binned(level)} AS bucket", f"{node} AS node", f"{summed} AS summed", *names]
    columns = ", ".join([*_KEYS, *names, *figures])
    added_up = ", ".join(f"{how} AS {name}" for name, how in figures.items())
    group = ", ".join(str(i + 1) for i in range(len(keys)))
    parts = [
        f"added AS (SELECT {', '.join(keys)}, {added_up} FROM {source_table} WHERE {where}"
        f" GROUP BY {group})"
    ]
    result = "added"
    if names:
        parts += [_found(kind, table, merge_where), _ranked(kind), _named(kind)]
        result = "named"
    if merge_where:
        parts.append(_old(kind, table, merge_where, result))
        result = f"(SELECT {columns} FROM {result} UNION ALL SELECT {columns} FROM old) merged"
    return (
        f"WITH {', '.join(parts)} INSERT INTO {table} ({columns})"
        f" SELECT {', '.join([*_KEYS, *names])}, {added_up} FROM {result} GROUP BY {group}"
    )


def _quoted(kind: RollupKind) -> list[str]:
    return [f'"{name}"' for name in kind.names]


def _same_bucket(other: str) -> str:
    """The condition that the level's row t has the bucket and node of another row.

    It is written for the index by node: by that of all nodes, Postgres would look for each row
    among those of all nodes.
    """
    return (
        f"t.bucket = {other}.bucket AND t.node = {other}.node"
        f" AND t.summed IS NOT DISTINCT FROM {other}.summed"
    )


def _same_name(kind: RollupKind, other: str) -> str:
    return " AND ".join(f"t.{name} = {other}.{name}" for name in _quoted(kind))


def _found(kind: RollupKind, table: str, merge_where: str) -> str:
    if not merge_where:
        return "found AS (SELECT *, false AS known, 0 AS there FROM added)"
    # LATERAL looks each row up by itself: other ways would read the whole level
    return (
        "found AS (SELECT a.*, coalesce(c.known, false) AS known, c.there"
        " FROM added a CROSS JOIN LATERAL"
        f" (SELECT bool_or({_same_name(kind, 'a')}) AS known,"
        f" count(*) FILTER (WHERE NOT ({is_other(f't.{name}' for name in _quoted(kind))}))"
        f" AS there FROM {table} t WHERE {merge_where} AND {_same_bucket('a')}) c)"
    )


def _ranked(kind: RollupKind) -> str:
    names = _quoted(kind)
    order = [f"({is_other(names)})", *(f"{counter} DESC" for counter in kind.rank), *names]
    return (
        "ranked AS (SELECT *, there + row_number() OVER (PARTITION BY bucket, node, summed, known"
        f" ORDER BY {', '.join(order)}) AS place FROM found)"
    )


def _named(kind: RollupKind) -> str:
    names = [
        f"CASE WHEN known OR place <= {MAX_NAMES} THEN {name} ELSE '{OTHER}' END AS {name}"
        for name in _quoted(kind)
    ]
    return f"named AS (SELECT {', '.join([*_KEYS, *names, *sums(kind)])} FROM ranked)"


def _old(kind: RollupKind, table: str, merge_where: str, result: str) -> str:
    columns = [*_KEYS, *_quoted(kind)]
    same = " AND ".join([_same_bucket("n"), *([_same_name(kind, "n")] if kind.names else [])])
    returned = ", ".join(f"t.{column}" for column in [*columns, *sums(kind)])
    return (
        f"old AS (DELETE FROM {table} t"
        f" USING (SELECT DISTINCT {', '.join(columns)} FROM {result}) n"
        f" WHERE {merge_where} AND {same} RETURNING {returned})"
    )

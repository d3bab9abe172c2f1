"""The SQL that adds rows of pieces or of a finer level up as rows of a level. Pure."""

from collections.abc import Iterable

from aegisd.events.counters import OTHER
from aegisd.store.rollups.rollup import MAX_NAMES
from aegisd.store.schema import Kind

EPOCH = "'1970-01-01 00:00:00+00'::timestamptz"


def binned(seconds: int, column: str = "bucket") -> str:
    """The start of the bucket a row lies in, whatever the session's time zone."""
    return f"date_bin('{seconds} seconds', {column}, {EPOCH})"


def is_other(names: Iterable[str]) -> str:
    """The condition that a row is of all names without a place.

    A method alone may be called OTHER: who sends it gets no more places than others.
    """
    return " AND ".join(f"{name} = '{OTHER}'" for name in names)


def sums(kind: Kind) -> dict[str, str]:
    """The columns of a kind's rollups but for time and names, and how they are added up."""
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


def insertion(
    kind: Kind,
    source: str,
    level: int,
    where: str,
    *,
    node: str = "node",
    summed: str = "summed",
    merging: str = "",
) -> str:
    """Rows of ``source`` added up as rows of a level, the busiest names by themselves.

    With ``merging``, a condition on the level's rows, those that have the same bucket, node and
    names are taken out and added to, so that late events leave no rows behind; a new name finds a
    place while the bucket has fewer than MAX_NAMES.
    """
    table, added = kind.table(level), sums(kind)
    names = [f'"{name}"' for name in kind.names]
    keys = ["bucket", "node", "summed"]
    own = [f"{binned(level)} AS bucket", f"{node} AS node", f"{summed} AS summed", *names]
    columns = ", ".join([*keys, *names, *added])
    total = ", ".join(f"{how} AS {name}" for name, how in added.items())
    group = ", ".join(str(i + 1) for i in range(len(own)))
    parts = [
        f"added AS (SELECT {', '.join(own)}, {total} FROM {source} WHERE {where} GROUP BY {group})"
    ]
    if names:
        parts += _named(kind, table, list(added), merging)
    result = "named" if names else "added"
    if merging:
        same = " AND ".join([_same("n"), *(f"t.{name} = n.{name}" for name in names)])
        new = f"SELECT DISTINCT {', '.join([*keys, *names])} FROM {result}"
        parts.append(
            f"old AS (DELETE FROM {table} t USING ({new}) n WHERE {merging} AND {same}"
            f" RETURNING {', '.join(f't.{column}' for column in [*keys, *names, *added])})"
        )
        result = f"(SELECT {columns} FROM {result} UNION ALL SELECT {columns} FROM old) merged"
    return (
        f"WITH {', '.join(parts)} INSERT INTO {table} ({columns})"
        f" SELECT {', '.join([*keys, *names])}, {total} FROM {result} GROUP BY {group}"
    )


def _same(other: str) -> str:
    """The condition that a row of the level has the bucket and node of another.

    Only the index by node serves it: by that of all nodes, each would be looked for among all.
    """
    return (
        f"t.bucket = {other}.bucket AND t.node = {other}.node"
        f" AND t.summed IS NOT DISTINCT FROM {other}.summed"
    )


def _named(kind: Kind, table: str, figures: list[str], merging: str) -> list[str]:
    """The parts of a query that give the names a place, or put them under OTHER."""
    names = [f'"{name}"' for name in kind.names]
    kept = [
        f"CASE WHEN known OR place <= {MAX_NAMES} THEN {name} ELSE '{OTHER}' END AS {name}"
        for name in names
    ]
    order = [
        f"({is_other(names)})",
        *(f"{column} DESC" for column in kind.rank),
        *names,
    ]
    known = "SELECT *, false AS known, 0 AS there FROM added"
    if merging:
        # each looked up by itself: other ways would read the whole level
        bucket = _same("a")
        same = " AND ".join(f"t.{name} = a.{name}" for name in names)
        known = (
            "SELECT a.*, coalesce(c.known, false) AS known, c.there FROM added a CROSS JOIN LATERAL"
            f" (SELECT bool_or({same}) AS known,"
            f" count(*) FILTER (WHERE NOT ({is_other(f't.{name}' for name in names)}))"
            f" AS there FROM {table} t WHERE {merging} AND {bucket}) c"
        )
    return [
        f"found AS ({known})",
        "ranked AS (SELECT *, there + row_number() OVER (PARTITION BY bucket, node, summed, known"
        f" ORDER BY {', '.join(order)}) AS place FROM found)",
        f"named AS (SELECT bucket, node, summed, {', '.join([*kept, *figures])} FROM ranked)",
    ]

"""The SQL that reads rollups: which tables, which rows, and how they are added up. Pure.

A query joins by UNION ALL the rows of each stretch, from its level, and the pieces of the whole
range, which are not folded yet. No event is in two of these at a time.
"""

from collections.abc import Sequence
from typing import Any

from attrs import define, field

from aegisd.store.history.cover import Stretch
from aegisd.store.history.sums import Key
from aegisd.store.rollups import binned, is_other
from aegisd.store.schema import REQUESTS, RollupKind


@define
class Query:
    """A query while it is written, with its arguments."""

    args: list[Any] = field(factory=list)

    def placeholder(self, value: Any, kind: str) -> str:
        """Add an argument; return its placeholder in the SQL."""
        self.args.append(value)
        return f"${len(self.args)}::{kind}"

    def rollups(
        self,
        kind: RollupKind,
        stretches: Sequence[Stretch],
        node: str | None,
        keys: Sequence[str],
        columns: Sequence[str],
        where: str = "",
        whole: str = " AND NOT summed",
    ) -> str:
        """The rollups of all stretches, and the pieces, each source added up by ``keys``.

        ``whole`` says which rows of a level hold all nodes' events.
        On Citus each worker adds up its own rows, and few rows are joined then.
        """
        named = "" if node is None else f" AND node = {self.placeholder(node, 'text')}"
        chosen = ", ".join([*keys, *(f"sum({name}) AS {name}" for name in columns)])
        group = ", ".join(str(i + 1) for i in range(len(keys)))
        everything = Stretch(0, stretches[0].start, stretches[-1].end)
        sources = [
            *((kind.table(each.level), each, named or whole) for each in stretches),
            (kind.pieces_table, everything, named),
        ]
        parts = [
            f"SELECT {chosen} FROM {table} WHERE {self._between(stretch)}{who}{where}"
            f" GROUP BY {group}"
            for table, stretch, who in sources
        ]
        return f"({' UNION ALL '.join(parts)}) r"

    def _between(self, stretch: Stretch) -> str:
        start, end = (
            self.placeholder(moment, "timestamptz") for moment in (stretch.start, stretch.end)
        )
        return f"bucket >= {start} AND bucket < {end}"


def series(
    kind: RollupKind,
    stretches: Sequence[Stretch],
    node: str | None,
    bucket: int,
    name: Key | None,
    *,
    timed: bool,
) -> tuple[str, list[Any]]:
    """The counters by bucket; with ``timed`` also the sum of durations and the sketch.

    Of one ``name`` of the kind's, or of everything.
    """
    query = Query()
    where = "".join(
        f' AND "{column}" = {query.placeholder(text, "text")}'
        for column, text in zip(kind.names, name or (), strict=True)
    )
    columns = [*kind.counters, *(["duration_sum_us", "sketch"] if timed else [])]
    added = [f"sum({name})::bigint" for name in kind.counters]
    if timed:
        added += ["sum(duration_sum_us)::text", "sum(sketch)"]
    rows = query.rollups(kind, stretches, node, [f"{binned(bucket)} AS b"], columns, where)
    return f"SELECT b, {', '.join(added)} FROM {rows} GROUP BY b", query.args


def nodes(stretches: Sequence[Stretch]) -> tuple[str, list[Any]]:
    """The requests of each node that wrote."""
    query = Query()
    # each node's own rows, whether a row of all nodes has them summed or not; the index that
    # serves this begins with summed
    own = " AND summed IN (false, true) AND node <> ''"
    rows = query.rollups(REQUESTS, stretches, None, ["node"], ["requests"], whole=own)
    return f"SELECT node, sum(requests)::bigint FROM {rows} GROUP BY node", query.args


def names(
    kind: RollupKind,
    stretches: Sequence[Stretch],
    node: str | None,
    limit: int,
    also: Sequence[Sequence[str]],
) -> tuple[str, list[Any]]:
    """The ``limit`` names that rank first, and the names in ``also``, with the counters of rank.

    ``also`` has a column for each of the kind's names. Going through all names is quick only with
    few columns, so ``shown`` reads the other figures, of the names that are shown.
    """
    query = Query()
    own = [f'"{name}"' for name in kind.names]
    rows = query.rollups(kind, stretches, node, own, kind.rank)
    sums = [f"sum({name})::bigint AS {name}" for name in kind.rank]
    # names that tie are in the same order whatever the database's collation is
    texts = [f'{name} COLLATE "C"' for name in own]
    order = ", ".join([is_other(own), *(f"{c} DESC" for c in kind.rank), *texts])
    group = ", ".join(own)
    chosen = f"({group}) IN ({_unnested(query, also)})"
    return (
        f"SELECT {group}, {', '.join(kind.rank)}"
        f" FROM (SELECT *, row_number() OVER (ORDER BY {order}) AS place"
        f" FROM (SELECT {group}, {', '.join(sums)} FROM {rows} GROUP BY {group}) added) ranked"
        f" WHERE place <= {query.placeholder(limit, 'bigint')} OR {chosen}"
    ), query.args


def shown(
    kind: RollupKind,
    stretches: Sequence[Stretch],
    node: str | None,
    chosen: Sequence[Sequence[str]],
    bucket: int | None,
) -> tuple[str, list[Any]]:
    """The other figures of some names: counters, the sum of durations and the sketch.

    By ``bucket`` seconds if given. ``chosen`` has a column for each of the kind's names.
    """
    query = Query()
    own = [f'"{name}"' for name in kind.names]
    group = ", ".join(own)
    keys = own if bucket is None else [*own, f"{binned(bucket)} AS b"]
    where = f" AND ({group}) IN ({_unnested(query, chosen)})"
    columns = [*kind.shown, "duration_sum_us", "sketch"]
    rows = query.rollups(kind, stretches, node, keys, columns, where)
    by = group if bucket is None else f"{group}, b"
    sums = ", ".join(f"sum({name})::bigint" for name in kind.shown)
    return (
        f"SELECT {group}, {sums}, sum(duration_sum_us)::text, sum(sketch) FROM {rows} GROUP BY {by}"
    ), query.args


def _unnested(query: Query, columns: Sequence[Sequence[str]]) -> str:
    arrays = ", ".join(query.placeholder(list(column), "text[]") for column in columns)
    return f"SELECT * FROM unnest({arrays})"

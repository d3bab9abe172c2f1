"""The SQL that reads rollups: which tables, which rows, added up how. Pure.

What a range takes from each level, and from the pieces that are not folded yet, is joined by UNION
ALL. Nothing is in two of these at a time.
"""

from collections.abc import Sequence
from typing import Any

from attrs import define, field

from aegisd.store.history.cover import Stretch
from aegisd.store.rollups import binned, is_other
from aegisd.store.schema import Kind


@define
class Reading:
    """A query that is being written, with its arguments."""

    args: list[Any] = field(factory=list)

    def arg(self, value: Any, kind: str) -> str:
        """How the query names ``value``."""
        self.args.append(value)
        return f"${len(self.args)}::{kind}"

    def rows(
        self,
        kind: Kind,
        stretches: Sequence[Stretch],
        node: str | None,
        keys: Sequence[str],
        columns: Sequence[str],
        where: str = "",
    ) -> str:
        """The rollups of all stretches and what is not folded yet, each added up by ``keys``.

        So Citus' workers add up what is theirs, and what is joined then is little.
        """
        named = "" if node is None else f" AND node = {self.arg(node, 'text')}"
        chosen = ", ".join([*keys, *(f"sum({name}) AS {name}" for name in columns)])
        group = ", ".join(str(i + 1) for i in range(len(keys)))
        whole = Stretch(0, stretches[0].start, stretches[-1].end)
        sources = [
            *((kind.table(each.level), each, named or " AND NOT summed") for each in stretches),
            (kind.pieces, whole, named),
        ]
        parts = [
            f"SELECT {chosen} FROM {table} WHERE {self._between(stretch)}{who}{where}"
            f" GROUP BY {group}"
            for table, stretch, who in sources
        ]
        return f"({' UNION ALL '.join(parts)}) r"

    def _between(self, stretch: Stretch) -> str:
        start, end = (self.arg(moment, "timestamptz") for moment in (stretch.start, stretch.end))
        return f"bucket >= {start} AND bucket < {end}"


def series(
    kind: Kind,
    stretches: Sequence[Stretch],
    node: str | None,
    bucket: int,
    *,
    timed: bool,
) -> tuple[str, list[Any]]:
    """Counters by bucket; with ``timed`` also the sum of durations and the sketch."""
    reading = Reading()
    columns = [*kind.counters, *(["duration_sum_us", "sketch"] if timed else [])]
    added = [f"sum({name})::bigint" for name in kind.counters]
    if timed:
        added += ["sum(duration_sum_us)::text", "sum(sketch)"]
    rows = reading.rows(kind, stretches, node, [f"{binned(bucket)} AS b"], columns)
    return f"SELECT b, {', '.join(added)} FROM {rows} GROUP BY b", reading.args


def names(
    kind: Kind,
    stretches: Sequence[Stretch],
    node: str | None,
    limit: int,
    also: Sequence[Sequence[str]],
) -> tuple[str, list[Any]]:
    """The ``limit`` names that rank first, and those in ``also``, with the counters of their rank.

    ``also`` has a column for each of the kind's names. All else of a name is a matter of ``shown``:
    whoever goes through all names is quick who reads and adds up little of each.
    """
    reading = Reading()
    own = [f'"{name}"' for name in kind.names]
    rows = reading.rows(kind, stretches, node, own, kind.rank)
    sums = [f"sum({name})::bigint AS {name}" for name in kind.rank]
    # names that tie stand in one order, whatever the database's collation
    texts = [f'{name} COLLATE "C"' for name in own]
    order = ", ".join([is_other(own), *(f"{c} DESC" for c in kind.rank), *texts])
    group = ", ".join(own)
    chosen = f"({group}) IN ({_listed(reading, also)})"
    return (
        f"SELECT {group}, {', '.join(kind.rank)}"
        f" FROM (SELECT *, row_number() OVER (ORDER BY {order}) AS place"
        f" FROM (SELECT {group}, {', '.join(sums)} FROM {rows} GROUP BY {group}) added) ranked"
        f" WHERE place <= {reading.arg(limit, 'bigint')} OR {chosen}"
    ), reading.args


def shown(
    kind: Kind,
    stretches: Sequence[Stretch],
    node: str | None,
    chosen: Sequence[Sequence[str]],
    bucket: int | None,
) -> tuple[str, list[Any]]:
    """What else a list shows of some names: counters, the sum of durations and the sketch.

    By ``bucket`` seconds if given; ``chosen`` as ``names``' also.
    """
    reading = Reading()
    own = [f'"{name}"' for name in kind.names]
    group = ", ".join(own)
    keys = own if bucket is None else [*own, f"{binned(bucket)} AS b"]
    where = f" AND ({group}) IN ({_listed(reading, chosen)})"
    columns = [*kind.shown, "duration_sum_us", "sketch"]
    rows = reading.rows(kind, stretches, node, keys, columns, where)
    by = group if bucket is None else f"{group}, b"
    sums = ", ".join(f"sum({name})::bigint" for name in kind.shown)
    return (
        f"SELECT {group}, {sums}, sum(duration_sum_us)::text, sum(sketch) FROM {rows} GROUP BY {by}"
    ), reading.args


def _listed(reading: Reading, columns: Sequence[Sequence[str]]) -> str:
    arrays = ", ".join(reading.arg(list(column), "text[]") for column in columns)
    return f"SELECT * FROM unnest({arrays})"

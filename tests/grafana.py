"""Replaces variables and macros in the dashboard's SQL, as Grafana does before it queries Postgres.

Variables go first (in the browser), then the data source's macros, by its manual.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen

CONF = Path(__file__).parents[1] / "conf/grafana"
DASHBOARD = json.loads((CONF / "aegisd.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}

_MACRO = re.compile(r"\$(__\w+)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!__)(\w+)")
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


@frozen
class Range:
    """The dashboard's time range, and the interval that Grafana makes of it for so many points.

    It divides the range by the panel's maxDataPoints, and takes the next of its round lengths.
    """

    start: datetime
    end: datetime
    intervals: dict[int, str]

    @classmethod
    def before(cls, end: datetime, intervals: dict[int, str], **length: float) -> "Range":
        return cls(end - timedelta(**length), end, intervals)


def seconds(interval: str) -> int:
    return int(interval[:-1]) * _UNITS[interval[-1]]


def statements() -> Iterator[tuple[str, str, int]]:
    """Every SQL text of the dashboard: its panel or variable, the text, maxDataPoints."""
    for title, panel in PANELS.items():
        for target in panel["targets"]:
            yield title, target["rawSql"], panel.get("maxDataPoints", 0)
    for name, variable in VARIABLES.items():
        yield f"${name}", variable["query"], 0


def quoted(text: str) -> str:
    """Grafana's format sqlstring."""
    return "'" + text.replace("'", "''") + "'"


def with_variables(sql: str, values: dict[str, str], node: str | None) -> str:
    """Replace the variables: ``values`` are the hidden ones', ``node`` None is the value of All."""

    def value(match: re.Match[str]) -> str:
        name, form = match[1] or match[3], match[2]
        if name == "node":
            assert form == "sqlstring", "the only form that is safe"
            return str(VARIABLES["node"]["allValue"]) if node is None else quoted(node)
        assert form is None
        return values[name]

    return _VARIABLE.sub(value, sql)


def with_macros(sql: str, over: Range, points: int = 0) -> str:
    """Replace the macros; KeyError for one that the manual lacks. ``points`` is maxDataPoints."""
    start, end = (int(moment.timestamp()) for moment in (over.start, over.end))
    sql = sql.replace("$__unixEpochFrom()", str(start)).replace("$__unixEpochTo()", str(end))
    if points:
        sql = sql.replace("$__interval", over.intervals[points])

    def group(column: str, interval: str, fill: str = "NULL") -> str:
        assert fill in ("0", "NULL", "previous")
        step = seconds(interval.strip("'"))
        return f"floor(extract(epoch from {column})/{step})*{step}"

    first, last = (f"'{m.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}'" for m in (over.start, over.end))
    macros: dict[str, Callable[..., str]] = {
        "__timeFilter": lambda column: f"{column} BETWEEN {first} AND {last}",
        "__timeFrom": lambda _: first,
        "__timeTo": lambda _: last,
        "__timeGroup": group,
        "__timeGroupAlias": lambda *arguments: f'{group(*arguments)} AS "time"',
    }

    def value(match: re.Match[str]) -> str:
        name, arguments = match[1], [part.strip() for part in match[2].split(",")]
        if name == "__timeGroup" and sql[match.end() : match.end() + 1] == ",":
            name = "__timeGroupAlias"  # an older form of it
        return macros[name](*arguments)

    return _MACRO.sub(value, sql)


def panel_sql(panel: dict[str, Any]) -> str:
    (target,) = panel["targets"]
    return str(target["rawSql"])

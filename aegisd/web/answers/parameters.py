"""Reads the parameters of a query, and bodies. A wrong one is a 400 that says what it takes."""

from typing import Any

import msgspec

from aegisd.events.protocol import MILLISECONDS_ABOVE
from aegisd.events.units import MILLISECOND_US, SECOND_US
from aegisd.store.history import (
    NAMED_RANGES,
    Endpoint,
    KeptFrom,
    Range,
    named_range,
    range_between,
)
from aegisd.times import parse_rfc3339
from aegisd.web.http import Request, bad_request

MAX_LIMIT = 1000
DEFAULT_LIMIT = 10
DEFAULT_RANGE = "1h"
MAX_YEAR_9999 = 253_402_300_799_000_000  # the last moment that RFC 3339 can write


def limit_of(request: Request) -> int:
    """How many items are wanted."""
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_LIMIT):
        raise bad_request(f"limit takes a whole number from 1 to {MAX_LIMIT}, not '{text}'")
    return int(text)


def node_of(request: Request) -> str | None:
    """The node that is asked for; None for all nodes."""
    node = request.query.get("node")
    if node is not None and (not node or "\0" in node):  # Postgres would refuse it
        raise bad_request("node takes a node's name, without NUL")
    return node


def endpoint_of(request: Request) -> Endpoint | None:
    """The endpoint that is asked for, by ``method`` and ``path`` together; None for all."""
    names = ("method", "path")
    missing = [name for name in names if name not in request.query]
    if len(missing) == len(names):
        return None
    if missing:
        raise bad_request(f"{missing[0]} is missing: method and path together name an endpoint")
    method, path = (request.query[name] for name in names)
    if "\0" in method + path:  # Postgres would refuse it
        raise bad_request("method and path take an endpoint's names, without NUL")
    return method, path


def is_exact(request: Request) -> bool:
    """Whether raw rows are to answer instead of rollups."""
    exact = request.query.get("exact", "false")
    if exact not in ("true", "false"):
        raise bad_request(f"exact takes true or false, not '{exact}'")
    return exact == "true"


def range_of(request: Request, now: int, kept: KeptFrom, *, names: bool = False) -> Range:
    """The range that is asked for, by ``range`` or by ``from`` and ``to``.

    ``kept`` says what is kept of each level; ``names`` is for a list of endpoints or keys.
    """
    free = _free_range(request, now)
    if free is not None:
        return range_between(*free, now, kept, names=names)
    return named_range(_name_of_range(request), now, kept, names=names)


def span_of(request: Request, now: int) -> tuple[int, int] | None:
    """The range that is asked for, as it is; None where none is."""
    free = _free_range(request, now)
    if free is not None or "range" not in request.query:
        return free
    seconds, _ = NAMED_RANGES[_name_of_range(request)]
    return now - seconds * SECOND_US, now


def _free_range(request: Request, now: int) -> tuple[int, int] | None:
    """The range that is asked for by ``from`` and ``to``; None where neither is there."""
    query = request.query
    if "from" not in query and "to" not in query:
        return None
    if "from" not in query or "range" in query:
        raise bad_request("from and to stand together, without range; to may be left out")
    start = moment_of("from", query["from"])
    end = moment_of("to", query["to"]) if "to" in query else now
    if start >= end:
        raise bad_request("from takes a time before to")
    return start, end


def _name_of_range(request: Request) -> str:
    name = request.query.get("range", DEFAULT_RANGE)
    if name not in NAMED_RANGES:
        raise bad_request(f"range takes one of {' '.join(NAMED_RANGES)}, not '{name}'")
    return name


def json_body(request: Request) -> dict[str, Any]:
    """The JSON object that the request sent. Its texts may be stored, but for NUL in them."""
    try:
        return msgspec.json.decode(request.body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_request(f"the body takes a JSON object: {error}") from None


def moment_of(parameter: str, text: str) -> int:
    """Read RFC 3339, or a number as timestamps on the wire have it; microseconds since 1970."""
    try:
        number = float(text)
    except ValueError:
        try:
            moment = parse_rfc3339(text.replace(" ", "+"))  # a bare + is a space in a query
        except ValueError:
            moment = -1
    else:
        scaled = number * (MILLISECOND_US if number > MILLISECONDS_ABOVE else SECOND_US)
        moment = round(scaled) if 0 <= scaled <= MAX_YEAR_9999 else -1
    if not 0 <= moment <= MAX_YEAR_9999:
        raise bad_request(
            f"{parameter} takes a time (RFC 3339) or seconds since 1970, not '{text}'"
        )
    return moment

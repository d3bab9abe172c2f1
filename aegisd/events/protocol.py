"""The wire protocol, version 1, as data: kinds, fields, limits, reasons of rejects.

docs/wire.md describes it for authors of emitters. This module imports only the standard library
and attrs: a gateway in Python can use it without loading numpy or trio.
"""

from enum import Enum, StrEnum

from attrs import frozen

VERSION = 1

MAX_AHEAD_SECONDS = 300
"""A timestamp may lie so far in the future, because clocks differ."""

PRESENCE_SECONDS = 300
"""For so long a backend, or a system's connections, are shown after their last report."""

MILLISECONDS_ABOVE = 1e11
"""A timestamp above this is in milliseconds: in seconds it would be the year 5138."""

MAX_DURATION_MS = 31 * 86_400_000
"""31 days. This bounds the bins of a sketch, and keeps sums of microseconds far below 2**63."""

MAX_STATUS = 999

MAX_ROWS = 65_536
"""A ``columns`` message may have so many rows."""

MAX_PERCENT = 1e6
"""``cpu_percent`` counts each core as 100: this is 10,000 busy cores."""


class FieldType(Enum):
    """The type of a field's values: it decides how they are checked, and their column's type."""

    TEXT = "text"
    CHOICE = "one of"
    STATUS = "status"
    DURATION = "milliseconds"
    TIMESTAMP = "timestamp"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    COUNT = "count"
    PERCENT = "percent"


@frozen
class Field:
    """One field of a kind.

    ``limit`` is the most bytes of UTF-8 that a TEXT keeps, ``choices`` are a CHOICE's values.
    """

    name: str
    type: FieldType
    required: bool = False
    limit: int = 0
    choices: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """The name of the field's column in a ``Block``, where durations are in microseconds."""
        return self.name.removesuffix("_ms") + "_us" if self.name.endswith("_ms") else self.name


def _text(name: str, limit: int, *, required: bool = False) -> Field:
    return Field(name, FieldType.TEXT, required, limit)


_TIMESTAMP = Field("timestamp", FieldType.TIMESTAMP)

REQUEST, RATE_LIMIT, BACKEND, SYSTEM = "request", "rate_limit", "backend", "system"
HEALTHY, UNHEALTHY = "healthy", "unhealthy"

SOURCE = _text("source", 255)

KINDS: dict[str, tuple[Field, ...]] = {
    REQUEST: (
        _text("method", 16, required=True),
        _text("path", 2048, required=True),
        Field("status_code", FieldType.STATUS, required=True),
        Field("duration_ms", FieldType.DURATION),
        _TIMESTAMP,
        _text("route", 2048),
        _text("backend", 255),
        _text("client_ip", 64),
        _text("error_message", 1024),
    ),
    RATE_LIMIT: (
        _text("key", 255, required=True),
        Field("allowed", FieldType.BOOLEAN, required=True),
        _TIMESTAMP,
        Field("remaining", FieldType.INTEGER),
        Field("limit", FieldType.INTEGER),
    ),
    BACKEND: (
        _text("backend_name", 255, required=True),
        Field("status", FieldType.CHOICE, required=True, choices=(HEALTHY, UNHEALTHY)),
        _TIMESTAMP,
        Field("response_time_ms", FieldType.DURATION),
        Field("circuit_breaker", FieldType.CHOICE, choices=("closed", "open", "half_open")),
    ),
    SYSTEM: (
        Field("active_connections", FieldType.COUNT, required=True),
        _TIMESTAMP,
        Field("cpu_percent", FieldType.PERCENT),
        Field("memory_bytes", FieldType.COUNT),
        Field("open_files", FieldType.COUNT),
        SOURCE,  # the event's own, else the envelope's
    ),
}
"""The fields of each kind. A reject names the event's first faulty field in this order."""

ENVELOPE_KEYS = frozenset({"v", "kind", "source", "seq", "events", "columns", "n"})


def camel_case(name: str) -> str:
    """``status_code`` as ``statusCode``."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def aliases(kind: str) -> dict[str, str]:
    """The fields of ``kind`` by the names that they may have on the wire: own and camelCase."""
    fields = KINDS[kind]
    return {name: f.name for f in fields for name in (f.name, camel_case(f.name))}


class Reason(StrEnum):
    """Why an event or a whole message is rejected."""

    MALFORMED = "malformed"
    OVERSIZE = "oversize"
    UNKNOWN_KIND = "unknown_kind"
    MISSING_FIELD = "missing_field"
    BAD_TYPE = "bad_type"
    OUT_OF_RANGE = "out_of_range"
    BAD_SEQ = "bad_seq"

"""Microseconds since 1970 as text, and back: RFC 3339 in UTC, with milliseconds and ``Z``."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def rfc3339(microseconds: int) -> str:
    """Microseconds since 1970 as ``2026-11-23T08:14:00.000Z``."""
    time = _EPOCH + timedelta(microseconds=microseconds)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def parse_rfc3339(text: str) -> int:
    """Microseconds since 1970. Raises ValueError where ``text`` is no time with an offset."""
    time = datetime.fromisoformat(text.upper())  # RFC 3339 also allows t and z
    if time.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return (time - _EPOCH) // _MICROSECOND

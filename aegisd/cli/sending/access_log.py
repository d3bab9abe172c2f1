"""Lines of access logs as events. Pure.

The combined format of Apache and nginx is: client, identity, user, [time], "request", status,
bytes, "referer", "user agent". It has no durations. ``client_address`` says what may be in place
of the client.
"""

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from aegisd.cli.sending.client_address import find_client

_COMBINED = re.compile(
    r'(?P<head>\S+ \S+ .+?) \[(?P<time>[^\]]{26})\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r'(?P<status>\d{3}) (?:\d+|-)(?: "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*")?.*'
)
_TIME = re.compile(r"(\d{2})/(\w{3})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
NO_METHOD = "-"

Event = dict[str, Any]


def parse_combined(line: str) -> Event | None:
    """A line as a request event; None where it is not in the combined format."""
    match = _COMBINED.match(line)
    timestamp = parse_time(match["time"]) if match else None
    if match is None or timestamp is None:
        return None
    method, path = _request(match["request"])
    return {
        "timestamp": timestamp,
        "method": method,
        "path": path,
        "status_code": int(match["status"]),
        "client_ip": find_client(match["head"]),
    }


def _request(text: str) -> tuple[str, str]:
    """Method and path. A scanner may send neither; then the whole text is the path."""
    parts = text.split(" ")
    if len(parts) >= 2 and parts[0].isalpha():
        path = parts[1:-1] if parts[-1].startswith("HTTP/") and len(parts) > 2 else parts[1:]
        return parts[0], " ".join(path)
    return NO_METHOD, text


def parse_time(text: str) -> float | None:
    """``17/May/2015:10:05:03 +0000`` as seconds since 1970."""
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
    try:
        zone = timezone(-offset if match[7] == "-" else offset)
        day = datetime(int(match[3]), _MONTHS[match[2]], int(match[1]), tzinfo=zone)
        hour, minute, second = map(int, match.group(4, 5, 6))
        return day.replace(hour=hour, minute=minute, second=second).timestamp()
    except ValueError:
        return None

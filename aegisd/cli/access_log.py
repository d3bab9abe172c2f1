"""``aegisd import``: an access log as events.

The combined format of Apache and nginx: client, identity, user, [time], "request", status,
bytes, "referer", "user agent". It has no durations. Lines that are none are counted and shown.
"""

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import IO, Any

from aegisd.cli.address import MAX_DATAGRAM_BYTES, AnySender
from aegisd.errors import AegisdError, ConfigError

MAX_EVENTS_A_MESSAGE = 50
EVENT_OVERHEAD_BYTES = 128  # of an event beside its path
MAX_LINE_BYTES = 16 * 1024  # servers take requests of 8 KiB
MAX_SHOWN_FAULTS = 5
BAR_WIDTH = 30
BAR_SECONDS = 0.2
DEFAULT_RETENTION_SECONDS = 30 * 86_400

_COMBINED = re.compile(
    r'(?P<client>\S+) \S+ .+? \[(?P<time>[^\]]{26})\] "(?P<request>(?:[^"\\]|\\.)*)" '
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
    """A line as a request event; None where it is no such line."""
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
        "client_ip": match["client"],
    }


def _request(text: str) -> tuple[str, str]:
    """Method and path; what a scanner sent in their place counts as a path."""
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


def import_log(sender: AnySender, name: str, *, rebase: bool, speed: float | None) -> None:
    """Send a log's lines as events, and say how many there were."""
    if speed is not None and not speed > 0:
        raise ConfigError(["--speed takes a number above 0"])
    with _opened(name, again=rebase) as file:
        shift = _shift(file) if rebase else 0.0
        reader = _Reader(file)
        started, first = time.monotonic(), None
        sent, newest = 0, 0.0
        for batch in _batches(reader, one_by_one=speed is not None):
            if speed is not None:
                first = batch[0]["timestamp"] if first is None else first
                due = started + (batch[0]["timestamp"] - first) / speed
                time.sleep(max(0.0, due - time.monotonic()))
            for event in batch:
                event["timestamp"] += shift
                newest = max(newest, event["timestamp"])
            sender.send(batch)
            sent += len(batch)
            reader.bar.show()
        reader.bar.end()
    print(f"{sent} events sent, {reader.faults} lines could not be read")
    if sent and newest < time.time() - DEFAULT_RETENTION_SECONDS:
        ends = datetime.fromtimestamp(newest, UTC)
        print(
            f"the log ends on {ends:%Y-%m-%d}: what is older than the daemon's retention is "
            "rejected; --rebase shifts it to now",
            file=sys.stderr,
        )


@contextmanager
def _opened(name: str, *, again: bool) -> Iterator[IO[bytes]]:
    """The log, to be read twice where ``again``."""
    with ExitStack() as stack:
        file: IO[bytes] = sys.stdin.buffer
        if name != "-":
            try:
                file = stack.enter_context(open(name, "rb"))
            except OSError as error:
                raise AegisdError(f"can't read {name}: {error.strerror}") from None
        if again and (name == "-" or not file.seekable()):  # a pipe may have a name, too
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            file = copy
        yield file


def _shift(file: IO[bytes]) -> float:
    """What brings the log's last time to now."""
    latest = max((event["timestamp"] for event in _Reader(file, quiet=True)), default=None)
    file.seek(0)
    return 0.0 if latest is None else time.time() - latest


class _Reader:
    """The events of a log."""

    def __init__(self, file: IO[bytes], *, quiet: bool = False) -> None:
        self._file = file
        self._quiet = quiet
        self.faults = 0
        self.bar = _Bar(file, quiet=quiet)

    def __iter__(self) -> Iterator[Event]:
        for number, line in enumerate(_lines(self._file), 1):
            self.bar.read += len(line)
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            event = parse_combined(text) if len(line) <= MAX_LINE_BYTES else None
            if event is not None:
                yield event
            elif text:
                self._fault(number, text)

    def _fault(self, number: int, text: str) -> None:
        self.faults += 1
        if not self._quiet and self.faults <= MAX_SHOWN_FAULTS:
            shown = ascii(text[:80])
            print(f"line {number} is not in the combined format: {shown}", file=sys.stderr)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The file's lines; one of more than MAX_LINE_BYTES is cut, and still longer than that."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        yield line


def _batches(events: _Reader, *, one_by_one: bool) -> Iterator[list[Event]]:
    """Lists of events, each of which fits a datagram."""
    batch: list[Event] = []
    size = 0
    limit = 1 if one_by_one else MAX_EVENTS_A_MESSAGE
    for event in events:
        bytes_ = EVENT_OVERHEAD_BYTES + len(event["path"].encode("utf-8", "surrogateescape"))
        if batch and (len(batch) == limit or size + bytes_ > MAX_DATAGRAM_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += bytes_
    if batch:
        yield batch


class _Bar:
    """A progress bar, on a terminal only."""

    def __init__(self, file: IO[bytes], *, quiet: bool) -> None:
        self.read = 0
        self._shown_at = 0.0
        self._total = 0
        self._on = sys.stderr.isatty() and not quiet
        if self._on and file.seekable():
            here = file.tell()
            self._total = file.seek(0, 2)
            file.seek(here)

    def show(self) -> None:
        """Draw it, not too often."""
        now = time.monotonic()
        if self._on and now - self._shown_at >= BAR_SECONDS:
            self._shown_at = now
            share = self.read / self._total if self._total else 0.0
            bar = "#" * round(share * BAR_WIDTH)
            print(f"\r[{bar:<{BAR_WIDTH}}] {share:4.0%}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take it away."""
        if self._on:
            print("\r" + " " * (BAR_WIDTH + 8) + "\r", end="", file=sys.stderr, flush=True)

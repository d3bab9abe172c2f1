"""``aegisd import``: sends an access log as events.

Lines in another format are counted and shown, and so are rejected events, as far as the daemon
tells. With ``--rebase`` the log is read twice: first for its newest time that is no outlier
(``sending.time_outliers``), which then becomes now. Outliers are shifted as all other times are,
and so the daemon rejects them.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from aegisd.cli.sending import (
    MAX_GATHERED_BYTES,
    Event,
    Failure,
    MessageTooLarge,
    ProgressBar,
    SendCounts,
    Sender,
    certain_rejects,
    find_outliers,
    numbered_lines,
    open_sender,
    pack,
    parse_combined,
    standard_input,
)
from aegisd.errors import AegisdError, ConfigError
from aegisd.events.protocol import MAX_AHEAD_SECONDS
from aegisd.events.units import DAY_SECONDS

MAX_EVENTS_A_MESSAGE = 50
MAX_LINE_BYTES = 16 * 1024  # servers take requests of 8 KiB
SHOWN_CHARACTERS = 80  # of a line that could not be read
MIN_SPEED = 0.001
"""A log of a day then takes three years. Slower replays would wait longer than clocks can count."""

DEFAULT_RETENTION_SECONDS = 30 * DAY_SECONDS

NumberedEvent = tuple[int, Event]
"""An event, and the number of its line."""

CountUnreadable = Callable[[int, str], None]
"""Takes a line's number and why it can't be read."""


def import_log(
    address: str | None, config: Path | None, file: str, *, rebase: bool, speed: float | None
) -> bool:
    """Send a log's lines as events, and print how many. Returns whether none failed."""
    with open_sender(address, config) as sender:
        return _import(sender, file, rebase=rebase, speed=speed)


def _import(sender: Sender, name: str, *, rebase: bool, speed: float | None) -> bool:
    if speed is not None and not speed >= MIN_SPEED:
        raise ConfigError([f"--speed takes a number from {MIN_SPEED} on"])
    with _opened(name, again=rebase) as file:
        shift = _shift(file) if rebase else 0.0
        run = _ImportRun(sender, shift)
        bar = ProgressBar(file)
        events = _events(file, bar, run.count_unreadable)
        try:
            for batch in _batches(events) if speed is None else _paced(events, speed):
                run.send(batch)
                bar.show()
        finally:
            bar.clear()
            run.report()
    return run.counts.complete


@contextmanager
def _opened(name: str, *, again: bool) -> Iterator[IO[bytes]]:
    """The log; with ``again`` it can be read twice."""
    with ExitStack() as stack:
        if name == "-":
            file = standard_input()
        else:
            try:
                file = stack.enter_context(open(name, "rb"))
            except OSError as error:
                raise AegisdError(f"can't read {name}: {error.strerror}") from None
        if again and (name == "-" or not file.seekable()):  # a named pipe can't seek
            copy = stack.enter_context(tempfile.TemporaryFile())
            try:
                shutil.copyfileobj(file, copy)
            except OSError as error:
                raise AegisdError(f"can't read {name} twice: {error.strerror}") from None
            copy.seek(0)
            file = copy
        yield file


def _events(
    file: IO[bytes], bar: ProgressBar | None, count_unreadable: CountUnreadable
) -> Iterator[NumberedEvent]:
    """The events of a log and the numbers of their lines."""
    for number, line in numbered_lines(file, MAX_LINE_BYTES):
        if bar is not None:
            bar.read += len(line)
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if len(line) > MAX_LINE_BYTES:
            count_unreadable(number, f"is longer than {MAX_LINE_BYTES} bytes")
        elif (event := parse_combined(text)) is not None:
            yield number, event
        elif text:
            count_unreadable(number, f"is not in the combined format: {text[:SHOWN_CHARACTERS]!a}")


def _shift(file: IO[bytes]) -> float:
    """The seconds from the log's newest time to now; outliers don't count."""
    timed = _timed(_events(file, None, lambda line, why: None))
    times = (event["timestamp"] for outlier, (_, event) in find_outliers(timed) if not outlier)
    newest = max(times, default=None)
    file.seek(0)
    return 0.0 if newest is None else time.time() - newest


def _timed(events: Iterable[NumberedEvent]) -> Iterator[tuple[float, NumberedEvent]]:
    return ((event["timestamp"], (number, event)) for number, event in events)


def _batches(events: Iterable[NumberedEvent]) -> Iterator[list[NumberedEvent]]:
    """Lists of events, each of which fits a message."""
    batch: list[NumberedEvent] = []
    size = 0
    for number, event in events:
        bytes_ = len(pack(event))
        if batch and (len(batch) == MAX_EVENTS_A_MESSAGE or size + bytes_ > MAX_GATHERED_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, event))
        size += bytes_
    if batch:
        yield batch


def _paced(events: Iterable[NumberedEvent], speed: float) -> Iterator[list[NumberedEvent]]:
    """Each event when it is due; an outlier at once."""
    started, first = time.monotonic(), None
    for outlier, (number, event) in find_outliers(_timed(events)):
        if not outlier:
            first = event["timestamp"] if first is None else first
            due = started + (event["timestamp"] - first) / speed
            time.sleep(max(0.0, due - time.monotonic()))
        yield [(number, event)]


class _ImportRun:
    """Sends events, shifted in time, and counts what becomes of them."""

    def __init__(self, sender: Sender, shift: float) -> None:
        self._sender = sender
        self._shift = shift
        self._newest: float | None = None
        self.counts = SendCounts()

    def count_unreadable(self, line: int, why: str) -> None:
        """Count the line with this number as unreadable."""
        self.counts.count_failure(Failure.UNREADABLE, line, why)

    def send(self, batch: list[NumberedEvent]) -> None:
        """Send a message. Raises AegisdError where no daemon takes it."""
        lines, events = [line for line, _ in batch], [event for _, event in batch]
        for event in events:
            event["timestamp"] += self._shift
        self._note_newest(events)
        try:
            rejects = self._sender.send(events)
        except MessageTooLarge as error:
            for line in lines:
                self.counts.count_failure(Failure.UNSENT, line, f"can't be sent: {error}")
        else:
            if rejects is None:  # a datagram is not answered
                rejects = certain_rejects(pack(events))
            self.counts.count_sent(lines, rejects)

    def _note_newest(self, events: list[Event]) -> None:
        latest = time.time() + MAX_AHEAD_SECONDS
        for event in events:
            if event["timestamp"] <= latest and (
                self._newest is None or event["timestamp"] > self._newest
            ):
                self._newest = event["timestamp"]

    def report(self) -> None:
        """Print what became of the log."""
        print(self.counts.summary(self._sender.sent))
        if not self.counts.sent:
            return
        if self._sender.note:
            print(self._sender.note)
        if self._newest is not None and self._newest < time.time() - DEFAULT_RETENTION_SECONDS:
            ends = datetime.fromtimestamp(self._newest, UTC)
            print(
                f"the log ends on {ends:%Y-%m-%d}: what is older than the daemon's retention is "
                "rejected; --rebase shifts it to now",
                file=sys.stderr,
            )

"""``aegisd import``: an access log sent as events.

Lines that are none are counted and shown, and so are events that are rejected, as far as that is
told. With ``--rebase`` a log is read twice: first for its newest time that is no stray, which then
becomes now. Strays are shifted as the others are, and so they are rejected.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import IO

from aegisd.cli.sending.access_log import Event, parse_combined
from aegisd.cli.sending.address import MAX_GATHERED_BYTES, AnySender, TooLarge, packed
from aegisd.cli.sending.lines import numbered, standard_input
from aegisd.cli.sending.rejects import foreseen
from aegisd.cli.sending.strays import judged
from aegisd.cli.sending.tally import Loss, Tally
from aegisd.errors import AegisdError, ConfigError
from aegisd.events.protocol import MAX_AHEAD_SECONDS
from aegisd.events.units import DAY_SECONDS

MAX_EVENTS_A_MESSAGE = 50
MAX_LINE_BYTES = 16 * 1024  # servers take requests of 8 KiB
SHOWN_CHARACTERS = 80  # of a line that could not be read
MIN_SPEED = 0.001
"""A log of a day then takes three years; slower, and waits grow beyond what a clock can tell."""

BAR_WIDTH = 30
BAR_SECONDS = 0.2
DEFAULT_RETENTION_SECONDS = 30 * DAY_SECONDS

Numbered = tuple[int, Event]
Lose = Callable[[int, str], None]


def import_log(sender: AnySender, name: str, *, rebase: bool, speed: float | None) -> bool:
    """Send a log's lines as events, and say how many there were; whether none was lost."""
    if speed is not None and not speed >= MIN_SPEED:
        raise ConfigError([f"--speed takes a number from {MIN_SPEED} on"])
    with _opened(name, again=rebase) as file:
        shift = _shift(file) if rebase else 0.0
        sending = _Sending(sender, shift)
        bar = _Bar(file)
        events = _events(file, bar, lambda line, why: sending.tally.lose(Loss.UNREAD, line, why))
        try:
            for batch in _batches(events) if speed is None else _paced(events, speed):
                sending.send(batch)
                bar.show()
        finally:
            bar.end()
            sending.report()
    return sending.tally.whole


@contextmanager
def _opened(name: str, *, again: bool) -> Iterator[IO[bytes]]:
    """The log, to be read twice where ``again``."""
    with ExitStack() as stack:
        if name == "-":
            file = standard_input()
        else:
            try:
                file = stack.enter_context(open(name, "rb"))
            except OSError as error:
                raise AegisdError(f"can't read {name}: {error.strerror}") from None
        if again and (name == "-" or not file.seekable()):  # a pipe may have a name, too
            copy = stack.enter_context(tempfile.TemporaryFile())
            try:
                shutil.copyfileobj(file, copy)
            except OSError as error:
                raise AegisdError(f"can't read {name} twice: {error.strerror}") from None
            copy.seek(0)
            file = copy
        yield file


def _events(file: IO[bytes], bar: "_Bar | None", lose: Lose) -> Iterator[Numbered]:
    """The events of a log and the numbers of their lines."""
    for number, line in numbered(file, MAX_LINE_BYTES):
        if bar is not None:
            bar.read += len(line)
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if len(line) > MAX_LINE_BYTES:
            lose(number, f"is longer than {MAX_LINE_BYTES} bytes")
        elif (event := parse_combined(text)) is not None:
            yield number, event
        elif text:
            lose(number, f"is not in the combined format: {text[:SHOWN_CHARACTERS]!a}")


def _shift(file: IO[bytes]) -> float:
    """What brings the log's last time to now; strays don't count."""
    timed = _timed(_events(file, None, lambda line, why: None))
    times = (event["timestamp"] for stray, (_, event) in judged(timed) if not stray)
    newest = max(times, default=None)
    file.seek(0)
    return 0.0 if newest is None else time.time() - newest


def _timed(events: Iterable[Numbered]) -> Iterator[tuple[float, Numbered]]:
    return ((event["timestamp"], (number, event)) for number, event in events)


def _batches(events: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    """Lists of events, each of which fits a message."""
    batch: list[Numbered] = []
    size = 0
    for number, event in events:
        bytes_ = len(packed(event))
        if batch and (len(batch) == MAX_EVENTS_A_MESSAGE or size + bytes_ > MAX_GATHERED_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, event))
        size += bytes_
    if batch:
        yield batch


def _paced(events: Iterable[Numbered], speed: float) -> Iterator[list[Numbered]]:
    """Each event when it is due; nobody waits for a stray."""
    started, first = time.monotonic(), None
    for stray, (number, event) in judged(_timed(events)):
        if not stray:
            first = event["timestamp"] if first is None else first
            due = started + (event["timestamp"] - first) / speed
            time.sleep(max(0.0, due - time.monotonic()))
        yield [(number, event)]


class _Sending:
    """Sends events, shifted, and counts what becomes of them."""

    def __init__(self, sender: AnySender, shift: float) -> None:
        self._sender = sender
        self._shift = shift
        self._newest: float | None = None
        self.tally = Tally()

    def send(self, batch: list[Numbered]) -> None:
        """Send a message. Raises AegisdError where nobody takes it."""
        lines, events = [line for line, _ in batch], [event for _, event in batch]
        for event in events:
            event["timestamp"] += self._shift
        self._note_newest(events)
        try:
            rejects = self._sender.send(events)
        except TooLarge as error:
            for line in lines:
                self.tally.lose(Loss.UNSENT, line, f"can't be sent: {error}")
        else:
            self.tally.send(lines, foreseen(packed(events)) if rejects is None else rejects)

    def _note_newest(self, events: list[Event]) -> None:
        latest = time.time() + MAX_AHEAD_SECONDS
        for event in events:
            if event["timestamp"] <= latest and (
                self._newest is None or event["timestamp"] > self._newest
            ):
                self._newest = event["timestamp"]

    def report(self) -> None:
        """Say what became of the log."""
        print(self.tally.summary(self._sender.sent))
        if not self.tally.sent:
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


class _Bar:
    """A progress bar, on a terminal only."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = 0
        self._shown_at = 0.0
        self._total = 0
        self._on = sys.stderr.isatty()
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

"""CPU a request and highest rate, of aegisd and its peers: ``make bench-ingest``.

Prints the tables of bench/README.md; progress goes to standard error.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from bench import arrays, events, machine, table
from bench.daemon import Aegisd
from bench.floor import Floor
from bench.measure import EVEN_RATE, OWN_SHARE, Load, Outcome, cheapest, drive, drops
from bench.peers import RECEIVE_BUFFER_BYTES, find_netdata, find_statsd
from bench.receiver import Failed, Receiver
from bench.search import highest, highest_stored
from bench.sender import write_frames
from bench.table import Queue, Results, Row

ENDPOINTS = (200, 2000)
PARTS = ("netdata", "statsd", "live", "stored", "queue", "numpy")

QUEUE_RATE = 100_000
QUEUE_BURST = 5  # half a queue of 10, every 50 µs; one by one the sender is too slow
RAISED_QUEUE = 512

BATCH = 10_000
"""The default of ``metrics.batch_size``: fewer events wait for the flush interval."""

BURST_BLOCK = 16 * 500
"""Requests in a burst of 16 columns messages, for numpy's larger blocks."""


@frozen
class Form:
    """A way to send the requests."""

    title: str
    transport: str
    per_frame: int
    encode: Callable[[events.Requests], list[bytes]]


FORMS = {
    "udp": Form("one map a datagram, UDP", "udp", 1, events.maps),
    "unix": Form("one map a datagram, Unix", "unix", 1, events.maps),
    "lists": Form("lists of 50, Unix", "unix", 50, lambda r: events.lists(r, 50)),
    "columns": Form("columns of 500, Unix", "unix", 500, lambda r: events.columns(r, 500)),
}
LINES = {
    "one": Form("one request a datagram", "udp", 1, lambda r: events.statsd_lines(r, 1)),
    "twenty": Form("20 requests a datagram", "udp", 20, lambda r: events.statsd_lines(r, 20)),
}


@frozen
class Lengths:
    """The length of each kind of run, in seconds."""

    search: float
    cpu: float
    stored: float
    queue: float


FULL = Lengths(search=1.5, cpu=2.5, stored=5, queue=60)
QUICK = Lengths(search=1, cpu=1.5, stored=3, queue=5)


class Bench:
    """The runs. ``forms`` are the forms that aegisd is measured with."""

    def __init__(self, directory: Path, lengths: Lengths, forms: list[str]) -> None:
        self._directory = directory
        self._lengths = lengths
        self._forms = {name: FORMS[name] for name in forms}
        self._loads: dict[tuple[str, int], Load] = {}
        self.results = Results()

    def load(self, form: Form, endpoints: int) -> Load:
        """The form's frames, encoded at the first call."""
        file = self._directory / f"{form.title}-{endpoints}.npz"
        if not file.exists():
            write_frames(file, form.encode(events.make_requests(endpoints)))
        return Load(file, form.per_frame, form.transport)

    def floor(self, endpoints: int, *, lines: bool) -> None:
        """Reading alone, and the sender's own limit; with ``lines`` for the peers' forms, too."""
        for key, form in {**self._forms, **(LINES if lines else {})}.items():
            row = Row("reading alone", key, form.title, endpoints)
            self.results.floor.append(row)
            load = self.load(form, endpoints)
            with failing(row), Floor(form.per_frame) as receiver:
                say(row)
                if form.transport == "udp":
                    row.highest = drops(receiver, load, None, self._lengths.search).rate
                else:
                    row.highest = highest(receiver, load, self._lengths.search).rate
                row.even = drive(receiver, load, EVEN_RATE, self._lengths.cpu)

    def peer(self, name: str, make: Callable[[], Receiver] | None, endpoints: int) -> None:
        """netdata or statsd, both forms of lines."""
        if make is None:
            self.results.absent.add(name)
            return
        for key, form in LINES.items():
            row = Row(name, key, form.title, endpoints)
            self.results.rows.append(row)
            with failing(row), make() as receiver:
                self._row(row, form, receiver)

    def live(self, endpoints: int) -> None:
        """The daemon without stored rows, all forms, one daemon."""
        rows = {key: Row("aegisd", key, form.title, endpoints) for key, form in self._forms.items()}
        self.results.rows.extend(rows.values())
        with failing(*rows.values()), Aegisd(stored=False) as receiver:
            for key, row in rows.items():
                with failing(row):
                    self._row(row, self._forms[key], receiver)

    def stored(self, endpoints: int) -> None:
        """The daemon with everything stored, a new database for each form."""
        for key, form in self._forms.items():
            row = Row("aegisd, all stored", key, form.title, endpoints)
            self.results.stored.append(row)
            with failing(row), Aegisd(stored=True) as receiver:
                say(row)
                load, seconds = self.load(form, endpoints), self._lengths.stored
                found = highest_stored(receiver, load, seconds, BATCH)
                row.highest, row.limited = found.rate, found.limited
                row.own = found.outcome

    def _row(self, row: Row, form: Form, receiver: Receiver) -> None:
        say(row)
        load = self.load(form, row.endpoints)
        found = highest(receiver, load, self._lengths.search)
        row.highest, row.limited, row.lossy = found.rate, found.limited, found.lossy
        if found.rate > EVEN_RATE:
            row.even = cheapest(receiver, load, EVEN_RATE, self._lengths.cpu)
        row.own = cheapest(receiver, load, OWN_SHARE * found.rate, self._lengths.cpu)

    def queue(self, endpoints: int) -> None:
        """A paced sender that does not wait, at two lengths of the kernel's queue."""
        form = FORMS["unix"]
        load = self.load(form, endpoints)
        for length in (machine.kernel_setting(machine.QUEUE_LENGTH), RAISED_QUEUE):
            say(Row(f"aegisd, a queue of {length}", "unix", form.title, endpoints))
            self.results.queues.append(self._queue(load, length))

    def _queue(self, load: Load, length: int) -> Queue:
        with machine.changed_setting(machine.QUEUE_LENGTH, length):
            if machine.kernel_setting(machine.QUEUE_LENGTH) != length:
                return Queue(length, None, "not allowed to set it: only root may")
            try:
                # a socket gets its queue's length when it is created
                with Aegisd(stored=False) as receiver:
                    return Queue(length, self._unwaiting(receiver, load))
            except Failed as error:
                return Queue(length, None, str(error))

    def _unwaiting(self, receiver: Receiver, load: Load) -> Outcome:
        seconds = self._lengths.queue
        return drive(receiver, load, QUEUE_RATE, seconds, QUEUE_BURST, nonblocking=True)

    def numpy(self, endpoints: int) -> None:
        """One thread of numpy with the same counts."""
        requests = events.make_requests(endpoints)
        for block in (500, BURST_BLOCK):
            micros = arrays.micros_per_request(requests, block, self._lengths.cpu)
            self.results.arrays[endpoints, block] = micros


@contextmanager
def failing(*rows: Row) -> Iterator[None]:
    """If a measurement can't be made, let its rows say why."""
    try:
        yield
    except Failed as error:
        for row in rows:
            row.problem = row.problem or str(error)


def say(row: Row) -> None:
    """Say on standard error what is measured now."""
    now = time.strftime("%H:%M:%S")
    print(f"{now} {row.receiver}: {row.form}, {row.endpoints} endpoints", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, 200 endpoints only")
    parser.add_argument(
        "--only",
        default="",
        help=f"names, separated by commas, of parts ({' '.join(PARTS)}) and forms "
        f"({' '.join(FORMS)}); without any of a sort, all of it",
    )
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - {*PARTS, *FORMS}:
        parser.error(f"--only: no such name: {', '.join(sorted(unknown))}")
    parts = [name for name in PARTS if name in only] or list(PARTS)
    forms = [name for name in FORMS if name in only] or list(FORMS)

    described = machine.describe()
    if machine.may_set(machine.RECEIVE_BUFFER):
        described["receive buffer of the peers' sockets"] = f"{RECEIVE_BUFFER_BYTES:,}"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bench = Bench(Path(directory), QUICK if options.quick else FULL, forms)
        run(bench, parts, ENDPOINTS[:1] if options.quick else ENDPOINTS)
    described["took"] = f"{time.monotonic() - started:.0f} s"
    print(table.render(bench.results, described))


def run(bench: Bench, parts: list[str], populations: tuple[int, ...]) -> None:
    """Run the parts that are asked for, one after the other."""
    bench.floor(populations[0], lines=bool({"netdata", "statsd"} & {*parts}))
    for endpoints in populations:
        if "netdata" in parts:
            bench.peer("netdata", find_netdata(), endpoints)
        if "statsd" in parts:
            bench.peer("statsd", find_statsd(), endpoints)
        if "live" in parts:
            bench.live(endpoints)
        if "numpy" in parts:
            bench.numpy(endpoints)
        if "stored" in parts:
            bench.stored(endpoints)
    if "queue" in parts:
        bench.queue(populations[0])


if __name__ == "__main__":
    # a signal raises SystemExit, so that processes are stopped and the kernel's settings restored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.umask(0o022)  # an embedded Postgres runs under another account
    main()

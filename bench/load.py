"""CPU, delay and pauses of aegisd under a steady load, beside netdata: ``make bench-load``.

The daemon runs with its defaults and stores everything in its embedded Postgres.
Prints Markdown tables; progress goes to standard error.
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

from bench import events, machine, steady
from bench.daemon import REPOSITORY, Aegisd
from bench.delay import STATUS, delays
from bench.load_table import BEFORE, NETDATA, OURS, Results, Row, render
from bench.measure import Load
from bench.pauses import pauses
from bench.peers import RECEIVE_BUFFER_BYTES, find_netdata
from bench.receiver import Failed, Receiver
from bench.sender import write_frames
from bench.storing import acknowledge

PARTS = ("rates", "idle", "acknowledged", "delay", "pauses", "soak")

ENDPOINTS = 200
RATES = (100, 1000, 5000, 20_000)
LIST = 50
SHORT_QUEUE, LONG_QUEUE = 10, 512
"""``net.unix.max_dgram_qlen``: the kernel's default, and systemd's."""

PREPARE_RATE, PREPARE_SECONDS = 20_000, 1.0
"""Each endpoint gets a request before, since its first one costs a receiver more."""

PEER_RATE, PEER_SECONDS = 50_000, 2.0
PEER_SETTLING_SECONDS = 4.0
"""netdata gets all requests once before; a new metric costs it CPU for some seconds."""

SETTLING_SECONDS = 6.0
"""A flush interval and a little."""

CONNECTIONS, DEPTH = 8, 1
DELAY_RATE = 1000
SOAK_RATE = 5000


Encode = Callable[[events.Requests], list[bytes]]


@frozen
class Form:
    """A way to send the requests, over a Unix socket to a daemon with a queue of ``queue``.

    ``against`` is what netdata gets for it.
    """

    title: str
    transport: str
    per_frame: int
    encode: Encode
    rates: tuple[int, ...] = RATES
    queue: int = SHORT_QUEUE
    against: str = ""


def _maps(requests: events.Requests) -> list[bytes]:
    return events.maps(requests, detailed=True)


ONE = Form("one request a datagram", "udp", 1, lambda r: events.statsd_lines(r, 1))
TWENTY = Form("20 requests a datagram", "udp", 20, lambda r: events.statsd_lines(r, 20), RATES[1:])
LINES = (ONE, TWENTY)

UDP = Form("one map a datagram, UDP", "udp", 1, _maps, against=ONE.title)
UNIX = Form(f"one map a datagram, Unix, queue {SHORT_QUEUE}", "unix", 1, _maps, against=ONE.title)
LISTS = Form(
    f"lists of {LIST}, Unix, queue {SHORT_QUEUE}",
    "unix",
    LIST,
    lambda r: events.lists(r, LIST, detailed=True),
    RATES[1:],
    against=TWENTY.title,
)
LONG = Form(
    f"one map a datagram, Unix, queue {LONG_QUEUE}",
    "unix",
    1,
    _maps,
    queue=LONG_QUEUE,
    against=ONE.title,
)
FORMS = (UDP, UNIX, LONG, LISTS)

BACKGROUND = Form(
    f"without {STATUS}", "unix", 1, lambda requests: _maps(events.without(requests, STATUS))
)


@frozen
class Lengths:
    """The length of each kind of run, in seconds, and the number of probes."""

    rate: float
    peer: float
    idle: float
    acknowledged: float
    probes: int


FULL = Lengths(rate=5, peer=3, idle=10, acknowledged=4, probes=100)
QUICK = Lengths(rate=1.5, peer=1.5, idle=3, acknowledged=1, probes=30)


class Bench:
    """The runs, of the daemons of some checkouts, by name."""

    def __init__(
        self, directory: Path, lengths: Lengths, codes: dict[str, Path], soak: float
    ) -> None:
        self._directory = directory
        self._lengths = lengths
        self._codes = codes
        self._soak = soak
        self._files: dict[Encode, Path] = {}
        self.results = Results()

    def _load(self, form: Form) -> Load:
        """The form's frames, encoded at the first call."""
        file = self._files.get(form.encode)
        if file is None:
            file = self._files[form.encode] = self._directory / f"{len(self._files)}.npz"
            write_frames(file, form.encode(events.make_requests(ENDPOINTS)))
        return Load(file, form.per_frame, form.transport)

    def _daemon(self, name: str) -> Aegisd:
        return Aegisd(stored=True, code=self._codes[name])

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """If something can't be measured, say why below the tables."""
        try:
            yield
        except Failed as error:
            self.results.problems.append(f"{what}: {error}")

    def rates(self) -> None:
        """CPU at steady rates, of daemons with a short queue and with a long one, and netdata."""
        for queue in (SHORT_QUEUE, LONG_QUEUE):
            with machine.changed_setting(machine.QUEUE_LENGTH, queue):
                if machine.kernel_setting(machine.QUEUE_LENGTH) != queue:
                    self.results.problems.append(f"a queue of {queue}: only root may set it")
                    continue
                for name in self._codes:
                    with self._failing(f"{name}, queue {queue}"), self._daemon(name) as daemon:
                        self._daemon_rates(name, queue, daemon)
        make = find_netdata()
        if make is None:
            self.results.problems.append("netdata is not installed here")
            return
        with self._failing(NETDATA), make() as receiver:
            steady.prepare(receiver, self._load(ONE), PEER_RATE, PEER_SECONDS)
            time.sleep(PEER_SETTLING_SECONDS)
            for form in LINES:
                for rate in form.rates:
                    self._rate(Row(NETDATA, form.title, rate), form, receiver, self._lengths.peer)

    def _daemon_rates(self, name: str, queue: int, daemon: Aegisd) -> None:
        """All forms at a rate, then at the next: so what still waits is never of a higher rate."""
        say(f"{name}, queue {queue}")
        forms = [form for form in FORMS if form.queue == queue]
        steady.prepare(daemon, self._load(forms[0]), PREPARE_RATE, PREPARE_SECONDS)
        for rate in RATES:
            for form in forms:
                if rate in form.rates:
                    batched = form.per_frame > 1
                    row = Row(name, form.title, rate, form.against, batched)
                    self._rate(row, form, daemon, self._lengths.rate)
        stored = steady.wait_stored(daemon)
        self.results.stored.append((name, str(queue), stored))

    def _rate(self, row: Row, form: Form, receiver: Receiver, seconds: float) -> None:
        say(f"{row.receiver}: {row.form}, {row.rate:,} requests/s")
        self.results.rows.append(row)
        try:
            row.steady = steady.measure(receiver, self._load(form), row.rate, seconds)
        except Failed as error:
            row.problem = str(error)

    def idle(self, name: str) -> None:
        """With nothing sent."""
        with self._daemon(name) as daemon:
            time.sleep(SETTLING_SECONDS)
            self.results.idle[name] = steady.window(daemon, self._lengths.idle)

    def acknowledged(self, name: str) -> None:
        """Lists over the stream, in lockstep."""
        file = self._load(LISTS).file
        with self._daemon(name) as daemon:
            seconds = self._lengths.acknowledged
            run = acknowledge(daemon, file, LIST, CONNECTIONS, DEPTH, seconds)
            self.results.acknowledged[name] = run
            steady.wait_stored(daemon)

    def delay(self, name: str) -> None:
        """The delay between sending an event and seeing it."""
        load = self._load(BACKGROUND)
        with self._daemon(name) as daemon:
            self.results.delays[name] = delays(daemon, load, DELAY_RATE, self._lengths.probes)

    def pauses(self, name: str) -> None:
        """Messages that are slow to handle, one after the other."""
        found = self.results.pauses.setdefault(name, [])
        for pause in pauses(lambda: self._daemon(name), lambda what: say(f"{name}: {what}")):
            found.append(pause)

    def soak(self, name: str) -> None:
        """A long load."""
        with self._daemon(name) as daemon:
            load = self._load(UDP)
            self.results.soaks[name] = steady.soak(daemon, load, SOAK_RATE, self._soak)
            steady.wait_stored(daemon)

    def run(self, part: str) -> None:
        """Run a part for each daemon."""
        if part == "rates":
            self.rates()
            return
        for name in self._codes:
            with self._failing(f"{part}, {name}"):
                say(f"{part}, {name}")
                getattr(self, part)(name)


def say(what: str) -> None:
    """Say on standard error what is measured now."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


def checkout(text: str) -> Path:
    """A directory with the daemon in it."""
    path = Path(text).resolve()
    if not (path / "aegisd" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no aegisd in {text}")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs")
    parser.add_argument("--only", default="", help=f"some of: {','.join(PARTS)}")
    parser.add_argument("--soak", type=float, default=0, help="also send for so many seconds")
    parser.add_argument(
        "--daemon", type=checkout, default=REPOSITORY, help="the checkout that is measured"
    )
    parser.add_argument("--before", type=checkout, help="another one, measured beside it")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - set(PARTS):
        parser.error(f"--only: no such part: {', '.join(sorted(unknown))}")
    if "soak" in only and not options.soak:
        parser.error("--only soak: --soak says how long")
    parts = [name for name in PARTS if name in (only or PARTS)]
    parts = [part for part in parts if part != "soak"] + ["soak"] * bool(options.soak)
    codes = {OURS: options.daemon} | ({BEFORE: options.before} if options.before else {})

    described = machine.describe()
    if machine.may_set(machine.RECEIVE_BUFFER):
        described["receive buffer of netdata's sockets"] = f"{RECEIVE_BUFFER_BYTES:,}"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        lengths = QUICK if options.quick else FULL
        bench = Bench(Path(directory), lengths, codes, options.soak)
        for part in parts:
            bench.run(part)
    described["took"] = f"{time.monotonic() - started:.0f} s"
    print(render(bench.results, described))


if __name__ == "__main__":
    # a signal raises SystemExit, so that processes are stopped and the kernel's settings restored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.umask(0o022)  # an embedded Postgres runs under another account
    main()

"""Rows a second from the socket to Postgres, and the journal's cost: ``make bench-store``.

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
from functools import cache
from pathlib import Path

from attrs import frozen

from bench import events, machine, rsyslog
from bench.acknowledging import disk_rate
from bench.cluster import Database, cluster
from bench.copying import Prebuilt, as_csv, blocks, find_psql, psql
from bench.measure import Load
from bench.receiver import Failed, wait_for
from bench.sender import write_frames
from bench.store_table import NONE, Ratio, Results, render
from bench.storing import (
    AWAY,
    JOURNALED,
    UNJOURNALED,
    Committed,
    Storing,
    acknowledge,
    commit,
    send,
)

PARTS = ("rates", "psql", "rsyslog", "cpu", "acknowledged", "replay")

FEW, MANY = 200, 2000
"""Endpoints."""

PACED_SHARE = 0.5
"""The CPU is compared flat out and at this share of the highest rate, where no queue grows."""

CONNECTIONS = 8
LIST = 50
DEPTHS = (1, 4)


@frozen
class Form:
    """A way to send the requests; ``reach`` and ``ambition`` against the prebuilt COPY."""

    title: str
    per_frame: int
    encode: Callable[[events.Requests], list[bytes]]
    reach: float
    ambition: float


COLUMNS = Form("columns of 500", 500, lambda r: events.columns(r, 500), 0.35, 0.7)
LISTS = Form(f"lists of {LIST}", LIST, lambda r: events.lists(r, LIST), 0.2, 0.4)


@frozen
class Sizes:
    """Rows and runs of each measurement, and seconds of those that have a fixed time."""

    rows: int
    runs: int
    cpu_rows: int
    syslog_rows: int
    replayed: int
    acknowledged: float
    disk: float


FULL = Sizes(2_000_000, 2, 1_000_000, 50_000, 10_000_000, acknowledged=8, disk=1)
QUICK = Sizes(200_000, 1, 200_000, 10_000, 500_000, acknowledged=2, disk=0.5)


class Bench:
    """The runs, on one database."""

    def __init__(self, directory: Path, sizes: Sizes, database: Database) -> None:
        self._directory = directory
        self._sizes = sizes
        self._database = database
        self.results = Results()
        # measured when they are first needed
        self._prebuilt = cache(self._measure_prebuilt)
        self._live = cache(self._measure_live)

    def _frames(self, form: Form, endpoints: int) -> list[bytes]:
        return form.encode(events.make_requests(endpoints))

    def _load(self, form: Form, endpoints: int) -> Load:
        file = self._directory / f"{form.title}-{endpoints}.npz"
        if not file.exists():
            write_frames(file, self._frames(form, endpoints))
        return Load(file, form.per_frame, "unix")

    def rates(self) -> None:
        """Socket to committed, against the prebuilt COPY."""
        for form, endpoints in ((COLUMNS, FEW), (COLUMNS, MANY), (LISTS, FEW)):
            against = self._prebuilt(endpoints)
            stored = self._live(form, endpoints)
            what = f"{form.title}, {endpoints:,} endpoints / prebuilt COPY"
            ratio = Ratio(what, stored.rate, against, form.reach, form.ambition)
            self.results.ratios.append(ratio)

    def _measure_prebuilt(self, endpoints: int) -> float:
        say(f"prebuilt COPY, {endpoints} endpoints")
        block = blocks(self._frames(COLUMNS, endpoints), self._sizes.rows)
        rows, taken = Prebuilt(block), []
        for _ in range(2):
            self._database.empty()
            taken.append(rows.copy(self._database))
        return self._peer("a prebuilt COPY", endpoints, rows.size, rows.size / min(taken))

    def _measure_live(self, form: Form, endpoints: int) -> Committed:
        runs = []
        load = self._load(form, endpoints)
        with Storing(self._database.dsn) as daemon:
            for _ in range(self._sizes.runs):
                say(f"{form.title}, {endpoints} endpoints")
                self._database.empty()
                runs.append(commit(daemon, load, self._sizes.rows))
                self._whole(runs[-1])
        best = max(runs, key=lambda run: run.rate)
        head = [f"aegisd, {form.title}", f"{endpoints:,}", f"{best.rows:,}", f"{best.rate:,.0f}"]
        tail = [f"{best.sent_seconds:.1f}", f"{best.waiting:,}", f"{best.micros:.2f}"]
        self.results.rates.append([*head, *tail])
        return best

    def _whole(self, run: Committed) -> None:
        if (found := self._database.rows()) != run.rows:
            raise Failed(f"{found:,} rows in the table for {run.rows:,} sent")

    def _peer(self, name: str, endpoints: int, rows: int, rate: float) -> float:
        self.results.rates.append(
            [name, f"{endpoints:,}", f"{rows:,}", f"{rate:,.0f}", NONE, NONE, NONE]
        )
        return rate

    def psql(self) -> None:
        """CSV through psql."""
        program = find_psql()
        if program is None:
            raise Failed("psql is not installed")
        live = self._live(COLUMNS, FEW)
        block = blocks(self._frames(COLUMNS, FEW), self._sizes.rows)
        self._database.empty()
        Prebuilt(block).copy(self._database)
        csv, taken = as_csv(self._database), []
        for _ in range(self._sizes.runs):
            say("psql")
            self._database.empty()
            taken.append(psql(program, self._database, csv))
        rate = self._peer("psql, CSV from a pipe", FEW, block.size, block.size / min(taken))
        self.results.ratios.append(
            Ratio(f"{COLUMNS.title}, {FEW} endpoints / psql", live.rate, rate, 0.6, 1)
        )

    def rsyslog(self) -> None:
        """INSERTs by rsyslog."""
        load = Load(self._directory / "lines.npz", 1, "unix")
        write_frames(load.file, rsyslog.lines(events.make_requests(FEW)))
        self._database.empty()
        say("rsyslog")
        with rsyslog.Rsyslog(self._database) as receiver:
            rows = self._sizes.syslog_rows
            rate = self._peer("rsyslog, ompgsql", FEW, rows, receiver.rate(load, rows))
        live = self._live(COLUMNS, FEW)
        what = f"{COLUMNS.title}, {FEW} endpoints / rsyslog"
        self.results.ratios.append(Ratio(what, live.rate, rate, 20, 40))

    def cpu(self) -> None:
        """The same load with and without the journal."""
        for form in (COLUMNS, LISTS):
            self._cpu(form, None)
            self._cpu(form, PACED_SHARE * self._live(form, FEW).rate)

    def _cpu(self, form: Form, rate: float | None) -> None:
        pace = "flat out" if rate is None else f"{rate:,.0f}/s"
        load = self._load(form, FEW)
        least: dict[str, float] = {}
        for _ in range(self._sizes.runs):
            for module in (JOURNALED, UNJOURNALED):
                say(f"CPU, {form.title}, {pace}, {module}")
                self._database.empty()
                with Storing(self._database.dsn, module) as daemon:
                    run = commit(daemon, load, self._sizes.cpu_rows, rate)
                    self._whole(run)
                least[module] = min(run.micros, least.get(module, run.micros))
        journaled, without = least[JOURNALED], least[UNJOURNALED]
        self.results.cpu.append([form.title, pace, f"{journaled:.3f}", f"{without:.3f}"])
        what = f"CPU an event, {form.title}, {pace}: journal / without"
        self.results.ratios.append(Ratio(what, journaled, without, 1.3, 1.1, at_most=True))

    def acknowledged(self) -> None:
        """Messages over the stream, with the database up and down."""
        file = self._load(LISTS, FEW).file
        for database, dsn in (("there", self._database.dsn), ("away", AWAY)):
            for depth in DEPTHS:
                say(f"acknowledged, {depth} under way, database {database}")
                self._database.empty()
                with Storing(dsn) as daemon:
                    disk = self._disk()
                    run = acknowledge(
                        daemon, file, LIST, CONNECTIONS, depth, self._sizes.acknowledged
                    )
                    disk = (disk + self._disk()) / 2
                rate = run.messages / run.seconds
                figures = [f"{rate:,.0f}", f"{rate * LIST:,.0f}", f"{run.micros:.2f}"]
                self.results.acknowledged.append(
                    [database, str(depth), *figures, f"{run.busy:.0%}", f"{disk:,.0f}"]
                )
                bars = (0.5, 0.9) if (database, depth) == ("there", 1) else (None, None)
                what = f"acknowledged, {depth} under way, database {database} / 8 × the disk"
                self.results.ratios.append(Ratio(what, rate, disk * CONNECTIONS, *bars))

    def _disk(self) -> float:
        """The disk's rate now: other use of it changes from moment to moment."""
        return disk_rate(self._directory, self._sizes.disk)

    def replay(self) -> None:
        """Replay of events that were journaled while the database was away."""
        live, load, total = self._live(COLUMNS, FEW), self._load(COLUMNS, FEW), self._sizes.replayed
        self._database.empty()
        with Storing(AWAY) as daemon:
            say(f"replay of {total:,}: into the journal")
            send(daemon.address(load.transport), load, total)
            wait_for(lambda: daemon.counted() >= total or None, "all is counted")
            size = daemon.status()["journal"]["bytes"]
            daemon.stop()
            say("replay: into the database")
            daemon.dsn = self._database.dsn
            start = time.time()
            daemon.start()
            seconds = daemon.wait_stored(total) - start
        if (found := self._database.rows()) != total:
            raise Failed(f"{found:,} rows in the table for {total:,} journaled")
        rate = total / seconds
        self.results.replay.append(
            [COLUMNS.title, f"{total:,}", f"{size / 2**20:,.0f}", f"{seconds:.1f}", f"{rate:,.0f}"]
        )
        self.results.ratios.append(Ratio("replay / live", rate, live.rate, 1))


@contextmanager
def failing(part: str, results: Results) -> Iterator[None]:
    """If a part can't be measured, say why."""
    try:
        yield
    except Failed as error:
        results.problems.append(f"{part}: {error}")


def say(what: str) -> None:
    """Say on standard error what is measured now."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, one run of each")
    parser.add_argument("--only", default="", help=f"some of: {','.join(PARTS)}")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - set(PARTS):
        parser.error(f"--only: no such part: {', '.join(sorted(unknown))}")

    described = machine.describe()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)  # an embedded Postgres runs under another account
        with cluster(directory) as database:
            described["Postgres"] = database.version()
            bench = Bench(directory, QUICK if options.quick else FULL, database)
            for part in [part for part in PARTS if part in only] or PARTS:
                with failing(part, bench.results):
                    getattr(bench, part)()
    described["took"] = f"{time.monotonic() - started:.0f} s"
    print(render(bench.results, described))


if __name__ == "__main__":
    # a signal raises SystemExit, so that processes are stopped and directories removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.umask(0o022)  # an embedded Postgres runs under another account
    main()

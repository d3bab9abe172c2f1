"""What the views cost: ``make bench-views``.

Prints Markdown tables; progress goes to standard error.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import machine
from bench.daemon import REPOSITORY
from bench.store_table import table
from bench.views_stream import FULL, QUICK, Bench, Results

PARTS = ("clients", "never", "ingest", "client")
HTTP_PART = "bench.views_http"

WS_TIMES, WS_TIMES_AMBITION = 1.3, 0.7
LATE_MS, LATE_MS_AMBITION = 150, 50
BYTES, BYTES_AMBITION = 3000, 1000
CLIENT_SHARE = 0.005


def render(results: Results) -> Iterator[str]:
    """The tables."""
    yield table(
        "clients|CPU, µs a client and update|bytes/s|late, ms: median|p99|longest",
        [
            [
                name,
                f"{seen.micros:.1f}",
                f"{seen.bytes_a_second:,.0f}",
                *(f"{seen.late[q]:.0f}" if q in seen.late else "" for q in ("p50", "p99", "max")),
            ]
            for name, seen in results.crowds.items()
        ],
    )
    yield table(
        "one client of all topics|bytes/s|CPU with it, % of a core|without|its own",
        [
            [
                name,
                f"{results.bytes[name]:,.0f}",
                f"{100 * with_it:.2f}",
                f"{100 * without:.2f}",
                f"{100 * (with_it - without):.2f}",
            ]
            for name, (with_it, without) in results.shares.items()
        ],
    )
    yield table("bar|measured|to reach|ambition", list(_bars(results)))
    yield from results.problems


def _bars(results: Results) -> Iterator[list[str]]:
    ours, theirs = results.crowds.get("aegisd"), results.crowds.get("ws")
    if ours and theirs:
        times = f"{ours.micros / theirs.micros:.2f} ×"
        what = "1,000 clients, one overview a second: CPU against ws"
        yield [what, times, f"≤ {WS_TIMES} ×", f"≤ {WS_TIMES_AMBITION} ×"]
        late = f"{ours.late['p99']:.0f} ms"
        yield ["the same: lateness, p99", late, f"≤ {LATE_MS} ms", f"≤ {LATE_MS_AMBITION} ms"]
    if results.lost:
        yield ["events lost beside 1,000 clients", results.lost, "none", ""]
    if "delta, compressed" in results.bytes:
        measured = f"{results.bytes['delta, compressed']:,.0f}"
        yield ["bytes/s to a client of all topics", measured, f"≤ {BYTES}", f"≤ {BYTES_AMBITION}"]
        with_it, without = results.shares["delta, compressed"]
        own = f"{100 * (with_it - without):.2f} %"
        yield ["CPU of that client", own, f"≤ {100 * CLIENT_SHARE} %", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs")
    parser.add_argument("--only", default="", help=f"some of: {','.join(PARTS)},http")
    parser.add_argument("--daemon", type=Path, default=REPOSITORY, help="the checkout to measure")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - {*PARTS, "http"}:
        parser.error(f"--only: no such part: {', '.join(sorted(unknown))}")
    parts = [part for part in PARTS if part in (only or PARTS)]

    described = machine.describe()
    print(table("machine|", described.items()) + "\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bench = Bench(Path(directory), QUICK if options.quick else FULL, options.daemon.resolve())
        bench.run(parts)
    print("\n\n".join(render(bench.results)))
    if (not only or "http" in only) and importlib.util.find_spec(HTTP_PART) is not None:
        quick = ["--quick"] if options.quick else []
        subprocess.run([sys.executable, "-m", HTTP_PART, *quick], check=False)


if __name__ == "__main__":
    # a signal raises SystemExit, so that processes are stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.umask(0o022)  # an embedded Postgres runs under another account
    main()

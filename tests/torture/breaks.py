"""Rounds: Postgres dies, or the line to it breaks, at any byte and around COMMIT."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from random import Random

from support import WAIT_SECONDS, Daemon, wait_until
from torture.crashes import CONFIG
from torture.line import Fault, faulty_line
from torture.outcome import Outcome, outcome, wait_until_stored
from torture.sources import Sources, sending

KINDS = ("cut", "stall", "lost", "passed", "answered")
MOST_BYTES = 100_000
MOST_COMMITS = 4
STALLED_EVENTS = 500  # acknowledged while the line stalls


def breaks(dsn: str, directory: Path, rounds: int, random: Random) -> Outcome:
    """Break the line so often; then count what is in the database."""
    daemon = Daemon(directory, CONFIG)
    try:
        with faulty_line(dsn, directory) as line:
            daemon.environment["AEGISD_STORAGE__DSN"] = line.dsn
            daemon.start()
            with sending(daemon.runtime / "stream.sock", random) as sources:
                for number in range(rounds):
                    fault = Fault(KINDS[number % len(KINDS)])
                    most = MOST_COMMITS if fault.at_commit else MOST_BYTES
                    fault.after = random.randint(1, most)
                    line.arm(fault)
                    _flow_until_struck(sources, fault)
                    if fault.kind == "stall":
                        _flow(sources, STALLED_EVENTS)
                        fault.released.set()
                sources.finish()
            wait_until_stored(daemon)
            assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.kill()
    return outcome(dsn, sources.written, sources.acknowledged, rounds)


def deaths(directory: Path, rounds: int, random: Random) -> Outcome:
    """Kill an embedded Postgres so often; then count what is in it."""
    daemon = Daemon(directory, CONFIG)
    try:
        daemon.start()
        with sending(daemon.runtime / "stream.sock", random) as sources:
            for _ in range(rounds):
                stored = daemon.get("/api/status")["flush"]["rows"]
                daemon.wait_for_rows(stored + random.randint(1, 5000), seconds=120)
                _kill_all(
                    int((daemon.state / "postgres/data/postmaster.pid").read_text().split()[0])
                )
                wait_until(lambda: not _connected(daemon), "it has noticed")
                wait_until(lambda: _connected(daemon), "Postgres is back", seconds=120)
            sources.finish()
        wait_until_stored(daemon)
        result = outcome(daemon.dsn(), sources.written, sources.acknowledged, rounds)
        assert daemon.stop() == 0, daemon.log()
    except BaseException:
        print(daemon.log())
        raise
    finally:
        daemon.kill()
    return result


def _flow(sources: Sources, events: int) -> None:
    """Until so many more events are acknowledged."""
    enough = sources.acknowledged + events
    wait_until(lambda: sources.acknowledged >= enough, "the stream flows on")
    sources.check()


def _flow_until_struck(sources: Sources, fault: Fault) -> None:
    struck = fault.struck.wait(2 * WAIT_SECONDS)
    sources.check()
    assert struck, f"the line was not used: {fault}"


def _connected(daemon: Daemon) -> bool:
    connected: bool = daemon.get("/api/status")["database"]["connected"]
    return connected


def _kill_all(postmaster: int) -> None:
    """As if the machine had taken Postgres away: nobody can finish anything."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for pid in (postmaster, *map(int, children)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

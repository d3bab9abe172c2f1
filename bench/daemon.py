"""aegisd as a receiver: with live figures only, or with everything stored in its Postgres."""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import machine
from bench.receiver import ANSWER_SECONDS, Failed, Receiver, fetch, wait_for

FLUSH_SECONDS = 5.0
"""The default of ``metrics.flush_interval_ms``."""

CONFIG = """
[ingest]
udp = "127.0.0.1:{udp}"
[http]
listen = "127.0.0.1:{http}"
[metrics]
enabled = {stored}
"""
REPOSITORY = Path(__file__).resolve().parent.parent

DATABASE_STOP_SECONDS = 20


class Aegisd(Receiver):
    """The daemon with default settings; ``stored`` says whether rows go to Postgres.

    ``code`` is the checkout whose daemon is run.
    """

    settle_seconds = 0.3

    def __init__(self, *, stored: bool, code: Path = REPOSITORY) -> None:
        super().__init__()
        self.name = "aegisd, all stored" if stored else "aegisd"
        self._stored = stored
        self._code = code
        self._udp = machine.free_port(socket.SOCK_DGRAM)
        self._http = machine.free_port(socket.SOCK_STREAM)

    def start(self) -> None:
        config = self.directory / "aegisd.toml"
        stored = "true" if self._stored else "false"
        config.write_text(CONFIG.format(udp=self._udp, http=self._http, stored=stored))
        command = [sys.executable, "-m", "aegisd", "run", "--config", str(config)]
        self.run(command, self.environment())
        wait_for(self._ready, "aegisd and its database are ready")

    def environment(self) -> dict[str, str]:
        """The process's environment: the code to run, and directories of its own."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AEGISD_", "PG"))},
            "PYTHONPATH": str(self._code),
            "STATE_DIRECTORY": str(self.directory / "state"),
            "RUNTIME_DIRECTORY": str(self.directory / "run"),
        }

    def _ready(self) -> bool | None:
        self.alive()
        body = fetch(f"http://127.0.0.1:{self._http}/api/status")
        if body is None:
            return None
        return json.loads(body)["data"]["database"]["connected"] or None

    @property
    def http_port(self) -> int:
        """The port for HTTP."""
        return self._http

    @property
    def stream(self) -> Path:
        """The socket of the acknowledged stream."""
        return self.directory / "run" / "stream.sock"

    def address(self, transport: str) -> str:
        if transport == "unix":
            return f"unix:{self.directory / 'run' / 'ingest.sock'}"
        return f"udp:127.0.0.1:{self._udp}"

    def counted(self) -> int:
        figures = self.ingest()
        for what in ("rejected", "dropped"):
            if any(figures[what].values()):
                some = ", ".join(f"{n} {why}" for why, n in figures[what].items() if n)
                why = self.status()["database"]["lastError"]
                raise Failed(f"{what}: {some}" + (f" ({why})" if why else ""))
        return int(figures["events"]["request"])

    def stored(self) -> int | None:
        return int(self.status()["flush"]["rows"]) if self._stored else None

    def status(self) -> Any:
        """The daemon's answer to ``/api/status``."""
        return self._get("/api/status")

    def ingest(self, seconds: float = ANSWER_SECONDS) -> Any:
        """The daemon's answer to ``/api/ingest``."""
        return self._get("/api/ingest", seconds)

    def _get(self, path: str, seconds: float = ANSWER_SECONDS) -> Any:
        body = fetch(f"http://127.0.0.1:{self._http}{path}", seconds)
        if body is None:
            self.alive()
            raise Failed(f"aegisd doesn't answer {path}")
        return json.loads(body)["data"]

    def database_cpu(self) -> float:
        postmaster = self._postmaster()
        if postmaster is None:
            return 0.0
        return sum(machine.cpu_seconds(pid) for pid in machine.family(postmaster))

    def kill(self) -> None:
        """Kill the process, which may hang."""
        self._process().kill()
        self._process().wait()

    def stop(self) -> None:
        """Stop the process, and the Postgres that a killed daemon leaves running."""
        super().stop()
        postmaster = self._postmaster()
        if postmaster is not None:
            os.kill(postmaster, signal.SIGINT)
            with suppress(Failed):
                gone = "Postgres has ended"
                wait_for(lambda: not self._postmaster() or None, gone, DATABASE_STOP_SECONDS)

    def _postmaster(self) -> int | None:
        """The process id of its Postgres, which is not a child of the daemon."""
        data = (self.directory / "state" / "postgres" / "data").resolve()
        with suppress(OSError, ValueError, IndexError):
            pid = int((data / "postmaster.pid").read_text().split()[0])
            if os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

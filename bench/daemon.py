"""aegisd as it is run, with live figures only or with everything stored in its Postgres."""

import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import machine
from bench.receiver import Failed, Receiver, fetch, wait_for

FLUSH_SECONDS = 5.0
"""``metrics.flush_interval_ms`` as it is by default."""

CONFIG = """
[ingest]
udp = "127.0.0.1:{udp}"
[http]
listen = "127.0.0.1:{http}"
[metrics]
enabled = {stored}
"""
REPOSITORY = Path(__file__).resolve().parent.parent


class Aegisd(Receiver):
    """The daemon with its defaults; ``stored`` switches the rows in Postgres on."""

    settle_seconds = 0.3

    def __init__(self, *, stored: bool) -> None:
        super().__init__()
        self.name = "aegisd, all stored" if stored else "aegisd"
        self._stored = stored
        self._udp = machine.free_port(socket.SOCK_DGRAM)
        self._http = machine.free_port(socket.SOCK_STREAM)

    def start(self) -> None:
        config = self.directory / "aegisd.toml"
        stored = "true" if self._stored else "false"
        config.write_text(CONFIG.format(udp=self._udp, http=self._http, stored=stored))
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AEGISD_", "PG"))},
            "PYTHONPATH": str(REPOSITORY),
            "STATE_DIRECTORY": str(self.directory / "state"),
            "RUNTIME_DIRECTORY": str(self.directory / "run"),
        }
        command = [sys.executable, "-m", "aegisd", "run", "--config", str(config)]
        self.run(command, environment)
        wait_for(self._ready, "aegisd and its database are ready")

    def _ready(self) -> bool | None:
        self.alive()
        body = fetch(f"http://127.0.0.1:{self._http}/api/status")
        if body is None:
            return None
        return json.loads(body)["data"]["database"]["connected"] or None

    def address(self, transport: str) -> str:
        if transport == "unix":
            return f"unix:{self.directory / 'run' / 'ingest.sock'}"
        return f"udp:127.0.0.1:{self._udp}"

    def counted(self) -> int:
        figures = self._get("/api/ingest")
        for what in ("rejected", "dropped"):
            if any(figures[what].values()):
                some = ", ".join(f"{n} {why}" for why, n in figures[what].items() if n)
                why = self._get("/api/status")["database"]["lastError"]
                raise Failed(f"{what}: {some}" + (f" ({why})" if why else ""))
        return int(figures["events"]["request"])

    def stored(self) -> int | None:
        return int(self._get("/api/status")["flush"]["rows"]) if self._stored else None

    def _get(self, path: str) -> Any:
        body = fetch(f"http://127.0.0.1:{self._http}{path}")
        if body is None:
            self.alive()
            raise Failed(f"aegisd doesn't answer {path}")
        return json.loads(body)["data"]

    def database_cpu(self) -> float:
        with suppress(OSError, ValueError):  # it is not the daemon's child but on its own
            file = self.directory / "state" / "postgres" / "data" / "postmaster.pid"
            postmaster = int(file.read_text().split()[0])
            return sum(machine.cpu_seconds(pid) for pid in machine.family(postmaster))
        return 0.0

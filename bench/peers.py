"""Other receivers of a gateway's figures, if they are installed: netdata and statsd."""

import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from bench import machine
from bench.receiver import Failed, Receiver, fetch, wait_for

FLUSH_SECONDS = 1.0
"""netdata's default interval; statsd is set to the same."""

RECEIVE_BUFFER_BYTES = 2 * 8 * 1024 * 1024
"""As large as the daemon's: it asks for 8 MiB, which the kernel doubles (socket(7))."""

LINES_A_REQUEST = 2  # a counter and a timer

NETDATA_CONFIG = """
[global]
    run as user = {user}
    # by itself it gives way to all others
    process scheduling policy = keep
    OOM score = keep
[directories]
    config = {directory}
    stock config = {directory}
    cache = {directory}
    lib = {directory}
    log = {directory}
    home = {directory}
[logs]
    debug = none
    error = none
    access = none
    health = none
[db]
    mode = ram
[web]
    web server threads = 1
    default port = {web}
    bind to = 127.0.0.1
[plugins]
    statsd = yes
    # its charts of itself tell how many lines it has counted
    netdata monitoring = yes
    netdata monitoring extended = no
    timex = no
    idlejitter = no
    tc = no
    diskspace = no
    proc = no
    cgroups = no
    slabinfo = no
    apps = no
    charts.d = no
    ebpf = no
    fping = no
    freeipmi = no
    go.d = no
    ioping = no
    nfacct = no
    perf = no
    python.d = no
    xenstat = no
    enable running new plugins = no
[health]
    enabled = no
[ml]
    enabled = no
[registry]
    enabled = no
[cloud]
    enabled = no
[statsd]
    default port = {udp}
    bind to = udp:127.0.0.1:{udp}
"""

NETDATA_COUNT = re.compile(r'statsd_events.*dimension="(\w+)"} (\d+)')


class _Peer(Receiver):
    """A receiver of lines over UDP."""

    settle_seconds = FLUSH_SECONDS + 0.3

    def __init__(self) -> None:
        super().__init__()
        self._udp = machine.free_port(socket.SOCK_DGRAM)

    def address(self, transport: str) -> str:
        return f"udp:127.0.0.1:{self._udp}"

    def start(self) -> None:
        # neither asks for a buffer size; a socket gets the default when it is created
        with machine.changed_setting(machine.RECEIVE_BUFFER, RECEIVE_BUFFER_BYTES):
            self.launch()
            wait_for(self._counts, f"{self.name} counts")

    def launch(self) -> None:
        """Start the process."""
        raise NotImplementedError

    def lines(self) -> dict[str, int]:
        """Its counts, by name; 'errors' are lines that it could not read.

        Empty if there is none now: netdata reports a count once.
        """
        raise NotImplementedError

    def _counts(self) -> bool | None:
        """Whether a line that is sent is counted."""
        self.alive()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"ready:1|c\nready:1|ms", ("127.0.0.1", self._udp))
        return sum(self.lines().values()) > 0 or None

    def counted(self) -> int:
        lines = wait_for(lambda: self.lines() or None, f"{self.name} tells its counts")
        if lines.pop("errors", 0):
            raise Failed(f"{self.name} could not read some lines")
        return sum(lines.values()) // LINES_A_REQUEST


class Netdata(_Peer):
    """netdata with everything off but its statsd server, which has its defaults."""

    name = "netdata"

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program
        self._web = machine.free_port(socket.SOCK_STREAM)

    def launch(self) -> None:
        config = self.directory / "netdata.conf"
        user = os.environ.get("USER") or str(os.getuid())
        if os.getuid() == 0:
            user = "root"
        config.write_text(
            NETDATA_CONFIG.format(user=user, directory=self.directory, web=self._web, udp=self._udp)
        )
        (self.directory / ".opt-out-from-anonymous-statistics").touch()
        pid_file = str(self.directory / "pid")
        environment = {**os.environ, "DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
        self.run([self._program, "-D", "-c", str(config), "-P", pid_file], environment)

    def lines(self) -> dict[str, int]:
        query = "format=prometheus&source=raw&filter=netdata.statsd_events"
        body = fetch(f"http://127.0.0.1:{self._web}/api/v1/allmetrics?{query}")
        found = NETDATA_COUNT.findall(body or "")
        return {name: int(count) for name, count in found if int(count)}


class Statsd(_Peer):
    """npm's statsd, with a backend that only keeps totals."""

    name = "statsd"

    def __init__(self, script: Path, node: str) -> None:
        super().__init__()
        self._script, self._node = script, node
        self._totals = self.directory / "totals.json"

    def launch(self) -> None:
        config = self.directory / "config.js"
        settings = {
            "address": "127.0.0.1",
            "port": self._udp,
            "mgmt_address": "127.0.0.1",
            "mgmt_port": machine.free_port(socket.SOCK_STREAM),
            "backends": [str(Path(__file__).with_name("statsd_totals.js"))],
            "totalsFile": str(self._totals),
            "flushInterval": int(FLUSH_SECONDS * 1000),
            "automaticConfigReload": False,
        }
        config.write_text(json.dumps(settings))
        self.run([self._node, str(self._script), str(config)], os.environ)

    def lines(self) -> dict[str, int]:
        if not self._totals.exists():
            return {}
        totals = json.loads(self._totals.read_text())
        return {"lines": totals["lines"] - totals["bad"], "errors": totals["bad"]}


def find_netdata() -> Callable[[], Receiver] | None:
    """A function that makes netdata, if it is installed."""
    program = shutil.which("netdata", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return None if program is None else lambda: Netdata(program)


def find_statsd() -> Callable[[], Receiver] | None:
    """A function that makes statsd, if node and npm's package are here or at $STATSD_JS."""
    node = shutil.which("node")
    named = os.environ.get("STATSD_JS")
    places = [Path(named)] if named else []
    here = Path.cwd()
    places += [folder / "node_modules" / "statsd" for folder in (here, *here.parents)]
    for place in places:
        script = place / "stats.js" if place.is_dir() else place
        if node is not None and script.is_file():
            return lambda: Statsd(script, node)
    return None

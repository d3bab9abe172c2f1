"""rsyslog with ompgsql: a log line for each request, an INSERT for each line, in batches."""

import shutil
import time

from bench.cluster import TABLE, Database
from bench.copying import libpq_environment
from bench.events import Requests
from bench.measure import Load
from bench.receiver import Failed, Receiver, wait_for
from bench.storing import STORED_SECONDS, send

PROGRAM = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/usr/local/sbin")

# Five workers, as in the manual's example of ompgsql with a queue. Batches and queues are larger
# than its defaults, for longer transactions. Nothing is discarded when a queue is full.
CONFIG = """
global(workDirectory="{directory}")
module(load="imuxsock" SysSock.Use="off")
module(load="ompgsql")
main_queue(queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="1024"
           queue.timeoutEnqueue="600000")
input(type="imuxsock" Socket="{directory}/log.sock" RateLimit.Interval="0")
template(name="row" type="list" option.stdsql="on") {{
  constant(value="INSERT INTO {table} (timestamp, node, method, path, endpoint, status_code,\
 duration_ms) VALUES ('")
  property(name="timegenerated" dateformat="rfc3339")
  constant(value="','bench','")
  property(name="msg" field.delimiter="124" field.number="2")
  constant(value="','")
  property(name="msg" field.delimiter="124" field.number="3")
  constant(value="','")
  property(name="msg" field.delimiter="124" field.number="3")
  constant(value="',")
  property(name="msg" field.delimiter="124" field.number="4")
  constant(value=",")
  property(name="msg" field.delimiter="124" field.number="5")
  constant(value=")")
}}
action(type="ompgsql" conninfo="{conninfo}" template="row"
       queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="1024"
       queue.workerThreads="5" queue.workerThreadMinimumMessages="500"
       queue.timeoutWorkerThreadShutdown="1000" queue.timeoutEnqueue="600000")
"""


def lines(requests: Requests) -> list[bytes]:
    """A line of syslog for each request."""
    stamp = time.strftime("%b %e %H:%M:%S")
    rows = zip(
        requests.endpoint.tolist(),
        requests.status.tolist(),
        requests.duration_ms.tolist(),
        strict=True,
    )
    return [
        f"<134>{stamp} gateway: |{'|'.join(requests.names[endpoint])}|{status}|{ms:.3f}".encode()
        for endpoint, status, ms in rows
    ]


class Rsyslog(Receiver):
    """rsyslogd with a configuration of its own."""

    settle_seconds = 0.0

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.name = "rsyslog"
        self._database = database

    def start(self) -> None:
        """Start it. Raises Failed if it isn't installed."""
        if PROGRAM is None:
            raise Failed("rsyslogd is not installed")
        environment = libpq_environment(self._database)
        # libpq takes these from the environment, so the configuration doesn't name them
        conninfo = f"dbname={environment['PGDATABASE']}"
        config = self.directory / "rsyslog.conf"
        config.write_text(CONFIG.format(directory=self.directory, table=TABLE, conninfo=conninfo))
        self.run([PROGRAM, "-n", "-f", str(config), "-i", str(self.directory / "pid")], environment)
        wait_for(self._ready, "rsyslog is ready")

    def _ready(self) -> bool | None:
        self.alive()
        log = (self.directory / "log").read_text(errors="replace")
        if "could not load module" in log:
            raise Failed("rsyslogd's module ompgsql is not installed")
        return (self.directory / "log.sock").exists() or None

    def address(self, transport: str) -> str:
        del transport
        return f"unix:{self.directory / 'log.sock'}"

    def counted(self) -> int:
        return self._database.rows()

    def rate(self, load: Load, rows: int) -> float:
        """Rows a second, from the first line sent to the last row committed."""
        sent, start, _ = send(self.address(load.transport), load, rows)
        wait_for(lambda: self.counted() >= sent or None, "rsyslog has stored all", STORED_SECONDS)
        return sent / (time.time() - start)

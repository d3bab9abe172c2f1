"""The delay between sending an event and seeing it in the live figures."""

import json
import random
import socket
import time
from http.client import HTTPConnection, HTTPException

import msgpack
from attrs import frozen

from bench.daemon import Aegisd
from bench.measure import Load, begun, sender
from bench.receiver import Failed

STATUS = 429
"""The probes' status, which no other request has."""

PROBE = msgpack.packb(
    {"method": "GET", "path": "/probe", "status_code": STATUS, "duration_ms": 1.0}
)
POLL_SECONDS = 0.003
SHOWN_SECONDS = 10
BETWEEN_SECONDS = 0.05
"""The longest pause between probes. It is random, so that probes don't keep the daemon's pace."""

WARM_SECONDS = 1.0
SEED = 429


@frozen
class Delays:
    """Seconds from sending an event to seeing it, sorted."""

    seconds: list[float]

    def quantile(self, share: float) -> float:
        """The delay that a share of the probes did not exceed."""
        return self.seconds[max(0, round(share * len(self.seconds)) - 1)]


def delays(daemon: Aegisd, load: Load, rate: float, probes: int) -> Delays:
    """Send probes, one after the other, beside a load. Raises Failed."""
    lasting = WARM_SECONDS + probes * (BETWEEN_SECONDS + SHOWN_SECONDS)  # ended earlier
    pauses = random.Random(SEED)
    address = daemon.address("unix")
    with (
        sender(address, load, lasting, rate, announce=True) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe,
    ):
        begun(process)
        probe.settimeout(SHOWN_SECONDS)
        probe.connect(address.removeprefix("unix:"))
        time.sleep(WARM_SECONDS)
        found = []
        try:
            http = HTTPConnection("127.0.0.1", daemon.http_port, timeout=SHOWN_SECONDS)
            for _ in range(probes):
                found.append(_delay(probe, http))
                time.sleep(pauses.uniform(0, BETWEEN_SECONDS))
            http.close()
        except (OSError, HTTPException) as error:
            daemon.alive()
            raise Failed(f"after {len(found)} probes: {error or type(error).__name__}") from error
        if process.poll() is not None:
            raise Failed("the sender ended before the probes did")
    return Delays(sorted(found))


def _delay(probe: socket.socket, http: HTTPConnection) -> float:
    before = _shown(http)
    start = time.perf_counter()
    probe.send(PROBE)
    while _shown(http) <= before:
        if time.perf_counter() > start + SHOWN_SECONDS:
            raise Failed(f"a probe was not shown within {SHOWN_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - start


def _shown(http: HTTPConnection) -> int:
    http.request("GET", "/api/metrics/realtime")
    return int(json.loads(http.getresponse().read())["data"]["rateLimitedRequests"])

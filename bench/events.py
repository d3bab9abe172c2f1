"""The requests that are sent, and their forms on the wire.

Every receiver gets the same requests: method, path, status, duration. As statsd lines these are
a counter for each endpoint and status and a timer for each endpoint. Detailed events also have the
backend and the client's address.
"""

import re
from itertools import product

import msgpack
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

REQUESTS = 100_000
"""Distinct requests; senders start over at the end. It is a multiple of 20, 50 and 500."""

SEED = 20_240_229
ZIPF_EXPONENT = 1.1
MEDIAN_MS, SIGMA = 12.0, 1.0  # of the lognormal durations

STATUSES = {200: 0.90, 201: 0.02, 301: 0.01, 404: 0.04, 429: 0.01, 500: 0.02}
METHODS = ("GET", "GET", "GET", "POST", "PUT")  # a word's place decides, so most are read only
WORDS = """
    account admin auth billing cart catalog chat files geo help jobs mail media
    address alert batch card device event group image invoice item note order plan
    archive check copy create detail export find list merge move rank share tag
"""
"""Paths are made of one word of each line: 2,197 of them."""

BACKENDS = tuple(f"app-{n}:8080" for n in range(1, 9))
CLIENTS = tuple(f"10.0.{high}.{low}" for high in range(20) for low in range(250))
"""The 5,000 client addresses of detailed events."""


@frozen(eq=False)
class Requests:
    """Requests as columns: ``endpoint`` is an index into ``names`` (method, path)."""

    names: list[tuple[str, str]]
    endpoint: NDArray[np.int64]
    status: NDArray[np.uint16]
    micros: NDArray[np.int64]

    @property
    def duration_ms(self) -> NDArray[np.float64]:
        return self.micros / 1000

    def __len__(self) -> int:
        return len(self.endpoint)

    def parts(self, size: int) -> list["Requests"]:
        """The same requests, in parts of ``size``."""
        return [
            Requests(self.names, self.endpoint[i:end], self.status[i:end], self.micros[i:end])
            for i, end in ((i, i + size) for i in range(0, len(self), size))
        ]


def make_requests(endpoints: int, count: int = REQUESTS) -> Requests:
    """``count`` requests to ``endpoints`` endpoints, the same each time."""
    random = np.random.default_rng(SEED)
    lines = [line.split() for line in WORDS.strip().splitlines()]
    paths = [f"/api/{'/'.join(words)}" for words in product(*lines)]
    random.shuffle(paths)
    names = [(METHODS[i % len(METHODS)], path) for i, path in enumerate(paths[:endpoints])]
    weights = 1 / np.arange(1, endpoints + 1) ** ZIPF_EXPONENT
    durations = random.lognormal(np.log(MEDIAN_MS), SIGMA, count)
    return Requests(
        names,
        random.choice(endpoints, count, p=weights / weights.sum()),
        random.choice(list(STATUSES), count, p=list(STATUSES.values())).astype(np.uint16),
        np.maximum(1, (durations * 1000).astype(np.int64)),
    )


def without(requests: Requests, status: int) -> Requests:
    """The requests whose status is not ``status``."""
    rows = requests.status != status
    return Requests(
        requests.names, requests.endpoint[rows], requests.status[rows], requests.micros[rows]
    )


def maps(requests: Requests, *, detailed: bool = False) -> list[bytes]:
    """One map a datagram."""
    return [msgpack.packb(event) for event in _events(requests, detailed=detailed)]


def lists(requests: Requests, size: int, *, detailed: bool = False) -> list[bytes]:
    """Lists of ``size`` maps."""
    events = _events(requests, detailed=detailed)
    return [msgpack.packb(events[i : i + size]) for i in range(0, len(events), size)]


def columns(requests: Requests, size: int) -> list[bytes]:
    """Envelopes with columns of ``size`` rows: texts by index, numbers in binary."""
    return [msgpack.packb(_envelope(part)) for part in requests.parts(size)]


def statsd_lines(requests: Requests, size: int) -> list[bytes]:
    """The lines of ``size`` requests, two for each."""
    keys = [_statsd_key(*name) for name in requests.names]
    return [
        "\n".join(
            f"requests.{keys[endpoint]}.{status}:1|c\nlatency.{keys[endpoint]}:{duration:.3f}|ms"
            for endpoint, status, duration in _rows(part)
        ).encode()
        for part in requests.parts(size)
    ]


def _rows(requests: Requests) -> list[tuple[int, int, float]]:
    return list(
        zip(
            requests.endpoint.tolist(),
            requests.status.tolist(),
            requests.duration_ms.tolist(),
            strict=True,
        )
    )


def _events(requests: Requests, *, detailed: bool = False) -> list[dict[str, object]]:
    events: list[dict[str, object]] = [
        {
            "method": requests.names[endpoint][0],
            "path": requests.names[endpoint][1],
            "status_code": status,
            "duration_ms": duration,
        }
        for endpoint, status, duration in _rows(requests)
    ]
    if detailed:
        random = np.random.default_rng(SEED)
        backends = random.integers(len(BACKENDS), size=len(events)).tolist()
        clients = random.integers(len(CLIENTS), size=len(events)).tolist()
        for event, backend, client in zip(events, backends, clients, strict=True):
            event |= {"backend": BACKENDS[backend], "client_ip": CLIENTS[client]}
    return events


def _envelope(requests: Requests) -> dict[str, object]:
    named = [requests.names[endpoint] for endpoint in requests.endpoint.tolist()]
    return {
        "n": len(requests),
        "columns": {
            "method": _by_index([method for method, _ in named]),
            "path": _by_index([path for _, path in named]),
            "status_code": requests.status.astype("<u2").tobytes(),
            "duration_ms": requests.duration_ms.astype("<f4").tobytes(),
        },
    }


def _by_index(texts: list[str]) -> dict[str, object]:
    """The distinct texts, and the index of each row's text."""
    places: dict[str, int] = {}
    index = [places.setdefault(text, len(places)) for text in texts]
    width = "u1" if len(places) <= 256 else "<u2"
    return {"values": list(places), "index": np.array(index, width).tobytes()}


def _statsd_key(method: str, path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", method + path)

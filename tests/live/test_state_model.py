"""The live state against a model that looks at each request by itself, in plain Python."""

from collections import Counter

import numpy as np
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_events import MICROSECONDS, NOW
from sketches import sketch_of

from aegisd.config.settings import WINDOW_SECONDS
from aegisd.events.block import ABSENT, Block, Text
from aegisd.events.counters import COUNTERS, OTHER, STATUS_CLASSES
from aegisd.events.protocol import MAX_AHEAD_SECONDS, REQUEST
from aegisd.live import buffer
from aegisd.live.busiest import EndpointFigures
from aegisd.live.endpoint_rows import MAX_METHODS
from aegisd.live.observed import ObservedBackend
from aegisd.live.state import LiveState
from aegisd.live.totals import METHODS as KNOWN_METHODS
from aegisd.live.windows import FEW_SECONDS, LONGEST
from aegisd.stats import sketch

METHODS = [*KNOWN_METHODS, *(f"M{n}" for n in range(MAX_METHODS + 3 - len(KNOWN_METHODS)))]
BACKENDS = [None, "", "a", "b", None, OTHER]
ENDPOINTS = 60

SPANS = {
    "one second": (0, 0),
    "a few seconds": (2, 0),
    "many seconds": (5 * FEW_SECONDS, 0),
    "the hour and more": (2 * LONGEST, MAX_AHEAD_SECONDS),
    "ahead": (0, MAX_AHEAD_SECONDS),
    "last week": (7 * 86_400, -6 * 86_400),
}


@define
class Model:
    """Every request: its second, status and microseconds or ABSENT.

    ``of`` and ``of_backend`` have the status, microseconds and timestamp of an endpoint's and of
    a backend's requests, but for those that were an hour old when they came. ``of_method`` has the
    statuses of all.
    """

    now: int = NOW
    requests: list[tuple[int, int, int]] = field(factory=list)
    of: dict[tuple[str, str], list[tuple[int, int, int]]] = field(factory=dict)
    of_backend: dict[str, list[tuple[int, int, int]]] = field(factory=dict)
    of_method: dict[str, list[int]] = field(factory=dict)

    def add(self, block: Block) -> None:
        for time, status, micros, method, path, backend in zip(
            block.numbers["timestamp"].tolist(),
            block.numbers["status_code"].tolist(),
            block.numbers["duration_us"].tolist(),
            block.texts["method"].rows(),
            block.texts["endpoint"].rows(),
            block.texts["backend"].rows(),
            strict=True,
        ):
            second = time // MICROSECONDS
            self.requests.append((second, status, micros))
            known = method if method in KNOWN_METHODS else OTHER
            self.of_method.setdefault(str(known), []).append(status)
            if second > self.now - LONGEST:
                self.of.setdefault((str(method), str(path)), []).append((status, micros, time))
                if backend:
                    self.of_backend.setdefault(backend, []).append((status, micros, time))

    def counters(self, length: int) -> dict[str, int]:
        """Of the last ``length`` seconds."""
        found = Counter(dict.fromkeys(COUNTERS, 0))
        for second, status, micros in self.requests:
            if not self.now - length < second <= self.now:
                continue
            found["requests"] += 1
            found[status_class(status)] += 1
            found["succeeded"] += 1 <= status < 400
            found["server_errors"] += status == 0 or 500 <= status < 600
            found["rate_limited"] += status == 429
            if micros != ABSENT:
                found["timed"] += 1
                found["duration_sum_us"] += micros
        return dict(found)

    def sketch(self, length: int) -> list[int]:
        micros = [
            request[2]
            for request in self.requests
            if self.now - length < request[0] <= self.now and request[2] != ABSENT
        ]
        return sketch_of(np.array(micros, np.int64)).tolist()

    def endpoints(self) -> list[EndpointFigures]:
        """Below the bound, and while the hour has not passed."""
        figures = [EndpointFigures(*name, *_figures(sent)) for name, sent in self.of.items()]
        return sorted(figures, key=lambda f: (-f.requests, f.method, f.path))

    def backends(self) -> list[ObservedBackend]:
        """The same of backends; the one that is called OTHER comes last."""
        figures = [ObservedBackend(name, *_figures(sent)) for name, sent in self.of_backend.items()]
        return sorted(figures, key=lambda f: (f.name == OTHER, -f.requests, f.name))

    def methods(self) -> dict[str, dict[str, int]]:
        """Requests by known method and class of status."""
        return {
            method: {
                name: sum(status_class(status) == name for status in self.of_method.get(method, []))
                for name in STATUS_CLASSES
            }
            for method in (*KNOWN_METHODS, OTHER)
        }


def status_class(status: int) -> str:
    family = status // 100
    return f"status_{family}xx" if family in range(2, 6) else "status_other"


def _figures(
    requests: list[tuple[int, int, int]],
) -> tuple[int, int, float | None, float | None, int]:
    micros = [m for _, m, _ in requests if m != ABSENT]
    failed = sum(not 1 <= status < 400 for status, _, _ in requests)
    average = sum(micros) / len(micros) if micros else None
    p95 = sketch.quantiles(sketch_of(np.array(micros, np.int64)), (0.95,))[0]
    return len(requests), failed, average, p95, max(time for _, _, time in requests)


@define
class Shape:
    """What a block is like."""

    size: int
    span: str
    untimed: float
    methods: int
    endpoints: int
    seed: int
    backends: int = len(BACKENDS)

    def block(self, now: int) -> Block:
        random = np.random.default_rng(self.seed)
        back, ahead = SPANS[self.span]
        size, first, end = self.size, now - back, now + ahead + 1
        micros = (10 ** random.uniform(-1, 12.4, size)).astype(np.int64)
        micros[random.random(size) < self.untimed] = ABSENT
        method = random.integers(0, self.methods, size, np.int32)
        path = random.integers(0, self.endpoints, size, np.int32)
        backend = random.integers(0, self.backends, size, np.int32)
        return Block(
            REQUEST,
            size,
            {
                "timestamp": random.integers(first * MICROSECONDS, end * MICROSECONDS, size),
                "status_code": random.integers(0, 1000, size).astype(np.int16),
                "duration_us": micros,
            },
            {
                "method": Text(METHODS[: self.methods], method),
                "endpoint": Text([f"/{n}" for n in range(self.endpoints)], path),
                "backend": Text(BACKENDS[: self.backends], backend),
            },
        )


shapes = st.builds(
    Shape,
    st.integers(1, 20) | st.just(300),
    st.sampled_from(sorted(SPANS)),
    st.sampled_from([0, 0.3, 1]),
    st.sampled_from([1, 3, len(METHODS)]),
    st.integers(1, 9) | st.just(ENDPOINTS),
    st.integers(0, 2**32),
    st.integers(1, len(BACKENDS)),
)


def check(live: LiveState, model: Model) -> None:
    for name, length in WINDOW_SECONDS.items():
        sums = live.window(name)
        assert sums.counters == model.counters(length), name
        assert sums.durations.tolist() == model.sketch(length), name
    assert live.top_endpoints(10**6) == model.endpoints()
    assert live.observed_backends() == model.backends()
    totals = live.request_totals(10**6)
    assert totals.methods == model.methods()
    micros = [m for _, _, m in model.requests if m != ABSENT]
    assert totals.durations.tolist() == sketch_of(np.array(micros, np.int64)).tolist()
    for given_, sent in ((totals.endpoints, model.of), (totals.backends, model.of_backend)):
        assert {name: sum(by.values()) for name, by in given_.items()} == {
            name: len(requests) for name, requests in sent.items() if name != OTHER
        }


@given(st.lists(st.tuples(shapes, st.sampled_from([0, 0, 0, 1, 59])), max_size=8), st.booleans())
@settings(max_examples=60)
def test_every_request_counts_once_in_its_own_second_and_endpoint(
    moves: list[tuple[Shape, int]], often: bool
) -> None:
    live, model = LiveState(len(METHODS) * ENDPOINTS, NOW, 0.0), Model()
    for shape, wait in moves:
        block = shape.block(model.now)
        live.apply(block)
        model.add(block)
        if often:
            check(live, model)
        model.now += wait
        live.advance(model.now, model.now - NOW)
    check(live, model)
    totals = live.overview().totals
    assert totals["requests"] == len(model.requests)
    assert totals["duration_sum_us"] == sum(r[2] for r in model.requests if r[2] != ABSENT)


@pytest.mark.parametrize("size", [buffer.MAX_EVENTS - 1, buffer.MAX_EVENTS, 3001])
@pytest.mark.parametrize("span", ["one second", "a few seconds", "the hour and more"])
def test_blocks_of_any_size_are_counted_completely(size: int, span: str) -> None:
    live, model = LiveState(len(METHODS) * ENDPOINTS, NOW, 0.0), Model()
    for seed in range(3):
        block = Shape(size, span, 0.1, len(METHODS), 20, seed).block(NOW)
        live.apply(block)
        model.add(block)
    check(live, model)


@given(st.lists(shapes, min_size=1, max_size=6), st.integers(1, 5))
@settings(max_examples=60)
def test_beyond_the_limit_other_has_the_requests_of_endpoints_without_a_row(
    held: list[Shape], limit: int
) -> None:
    live, model = LiveState(limit, NOW, 0.0), Model()
    for shape in held:
        block = shape.block(NOW)
        live.apply(block)
        model.add(block)
        figures = live.top_endpoints(10**6)
        exact = {(f.method, f.path): f for f in model.endpoints()}
        assert sum(f.requests for f in figures) == sum(f.requests for f in exact.values())
        assert sum(f.failed for f in figures) == sum(f.failed for f in exact.values())
        followed = [f for f in figures if f.path != OTHER]
        assert len(followed) <= limit
        for f in followed:
            assert f.requests <= exact[f.method, f.path].requests
            assert f.failed <= exact[f.method, f.path].failed


@pytest.mark.parametrize("step", [3600, -3600, 1.4, -1.4, 0.4])
def test_requests_before_a_clock_step_count_in_their_own_second(step: float) -> None:
    live, model = LiveState(10, NOW + 0.5, 0.5), Model()
    block = Shape(50, "one second", 0, 1, 1, 0).block(NOW)
    live.apply(block)
    model.add(block)
    live.advance(NOW + 0.5 + step, 0.5)
    assert live.window("1m").counters == model.counters(60)
    live.advance(NOW + 0.5 + step + 57, 57.5)
    assert live.window("1m").counters == model.counters(60)
    live.advance(NOW + 0.5 + step + 62, 62.5)
    assert live.window("1m").counters["requests"] == 0

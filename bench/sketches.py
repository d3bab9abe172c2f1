"""The sketch alone, beside KLL and t-digest of ``datasketches``, and ``ddsketch``.

All get the same values, whole microseconds, in arrays of the type that each adds fastest; only
ddsketch takes them one by one. Each peer is measured with its defaults, and set so that its stored
form has about as many bytes as ours.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.stats import sketch
from bench import events
from bench.history.measuring import Bar, Results, say
from bench.receiver import Failed

BATCHES = (100, 1000, 100_000)
VALUES = 200_000
"""Values of each distribution, and of a round in which adding is timed."""

ROUNDS = 7
MERGES = 200
SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)
ONE = np.int64(1)
SLOW_VALUES = 20_000  # of a round in which values are added one by one
STEPS = 12  # of the search for equal bytes

Values = NDArray[np.int64]


class Sketch(Protocol):
    """The operations that all sketches have."""

    def add(self, values: NDArray[Any]) -> None: ...
    def merge(self, other: Any) -> None: ...
    def bytes(self) -> int: ...
    def quantiles(self) -> list[float]: ...


@frozen
class Contender:
    """A kind of sketch: how it is made, and the array it takes."""

    name: str
    make: Callable[[], Sketch]
    dtype: type = np.float64
    values: int = VALUES


class Ours:
    """Dense, as in the live state; its bytes are those of the stored form."""

    def __init__(self) -> None:
        self.counts = np.zeros(sketch.BINS, np.int64)

    def add(self, values: Values) -> None:
        np.add.at(self.counts, sketch.bins_of(values), ONE)

    def merge(self, other: "Ours") -> None:
        self.counts += other.counts

    def bytes(self) -> int:
        used = np.flatnonzero(self.counts)
        stored = sketch.encode(np.zeros(len(used), np.int64), used, self.counts[used], 1)
        return len(stored.octets)

    def quantiles(self) -> list[float]:
        return [value or 0 for value in sketch.quantiles(self.counts, SHARES)]


class Apache:
    """A sketch of ``datasketches``."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.add = inner.update

    def merge(self, other: "Apache") -> None:
        self._inner.merge(other._inner)

    def bytes(self) -> int:
        return len(self._inner.serialize())

    def quantiles(self) -> list[float]:
        return [self._inner.get_quantile(share) for share in SHARES]


class Datadog:
    """``ddsketch``, in Python."""

    def __init__(self, inner: Any, encode: Callable[[Any], Any]) -> None:
        self._inner = inner
        self._encode = encode

    def add(self, values: NDArray[np.float64]) -> None:
        for value in values.tolist():
            self._inner.add(value)

    def merge(self, other: "Datadog") -> None:
        self._inner.merge(other._inner)

    def bytes(self) -> int:
        return len(self._encode(self._inner).SerializeToString())

    def quantiles(self) -> list[float]:
        return [self._inner.get_quantile_value(share) for share in SHARES]


def distributions() -> dict[str, Values]:
    """Ten of them, as durations in microseconds."""
    random = np.random.default_rng(events.SEED)
    n = VALUES
    fast, slow = random.lognormal(9, 0.4, n), random.lognormal(13, 0.3, n)
    made = {
        "uniform": random.uniform(1, 1e6, n),
        "exponential": random.exponential(2e4, n),
        "normal": random.normal(5e4, 1e4, n),
        "gamma": random.gamma(2, 1e4, n),
        "lognormal 0.5": random.lognormal(9.4, 0.5, n),
        "lognormal 1.5": random.lognormal(9.4, 1.5, n),
        "Weibull 0.5": random.weibull(0.5, n) * 1e4,
        "Pareto 1.3": 5e3 * (1 + random.pareto(1.3, n)),
        "two modes": np.where(random.random(n) < 0.9, fast, slow),
        "few values": random.choice([900, 1100, 5000, 20_000, 1_000_000], n),
    }
    return {
        name: np.clip(np.rint(values), 1, sketch.MAX_VALUE).astype(np.int64)
        for name, values in made.items()
    }


def measure(results: Results) -> None:
    """All results. Raises Failed if the peers are not installed."""
    data = distributions()
    ours = Contender("aegisd", Ours, np.int64)
    aim = _bytes(ours, data)
    contenders = [ours, *_peers(data, aim)]
    mixed = np.concatenate(list(data.values()))
    np.random.default_rng(1).shuffle(mixed)
    head = "sketch|" + "|".join(f"ns a value, batches of {size:,}" for size in BATCHES)
    head += "|merging two, µs|bytes|worst error, p50 to p99.9|in"
    times: dict[str, list[float]] = {}
    worst: dict[str, float] = {}
    for each in contenders:
        say(f"sketches, {each.name}")
        times[each.name] = [_add_time(each, mixed, size) for size in BATCHES]
        worst[each.name], where = _worst(each, data)
        figures = [f"{taken * 1e9:.1f}" for taken in times[each.name]]
        figures += [f"{_merge_time(each, mixed) * 1e6:.1f}", f"{_bytes(each, data):,.0f}"]
        results.row(head, each.name, *figures, f"{worst[each.name]:.2%}", where)
    for i, size in enumerate(BATCHES):
        least, name = min((times[c.name][i], c.name) for c in contenders[1:])
        what = f"the sketch's time a value, batches of {size:,} / the fastest peer's"
        results.bars.append(Bar(what, times[ours.name][i] / least, "×", 1, note=name))
    least, name = min(
        (worst[c.name], c.name) for c in contenders[1:] if c.name.endswith("ours in bytes")
    )
    what = "the sketch's worst error / the best peer's at equal bytes"
    results.bars.append(Bar(what, worst[ours.name] / least, "×", 1, note=name))


def _peers(data: dict[str, Values], aim: float) -> list[Contender]:
    try:
        import datasketches  # noqa: PLC0415 # of the benchmark alone
        import ddsketch  # noqa: PLC0415
        from ddsketch.pb.proto import DDSketchProto  # noqa: PLC0415
    except ImportError as error:
        raise Failed(f"{error.name} is not installed: make bench-history installs it") from error

    def kll(k: float) -> Contender:
        make = datasketches.kll_floats_sketch
        return Contender(f"KLL, floats, k {k:.0f}", lambda: Apache(make(round(k))), np.float32)

    def kll_doubles(k: float) -> Contender:
        make = datasketches.kll_doubles_sketch
        return Contender(f"KLL, doubles, k {k:.0f}", lambda: Apache(make(round(k))))

    def tdigest(k: float) -> Contender:
        make = datasketches.tdigest_double
        return Contender(f"t-digest, k {k:.0f}", lambda: Apache(make(round(k))))

    def datadog(bins: float) -> Contender:
        def make() -> Datadog:
            return Datadog(ddsketch.DDSketch(1 / bins), DDSketchProto.to_proto)

        return Contender(f"ddsketch, {1 / bins:.2%}", make, values=SLOW_VALUES)

    found = []
    for make, default, low, high in (
        (kll, 200, 8, 4000),
        (kll_doubles, 200, 8, 4000),
        (tdigest, 200, 10, 2000),
        (datadog, 100, 5, 1000),
    ):
        found.append(make(default))
        parameter = _equal(make, data, aim, low, high)
        same = make(parameter)
        found.append(Contender(f"{same.name}: ours in bytes", same.make, same.dtype, same.values))
    return found


def _equal(
    make: Callable[[float], Contender], data: dict[str, Values], aim: float, low: float, high: float
) -> float:
    """The parameter at which a sketch has about as many bytes; they grow with it."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _bytes(make(middle), data) > aim:
            high = middle
        else:
            low = middle
    return round(low)


def _filled(contender: Contender, values: Values) -> Sketch:
    made = contender.make()
    made.add(values[: contender.values].astype(contender.dtype))
    return made


def _bytes(contender: Contender, data: dict[str, Values]) -> float:
    """The mean over the distributions."""
    return float(np.mean([_filled(contender, values).bytes() for values in data.values()]))


def _add_time(contender: Contender, values: Values, size: int) -> float:
    """CPU seconds of adding a value to a filled sketch, of the quickest round."""
    count = max(size, contender.values // size * size)
    batches = np.split(values[:count].astype(contender.dtype), count // size)
    made = _filled(contender, values)
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for batch in batches:
            made.add(batch)
        taken.append(time.process_time() - began)
    return min(taken) / count


def _merge_time(contender: Contender, values: Values) -> float:
    """CPU seconds of merging another, of the quickest round."""
    other, taken = _filled(contender, values[::-1]), []
    for _ in range(ROUNDS):
        made = _filled(contender, values)
        began = time.process_time()
        for _ in range(MERGES):
            made.merge(other)
        taken.append((time.process_time() - began) / MERGES)
    return min(taken)


def _worst(contender: Contender, data: dict[str, Values]) -> tuple[float, str]:
    """The worst relative error of a value, and its place."""
    found = []
    for name, values in data.items():
        used = values[: contender.values]
        exact = np.quantile(used, SHARES, method="inverted_cdf")
        got = _filled(contender, values).quantiles()
        errors = [abs(a - b) / b for a, b in zip(got, exact.tolist(), strict=True)]
        place = int(np.argmax(errors))
        found.append((errors[place], f"{name}, p{SHARES[place] * 100:g}"))
    return max(found)

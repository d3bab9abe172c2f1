import struct
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sketches import sketch_of

from aegisd.stats import sketch

Values = NDArray[np.int64]
RNG = np.random.default_rng(7460)
SHARES = (0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


def micros(values: NDArray[np.float64]) -> Values:
    return np.clip(np.rint(values), 0, sketch.MAX_VALUE).astype(np.int64)


DISTRIBUTIONS: dict[str, Callable[[int], Values]] = {
    "lognormal": lambda n: micros(RNG.lognormal(10, 1.5, n)),
    "uniform": lambda n: RNG.integers(0, 1_000_000, n),
    "exponential": lambda n: micros(RNG.exponential(20_000, n)),
    "pareto": lambda n: micros((RNG.pareto(1.1, n) + 1) * 1000),
    "constant": lambda n: np.full(n, 12_345),
    "bimodal with a gap": lambda n: np.where(
        RNG.random(n) < 0.9, RNG.integers(900, 1100, n), RNG.integers(9_000_000, 11_000_000, n)
    ),
    "many ties": lambda n: RNG.choice([1, 2, 3, 1000, 1001, 50_000], n),
    "mostly zero": lambda n: np.where(RNG.random(n) < 0.6, 0, RNG.integers(1, 10**6, n)),
    "all zero": lambda n: np.zeros(n, np.int64),
    "every magnitude": lambda n: micros(10 ** RNG.uniform(0, 12.4, n)),
    "small whole numbers": lambda n: RNG.integers(1, 20, n),
}

durations = st.integers(0, sketch.MAX_VALUE) | st.integers(0, 2000)
lists = st.lists(durations, min_size=1, max_size=200)


def within(value: float | None, exact: float) -> bool:
    assert value is not None
    return abs(value - exact) <= exact * sketch.RELATIVE_ACCURACY * (1 + 1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 19, 20, 21, 100, 9_999])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_are_within_one_percent_of_the_exact_ones(name: str, size: int) -> None:
    values = DISTRIBUTIONS[name](size)
    exact = np.quantile(values, SHARES, method="inverted_cdf").tolist()
    found = sketch.quantiles(sketch_of(values), SHARES)
    assert all(within(f, e) for f, e in zip(found, exact, strict=True)), (found, exact)


@given(lists, st.integers(1, 1_000_000))
@settings(max_examples=150)
def test_a_quantile_is_the_value_at_its_exact_rank(values: list[int], share: int) -> None:
    rank = -(-len(values) * share // 1_000_000)
    counts = sketch_of(np.array(values, np.int64))
    assert within(sketch.quantiles(counts, (share / 1_000_000,))[0], sorted(values)[rank - 1])


def test_ranks_do_not_suffer_from_binary_fractions() -> None:
    values = np.arange(1, 21) * 1000
    assert within(sketch.quantiles(sketch_of(values), (0.95,))[0], 19_000)
    assert within(sketch.quantiles(sketch_of(values), (0.55,))[0], 11_000)


def test_the_shares_0_and_1_are_the_least_and_the_greatest() -> None:
    low, high = sketch.quantiles(sketch_of(np.array([5, 700, 90_000])), (0.0, 1.0))
    assert within(low, 5)
    assert within(high, 90_000)


@given(durations)
@settings(max_examples=150)
def test_every_value_stands_within_one_percent(value: int) -> None:
    assert within(sketch.quantiles(sketch_of(np.array([value])), (0.5,))[0], value)


@pytest.mark.parametrize("value", [0, 1, 2, 3, sketch.MAX_VALUE - 1, sketch.MAX_VALUE])
def test_least_and_greatest_duration_have_a_bin(value: int) -> None:
    counts = sketch_of(np.array([value]))
    assert (len(counts), counts.sum()) == (sketch.BINS, 1)
    assert (sketch.quantiles(counts, (0.5,))[0] == 0) == (value == 0)


def test_larger_values_never_have_a_lower_bin() -> None:
    values = np.unique(np.concatenate([np.arange(100_000), DISTRIBUTIONS["every magnitude"](9999)]))
    bins = sketch.bins_of(values)
    assert (np.diff(bins) >= 0).all()
    assert bins.max() < sketch.BINS


def test_a_bin_ends_with_the_power_of_gamma_that_bounds_it() -> None:
    """Sketches stored over years are merged: no whole number may ever change its bin."""
    for i in range(sketch.BINS - 2):
        bound = Fraction(101, 99) ** i
        last, rounding = int(bound), bound / 10**12
        bins = sketch.bins_of(np.array([last, last + 1])).tolist()
        if bound - last > rounding or i == 0:
            assert bins[0] <= i + 1
        if last + 1 - bound > rounding:
            assert bins[1] > i + 1


@given(st.lists(durations, max_size=50))
def test_a_value_s_bin_does_not_depend_on_its_neighbours(values: list[int]) -> None:
    together = sketch.bins_of(np.array(values, np.int64)).tolist()
    assert together == [int(sketch.bins_of(np.array([value]))[0]) for value in values]


def test_an_empty_sketch_has_no_quantiles() -> None:
    empty = sketch_of(np.array([], np.int64))
    assert sketch.quantiles(empty, (0.5, 0.99)) == [None, None]


@given(lists, lists)
@settings(max_examples=100)
def test_merged_sketches_equal_the_sketch_of_all_values(one: list[int], two: list[int]) -> None:
    merged = sketch_of(np.array(one)) + sketch_of(np.array(two))
    assert (merged == sketch_of(np.array(one + two))).all()


cells = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 700, sketch.BINS - 1])))


@pytest.mark.parametrize("type_", [np.int32, np.int64])
@given(cells)
def test_bins_are_added_to_their_rows_however_often_they_repeat(
    type_: type[np.signedinteger], pairs: list[tuple[int, int]]
) -> None:
    tables = np.zeros((3, sketch.BINS), type_)
    rows, bins = np.array(pairs, np.intp).reshape(-1, 2).T
    sketch.add(tables, rows, bins)
    assert {(r, b): int(tables[r, b]) for r, b in zip(*np.nonzero(tables), strict=True)} == Counter(
        pairs
    )


def stored(*sketches: NDArray[np.int64]) -> list[bytes]:
    """Each as it is stored, all encoded together."""
    rows, bins = np.nonzero(np.stack(sketches))
    counts = np.stack(sketches)[rows, bins]
    found = sketch.encode(rows, bins, counts, len(sketches))
    ends = found.starts + found.lengths
    assert found.starts[0] == 0
    assert (found.starts[1:] == ends[:-1]).all()
    assert ends[-1] == len(found.octets)
    return [
        found.octets[start:end].tobytes() for start, end in zip(found.starts, ends, strict=True)
    ]


def decimals(numeric: bytes) -> str:
    """The number that Postgres takes these bytes for."""
    count, weight, sign, scale = struct.unpack_from(">HhHH", numeric)
    digits = struct.unpack_from(f">{count}H", numeric, 8)
    assert len(numeric) == 8 + 2 * count
    assert (sign, scale) == (0, 0)
    assert all(digit < 10_000 for digit in digits)
    return "".join(f"{digit:04}" for digit in digits) + "0000" * (weight + 1 - count)


some_bins = st.dictionaries(
    st.integers(0, sketch.BINS - 1) | st.sampled_from([0, 1, sketch.BINS - 1]),
    st.integers(1, sketch.MAX_COUNT) | st.sampled_from([1, 9999, 10**4, 10**8, sketch.MAX_COUNT]),
    max_size=20,
)


def of(counts: dict[int, int]) -> NDArray[np.int64]:
    made = np.zeros(sketch.BINS, np.int64)
    made[list(counts)] = list(counts.values())
    return made


@given(st.lists(some_bins, min_size=1, max_size=5))
@settings(max_examples=150)
def test_a_stored_sketch_is_a_number_with_twelve_digits_a_bin(made: list[dict[int, int]]) -> None:
    """Years of these are in databases: what they mean may never change but with the format."""
    sketches = [of(counts) for counts in made]
    for counts, numeric in zip(made, stored(*sketches), strict=True):
        last = max(counts, default=-1)
        expected = "".join(f"{counts.get(i, 0):012}" for i in range(last, -1, -1))
        assert decimals(numeric).lstrip("0") == expected.lstrip("0")
    assert (sketch.FORMAT, sketch.BINS, sketch.MAX_COUNT) == (1, 1433, 10**12 - 1)


@given(st.lists(some_bins, min_size=1, max_size=5))
@settings(max_examples=150)
def test_stored_sketches_are_read_as_they_were(made: list[dict[int, int]]) -> None:
    sketches = [of(counts) for counts in made]
    assert (sketch.decode_each(stored(*sketches)) == np.stack(sketches)).all()
    for one in sketches:
        assert (sketch.decode_each(stored(one)) == [one]).all()


def test_no_stored_sketches_are_read_as_none() -> None:
    assert sketch.decode_each([]).shape == (0, sketch.BINS)
    nothing = np.zeros(0, np.int64)
    assert len(sketch.encode(nothing, nothing, nothing, 0).octets) == 0


def test_empty_sketch_is_stored_as_zero() -> None:
    assert stored(of({})) == [struct.pack(">HHHH", 0, 0, 0, 0)]


@pytest.mark.parametrize("bin_", [0, 700, sketch.BINS - 1])
def test_a_count_that_its_digits_cannot_hold_is_refused(bin_: int) -> None:
    stored(of({bin_: sketch.MAX_COUNT}))
    with pytest.raises(OverflowError, match="999999999999 at most"):
        stored(of({bin_: sketch.MAX_COUNT + 1}))


@pytest.mark.parametrize(
    "numeric",
    [
        struct.pack(">HhHHH", 1, 0, 0x4000, 0, 1),  # -1
        struct.pack(">HhHHH", 1, -1, 0, 4, 1),  # 0.0001
        struct.pack(">HhHH", 0, 0, 0xC000, 0),  # NaN
        struct.pack(">HhHHH", 1, sketch.BINS * 3, 0, 0, 1),  # a bin behind the last
        struct.pack(">HhHHHH", 2, 0, 0, 0, 1, 1),  # 1.0001, were it shown in full
    ],
)
def test_numbers_that_are_no_sketches_are_refused(numeric: bytes) -> None:
    with pytest.raises(ValueError, match="no sketch"):
        sketch.decode_each([numeric])


def test_few_values_and_many_fall_into_the_same_bins() -> None:
    """A few are looked up, many are calculated: also at the edges of every bin."""
    edges = np.floor(sketch.GAMMA ** np.arange(sketch.BINS - 1)).astype(np.int64)
    values = np.unique(np.concatenate([np.arange(1000), edges - 1, edges, edges + 1]))
    values = values[values <= sketch.MAX_VALUE]
    one_by_one = np.concatenate([sketch.bins_of(values[i : i + 1]) for i in range(len(values))])
    assert len(values) > 3 * 96
    assert (sketch.bins_of(values) == one_by_one).all()


@given(st.lists(st.lists(durations, max_size=20), min_size=1, max_size=8))
def test_quantiles_of_each_equal_those_of_one_sketch(samples: list[list[int]]) -> None:
    rows = np.stack([sketch_of(np.array(values, np.int64)) for values in samples])
    shares = (0.5, 0.95, 0.99, 1.0)
    assert sketch.quantiles_of_each(rows, shares) == [sketch.quantiles(row, shares) for row in rows]
    for values, found in zip(samples, sketch.quantiles_of_each(rows, shares), strict=True):
        for share, value in zip(shares, found, strict=True):
            if not values:
                assert value is None
                continue
            exact = float(np.quantile(values, share, method="inverted_cdf"))
            assert value == pytest.approx(exact, rel=0.0101, abs=1e-9)


def test_ranks_of_very_many_values_stay_exact() -> None:
    """Ten million requests a second for a month: counts times a million pass 64 bits."""
    row = np.zeros((1, sketch.BINS), np.int64)
    row[0, 100], row[0, 200] = 26 * 10**12 - 1, 26 * 10**12 + 1
    low, high = sketch.quantiles_of_each(row, (0.499999, 0.5))[0]
    assert low is not None
    assert high is not None
    assert high / low == pytest.approx(sketch.GAMMA**100)

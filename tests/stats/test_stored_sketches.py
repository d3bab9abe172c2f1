"""The stored form of a sketch, pinned to literals: years of it are in databases.

If one of these fails, sketches that are stored already would be read as something else. Do not
change the literals: another form needs another ``sketch.FORMAT``.
"""

import numpy as np
import pytest
from attrs import frozen
from numpy.typing import NDArray

from aegisd.stats import sketch


@frozen
class Golden:
    """A sketch: its bins, the bytes of the numeric, its text, and what SQL reads from it (ms)."""

    bins: dict[int, int]
    octets: bytes
    text: str
    up_to_ms: dict[int, float]
    quantiles_ms: dict[float, float | None]

    @property
    def counts(self) -> NDArray[np.int64]:
        found = np.zeros(1433, np.int64)
        found[list(self.bins)] = list(self.bins.values())
        return found


NONE = 12 * "0"  # of a bin
GOLDEN = {
    "empty": Golden({}, bytes.fromhex("0000 0000 0000 0000"), "0", {}, {0.5: None}),
    "of 0, 0, 0, 1, 1, 2 and 3 us": Golden(
        {0: 3, 1: 2, 36: 1, 56: 1},
        bytes.fromhex(
            "00ab 00aa 0000 0000"  # 171 digits, the first at place 170, positive, no fraction
            "0000 0000 0001"  # bin 56
            + 19 * "0000 0000 0000"
            + "0000 0000 0001"  # bin 36
            + 34 * "0000 0000 0000"
            + "0000 0000 0002"  # bin 1
            "0000 0000 0003"  # bin 0
        ),
        "1" + 19 * NONE + "000000000001" + 34 * NONE + "000000000002" + "000000000003",
        {0: 0.0, 1: 0.001, 36: 0.0020137996984013577, 56: 0.003004276185330001},
        {0.4: 0.0, 0.5: 0.00099, 0.8: 0.0019936617014173446, 1.0: 0.0029742334234767016},
    ),
    "of great counts": Golden(
        {2: 123_456_789_012, 3: 1},
        bytes.fromhex("0006 000b 0000 0000 0000 0000 0001 04d2 162e 2334"),
        "1" + "123456789012" + NONE + NONE,
        {2: 0.0010202020202020202, 3: 0.001040812162024283},
        {0.5: 0.00101, 1.0: 0.0010304040404040402},
    ),
    "of the longest duration": Golden(
        {1432: 7},
        bytes.fromhex("0003 10ca 0000 0000 0000 0000 0007"),
        "7" + 1432 * NONE,
        {1432: 2_691_054_007.7565546},
        {0.5: 2_664_143_467.6789897, 1.0: 2_664_143_467.6789897},
    ),
}


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)
def test_sketch_is_stored_as_these_bytes(golden: Golden) -> None:
    bins, counts = np.array([*golden.bins], np.int64), np.array([*golden.bins.values()], np.int64)
    stored = sketch.encode(np.zeros(len(bins), np.int64), bins, counts, 1)
    assert stored.octets.tobytes() == golden.octets
    assert (stored.starts.tolist(), stored.lengths.tolist()) == ([0], [len(golden.octets)])


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)
def test_these_bytes_are_read_as_the_sketch(golden: Golden) -> None:
    assert (sketch.decode_each([golden.octets]) == [golden.counts]).all()


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)
def test_quantiles_of_the_sketch_are_these(golden: Golden) -> None:
    found = sketch.quantiles(golden.counts, tuple(golden.quantiles_ms))
    for micros, millis in zip(found, golden.quantiles_ms.values(), strict=True):
        assert micros == (None if millis is None else pytest.approx(millis * 1000, rel=1e-12))


@pytest.mark.parametrize(
    ("micros", "bin_"),
    [
        (0, 0),
        (1, 1),
        (2, 36),
        (3, 56),
        (5, 82),
        (10, 117),
        (99, 231),
        (100, 232),
        (101, 232),
        (1000, 347),
        (12_345, 473),
        (1_000_000, 692),
        (3_000_000, 747),
        (86_400_000_000, 1261),
        (2_678_400_000_000, 1432),  # 31 days, the longest
    ],
)
def test_duration_falls_into_this_bin(micros: int, bin_: int) -> None:
    assert sketch.bins_of(np.array([micros])).tolist() == [bin_]
    assert sketch.bins_of(np.full(200, micros)).tolist() == 200 * [bin_]  # as many are calculated


def test_constants_are_these() -> None:
    assert (sketch.FORMAT, sketch.BINS, sketch.MAX_COUNT) == (1, 1433, 999_999_999_999)
    assert (sketch.RELATIVE_ACCURACY, sketch.GAMMA) == (0.01, 1.01 / 0.99)
    assert sketch.MAX_VALUE == 2_678_400_000_000

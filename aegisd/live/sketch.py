"""A DDSketch over whole microseconds: quantiles within 1 %, mergeable, in numpy arrays.

Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees" (VLDB 2019). A value v > 0 falls into the bin i with gamma^(i-1) < v <= gamma^i,
gamma = (1 + a) / (1 - a), and stands there as 2 gamma^i / (gamma + 1), which is within a of
every value of the bin. Zero has a bin of its own.

Bins are dense: durations end at 31 days, so 1,433 counters reach from 1 microsecond to there,
and merging is adding. The accuracy is fixed for good: sketches stored over years are merged.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aegisd.wire.protocol import MAX_DURATION_MS

RELATIVE_ACCURACY = 0.01
GAMMA = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)

_PER_LOG = 1 / np.log(GAMMA)
MAX_VALUE = MAX_DURATION_MS * 1000
BINS = int(np.ceil(np.log(MAX_VALUE) * _PER_LOG)) + 2
"""Bin 0 is zero's; bin i + 1 holds the values up to gamma^i."""

_ZERO = GAMMA**-1.5
"""What zero is taken for to have its bin by the same formula: below it are no whole numbers."""

_VALUES = np.concatenate([[0.0], 2 * GAMMA ** np.arange(BINS - 1) / (GAMMA + 1)])
"""What a bin's values stand as, in microseconds."""

FORMAT_VERSION = 1
_HEADER = struct.Struct("<BHH")  # version, accuracy in 1/10,000, number of bins that follow
_ACCURACY_UNITS = 10_000

Counts = NDArray[np.int64]


def bins_of(values: NDArray[np.int64]) -> NDArray[np.intp]:
    """The bin of each value (whole microseconds, 0 to MAX_VALUE)."""
    # a bin's upper bound belongs to it; the logarithm of a whole number is never so close to
    # a bound that rounding moves it by more than 1e-12 of its value
    index = np.maximum(values, _ZERO)
    np.log(index, out=index)
    index *= _PER_LOG
    np.ceil(index, out=index)
    bins: NDArray[np.intp] = index.astype(np.intp)
    bins += 1
    return bins


def count(values: NDArray[np.int64]) -> Counts:
    """The sketch of ``values``: how many fall into each of the BINS bins."""
    counts: Counts = np.bincount(bins_of(values), minlength=BINS)
    return counts


def add(tables: NDArray[Any], rows: NDArray[np.intp], bins: NDArray[np.intp]) -> None:
    """Count each bin in its row of ``tables``, an array of sketches whose rows may repeat."""
    one = tables.dtype.type(1)  # np.add.at is 20 times slower where it must convert
    np.add.at(tables.reshape(-1), rows * BINS + bins, one)


def quantiles(counts: Counts, shares: tuple[float, ...]) -> list[float | None]:
    """The smallest value that at least each share of all values does not exceed.

    In microseconds, within RELATIVE_ACCURACY; None where the sketch is empty. The same
    definition as numpy's ``inverted_cdf`` and Postgres' ``percentile_disc``.
    """
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    if total == 0:
        return [None] * len(shares)
    # ranks in whole numbers: 0.95 * 20 must be 19, not 19.000000000000004
    ranks = [max(1, -(-total * round(share * 1_000_000) // 1_000_000)) for share in shares]
    bins = np.searchsorted(cumulative, ranks, side="left")
    return [float(value) for value in _VALUES[bins]]


def encode(counts: Counts) -> bytes:
    """The sketch as bytes: the header, then the occupied bins (u16), then their counts (u64)."""
    occupied = np.flatnonzero(counts)
    accuracy = round(RELATIVE_ACCURACY * _ACCURACY_UNITS)
    head = _HEADER.pack(FORMAT_VERSION, accuracy, len(occupied))
    return head + occupied.astype("<u2").tobytes() + counts[occupied].astype("<u8").tobytes()


def decode(data: bytes) -> Counts:
    """The sketch that ``encode`` made; ValueError for another version, accuracy or length."""
    if len(data) < _HEADER.size:
        raise ValueError("a sketch has at least a header")
    version, accuracy, size = _HEADER.unpack_from(data)
    if version != FORMAT_VERSION or accuracy != round(RELATIVE_ACCURACY * _ACCURACY_UNITS):
        raise ValueError(f"sketch of version {version}, accuracy {accuracy}/{_ACCURACY_UNITS}")
    if len(data) != _HEADER.size + size * 10:
        raise ValueError(f"a sketch of {size} bins has {_HEADER.size + size * 10} bytes")
    occupied = np.frombuffer(data, "<u2", size, _HEADER.size)
    if size and int(occupied.max()) >= BINS:
        raise ValueError(f"a sketch has {BINS} bins")
    counts = np.zeros(BINS, np.int64)
    counts[occupied] = np.frombuffer(data, "<u8", size, _HEADER.size + 2 * size)
    return counts

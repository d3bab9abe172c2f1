"""A DDSketch over whole microseconds: quantiles within 1 %, mergeable, in numpy arrays.

Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees" (VLDB 2019). Bin 0 is zero's. A value v > 0 falls into the bin i + 1 (the paper's bin i)
with gamma^(i-1) < v <= gamma^i, where gamma = (1 + a) / (1 - a) and a is the relative accuracy. The
bin's values are taken as 2 gamma^i / (gamma + 1), which is within a of each of them.

Bins are dense: durations end at 31 days, so 1,433 counters reach from 1 microsecond to there, and
merging is adding. The accuracy never changes, as sketches stored over years are merged.

A stored sketch is one number, a numeric of Postgres: the count of bin i takes its decimal digits
from 12 i on, twelve of them. Postgres adds such numbers in C, wherever sum() runs, and so merges
sketches without an extension. ``tests/stats/test_stored_sketches.py`` pins the bytes.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.events.protocol import MAX_DURATION_MS
from aegisd.events.units import MILLISECOND_US

RELATIVE_ACCURACY = 0.01
GAMMA = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)

_PER_LOG = 1 / np.log(GAMMA)
MAX_VALUE = MAX_DURATION_MS * MILLISECOND_US
BINS = int(np.ceil(np.log(MAX_VALUE) * _PER_LOG)) + 2
"""Bin 0 holds zero, bin i + 1 the values above gamma^(i-1) up to gamma^i."""

_ZERO = GAMMA**-1.5
"""Zero is taken as this, for which the formula gives bin 0. All other whole numbers are greater."""

UP_TO = np.floor(np.concatenate([[0.0], GAMMA ** np.arange(BINS - 1)])).astype(np.int64)
"""The greatest whole number of each bin."""

_FEW_VALUES = 96
"""Up to so many values are searched for in UP_TO: the formula is quicker for each value, but takes
six calls of numpy."""

_VALUES = np.concatenate([[0.0], 2 * GAMMA ** np.arange(BINS - 1) / (GAMMA + 1)])
"""The value that a bin's values are taken as, in microseconds."""

FORMAT = 1
"""The number of the stored form in the table sketch_formats. Its meaning never changes: another
form gets another number."""

MAX_COUNT = 10**12 - 1
"""The greatest count of a bin that the stored form can hold."""

_PLACES = 3  # digits of a bin to the base of 10,000, which is a numeric's own
_PLACE_VALUES = np.array([10**8, 10**4, 1])
_TOP = BINS * _PLACES - 1  # the place of the highest digit
_HEADER = struct.Struct(">HhHH")  # number of digits, place of the first, sign, scale

Counts = NDArray[np.int64]


def bins_of(values: NDArray[np.int64]) -> NDArray[np.intp]:
    """The bin of each value: whole microseconds, 0 to MAX_VALUE."""
    if len(values) <= _FEW_VALUES:
        found: NDArray[np.intp] = UP_TO.searchsorted(values)
        return found
    # a bin holds its upper bound; no whole number is so close to a bound that the rounding of its
    # logarithm, up to 1e-12 of it, moves it into another bin
    index = np.maximum(values, _ZERO)
    np.log(index, out=index)
    index *= _PER_LOG
    np.ceil(index, out=index)
    bins: NDArray[np.intp] = index.astype(np.intp)
    bins += 1
    return bins


def add(tables: NDArray[Any], rows: NDArray[np.intp], bins: NDArray[np.intp]) -> None:
    """Count each bin in its row of ``tables``, an array of sketches. Rows may repeat."""
    one = tables.dtype.type(1)  # np.add.at is 20 times slower where it must convert
    np.add.at(tables.reshape(-1), rows * BINS + bins, one)


def quantiles(counts: Counts, shares: tuple[float, ...]) -> list[float | None]:
    """For each share the smallest value that at least this share of all values does not exceed.

    In microseconds, within RELATIVE_ACCURACY; None where the sketch is empty. numpy's
    ``inverted_cdf`` and Postgres' ``percentile_disc`` are defined so, too.
    """
    return quantiles_of_each(counts[np.newaxis], shares)[0]


def quantiles_of_each(
    sketches: NDArray[np.int64], shares: tuple[float, ...]
) -> list[list[float | None]]:
    """The ``quantiles`` of each row of an array of sketches."""
    cumulative = sketches.cumsum(axis=1)
    totals = cumulative[:, -1]
    millions, rest = np.divmod(totals, 1_000_000)
    columns = []
    for share in shares:
        # ranks in whole numbers: 0.95 * 20 must be 19, not 19.000000000000004
        parts = round(share * 1_000_000)
        ranks = np.maximum(1, millions * parts - (-rest * parts // 1_000_000))
        below = np.count_nonzero(cumulative < ranks[:, np.newaxis], axis=1)
        values = _VALUES.take(below, mode="clip").tolist()
        columns.append(
            [value if n else None for value, n in zip(values, totals.tolist(), strict=True)]
        )
    return [list(row) for row in zip(*columns, strict=True)]


@frozen(eq=False)
class Stored:
    """Sketches as Postgres' binary form of a numeric.

    Sketch i is ``octets[starts[i] : starts[i] + lengths[i]]``.
    """

    octets: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def encode(rows: NDArray[np.int64], bins: NDArray[np.int64], counts: Counts, size: int) -> Stored:
    """``size`` sketches in the stored form.

    ``counts[k]``, at least 1, is the count of bin ``bins[k]`` of sketch ``rows[k]``; the pairs of
    row and bin ascend, and each is there once. OverflowError for a count above MAX_COUNT.
    """
    if counts.size and int(counts.max()) > MAX_COUNT:
        raise OverflowError(f"a bin of a sketch holds {MAX_COUNT} at most")
    firsts = np.searchsorted(rows, np.arange(size))
    ends = np.searchsorted(rows, np.arange(size), side="right")
    used = firsts < ends
    highest, digits = np.zeros(size, np.int64), np.zeros(size, np.int64)
    highest[used] = bins[ends[used] - 1]
    digits[used] = (highest[used] - bins[firsts[used]] + 1) * _PLACES
    lengths = _HEADER.size + 2 * digits
    starts = lengths.cumsum() - lengths
    words = np.zeros(int(lengths.sum()) // 2, ">u2")
    at = starts // 2
    words[at] = digits
    words[at + 1] = np.where(used, highest * _PLACES + _PLACES - 1, 0)
    place = at[rows] + _HEADER.size // 2 + (highest[rows] - bins) * _PLACES
    for k, value in enumerate(_PLACE_VALUES.tolist()):
        words[place + k] = counts // value % 10_000
    return Stored(words.view(np.uint8), starts, lengths)


def decode_each(numerics: Sequence[bytes]) -> NDArray[np.int64]:
    """A row of bins for each stored sketch, or sum of stored sketches.

    ValueError where a number is no sketch.
    """
    counts = np.zeros((len(numerics), BINS), np.int64)
    headers = [_header(numeric) for numeric in numerics]
    low = min((place + 1 - digits for digits, place in headers), default=0) // _PLACES
    high = max((place for _, place in headers), default=0) // _PLACES + 1
    used = np.zeros((len(numerics), (high - low) * _PLACES), np.int64)
    for row, numeric, (digits, place) in zip(used, numerics, headers, strict=True):
        start = high * _PLACES - 1 - place
        row[start : start + digits] = np.frombuffer(numeric, ">u2", digits, _HEADER.size)
    values = used.reshape(len(numerics), high - low, _PLACES) @ _PLACE_VALUES
    counts[:, low:high] = values[:, ::-1]
    return counts


def _header(numeric: bytes) -> tuple[int, int]:
    """How many digits a number has, and the place of the first."""
    digits, place, sign, scale = _HEADER.unpack_from(numeric)
    if sign or scale or place > _TOP or digits > place + 1:
        raise ValueError("this number is no sketch")
    return digits, place

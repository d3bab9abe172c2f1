"""A DDSketch over whole microseconds: quantiles within 1 %, mergeable, in numpy arrays.

Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees" (VLDB 2019). A value v > 0 falls into the bin i with gamma^(i-1) < v <= gamma^i,
gamma = (1 + a) / (1 - a), and stands there as 2 gamma^i / (gamma + 1), which is within a of
every value of the bin. Zero has a bin of its own.

Bins are dense: durations end at 31 days, so 1,433 counters reach from 1 microsecond to there,
and merging is adding. The accuracy is fixed for good: sketches stored over years are merged.

A stored sketch is one number, in which each bin's count takes twelve decimal digits. Postgres adds
such numbers at the speed of C, wherever sum() runs, and so merges sketches without an extension.
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
"""Bin 0 is zero's; bin i + 1 holds the values up to gamma^i."""

_ZERO = GAMMA**-1.5
"""What zero is taken for to have its bin by the same formula: below it are no whole numbers."""

_UP_TO = np.floor(np.concatenate([[0.0], GAMMA ** np.arange(BINS - 1)])).astype(np.int64)
"""The greatest whole number of each bin."""

_FEW_VALUES = 96
"""Up to so many are looked up: the formula is quicker for each, but takes six calls of numpy."""

_VALUES = np.concatenate([[0.0], 2 * GAMMA ** np.arange(BINS - 1) / (GAMMA + 1)])
"""What a bin's values stand as, in microseconds."""

FORMAT = 1
"""Of the stored form, as in the table sketch_formats. What is stored never changes its meaning: a
later form gets another number."""

MAX_COUNT = 10**12 - 1
"""Of a bin in the stored form."""

_PLACES = 3  # digits of a bin, to the base of 10,000: a numeric's own
_PLACE_VALUES = np.array([10**8, 10**4, 1])
_TOP = BINS * _PLACES - 1  # the place of the highest digit
_BLOCK = 256  # sketches whose bytes are added side by side: the sums fit into 16 bits
_FEW = 16  # up to so many with the same bins are quicker added one by one
_HEADER = struct.Struct(">HhHH")  # number of digits, place of the first, sign, scale

Counts = NDArray[np.int64]


def bins_of(values: NDArray[np.int64]) -> NDArray[np.intp]:
    """The bin of each value (whole microseconds, 0 to MAX_VALUE)."""
    if len(values) <= _FEW_VALUES:
        found: NDArray[np.intp] = _UP_TO.searchsorted(values)
        return found
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
    return quantiles_of_each(counts[np.newaxis], shares)[0]


def quantiles_of_each(
    sketches: NDArray[np.int64], shares: tuple[float, ...]
) -> list[list[float | None]]:
    """The ``quantiles`` of each of some sketches, the rows of an array."""
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
    """``size`` sketches as they are stored: for each a number, with the bins' counts as digits.

    Bin i's count stands at the decimal places from 12 i on. ``counts[k]``, at least 1, is that of
    bin ``bins[k]`` of sketch ``rows[k]``; these pairs ascend and none is there twice. OverflowError
    for a count above MAX_COUNT.
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
    """The sketches that ``encode`` made, or sums of such numbers: a row of bins each.

    ValueError where one of them is no sketch.
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


def decode(numerics: Sequence[bytes]) -> Counts:
    """The same merged."""
    total = np.zeros(_TOP + 1, np.int64)  # the highest digit first, as they come
    alike: dict[bytes, list[bytes]] = {}
    for numeric in numerics:
        alike.setdefault(numeric[: _HEADER.size], []).append(numeric)
    for group in alike.values():
        digits, place = _header(group[0])
        own = total[_TOP - place : _TOP - place + digits]
        if len(group) <= _FEW:
            for numeric in group:
                own += np.frombuffer(numeric, ">u2", digits, _HEADER.size)
            continue
        for start in range(0, len(group), _BLOCK):
            block = group[start : start + _BLOCK]
            words = np.frombuffer(b"".join(block), "<u2").reshape(len(block), -1)
            words = words[:, _HEADER.size // 2 :]  # the octets of a digit the wrong way round
            own += np.add.reduce(words & 0xFF, axis=0, dtype=np.uint16).astype(np.int64) * 256
            own += np.add.reduce(words >> 8, axis=0, dtype=np.uint16)
    counts: Counts = (total.reshape(BINS, _PLACES) @ _PLACE_VALUES)[::-1]
    return counts


def _header(numeric: bytes) -> tuple[int, int]:
    """How many digits there are, and the place of the first."""
    digits, place, sign, scale = _HEADER.unpack_from(numeric)
    if sign or scale or place > _TOP or digits > place + 1:
        raise ValueError("this number is no sketch")
    return digits, place

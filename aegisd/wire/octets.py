"""MessagePack values at many places of one piece of memory, read at once with numpy.

Every reader takes an array of offsets, one for each event, and gives an array of values. A word
of eight bytes can be loaded from any offset: the memory is also seen as overlapping words, one
starting at each byte. The tags are those of the MessagePack specification.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from aegisd.wire.block import Integers, Mask, Text
from aegisd.wire.messages import PADDING

Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
Floats = NDArray[np.float64]

NIL, FALSE, TRUE = 0xC0, 0xC2, 0xC3
FLOAT32, FLOAT64 = 0xCA, 0xCB
UINT8, UINT64, INT8, INT64 = 0xCC, 0xCF, 0xD0, 0xD3
STR8, STR16 = 0xD9, 0xDA
ARRAY16, ARRAY32 = 0xDC, 0xDD
NEGATIVE = 0xE0  # the first of the small negative integers

WORD = 8
MAX_CODED_BYTES = 64
"""Texts up to this length are told apart a word at a time; longer ones one by one."""

MAX_INT64 = 2**63 - 1

_VARIES, _UNREAD = 0, -1


def _sizes() -> Integers:
    """A value's size in bytes, its tag included, by its tag.

    _VARIES where it stands behind the tag; _UNREAD for what is not read here: containers,
    extensions, binary.
    """
    sizes = np.full(256, _UNREAD, np.int64)
    sizes[:0x80] = sizes[NEGATIVE:] = 1
    sizes[0xA0:0xC0] = 1 + np.arange(32)
    sizes[[NIL, FALSE, TRUE]] = 1
    sizes[[FLOAT32, FLOAT64]] = 5, 9
    sizes[UINT8 : UINT64 + 1] = sizes[INT8 : INT64 + 1] = 2, 3, 5, 9
    sizes[[STR8, STR16]] = _VARIES
    return sizes


def _unsigned() -> tuple[Integers, Words]:
    """Of unsigned integers of up to 32 bits, by tag: where they start, their word's bits too many.

    Others start at -1.
    """
    heads = np.full(256, -1, np.int64)
    shifts = np.zeros(256, np.uint64)
    heads[:0x80], shifts[:0x80] = 0, 56
    heads[UINT8:UINT64] = 1
    shifts[UINT8:UINT64] = 56, 48, 32
    return heads, shifts


_SIZES = _sizes()
_HEADS, _SHIFTS = _unsigned()
_TEXT_HEADS = np.zeros(256, np.int64)  # the bytes before a text's own
_TEXT_HEADS[0xA0:0xC0], _TEXT_HEADS[STR8], _TEXT_HEADS[STR16] = 1, 2, 3
_KEEP = np.array([(1 << 8 * n) - 1 for n in range(WORD + 1)], np.uint64)
"""Masks a little-endian word's first n bytes."""

# one tag for all small integers of a sign
_CLASSES = np.arange(256, dtype=np.uint8)
_CLASSES[:0x80], _CLASSES[NEGATIVE:] = 0, NEGATIVE

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio: Knuth's hashing
_HALF = np.uint64(32)


def every(mask: Mask) -> bool:
    """``mask.all()``, at a fifth of its cost for the few rows of a burst."""
    return int(np.count_nonzero(mask)) == len(mask)


@frozen(eq=False)
class Values:
    """One key's values, of each map: where, with which tag, of which size with it."""

    at: Integers
    tags: Octets
    sizes: Integers

    def take(self, rows: Mask) -> "Values":
        """Of the maps that ``rows`` marks."""
        return Values(self.at[rows], self.tags[rows], self.sizes[rows])


class Memory:
    """The bytes, with PADDING behind them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = len(data) - len(PADDING)
        self.octets: Octets = np.frombuffer(data, np.uint8)
        self.words: Words = np.ndarray((len(data) - WORD + 1,), "<u8", data, strides=(1,))

    def equal(self, at: Integers, token: bytes) -> Mask:
        """Where the bytes at ``at`` are ``token``."""
        size = len(token)
        if size < WORD:
            short: Mask = (self.words[at] & _KEEP[size]) == int.from_bytes(token, "little")
            return short
        same: Mask = self.words[at] == int.from_bytes(token[:WORD], "little")
        for k in range(WORD, size, WORD):
            start = min(k, size - WORD)  # the last word may overlap the one before
            part = int.from_bytes(token[start : start + WORD], "little")
            same &= self.words[at + start] == part
        return same

    def sizes(self, at: Integers, tags: Octets) -> Integers:
        """The size of each value, tag included; -1 for what is not read here.

        No value of more than 257 bytes reaches into the padding.
        """
        sizes = _SIZES.take(tags)
        if not every(sizes > _VARIES):
            for tag, width in ((STR8, 1), (STR16, 2)):
                rows = (tags == tag).nonzero()[0]
                if len(rows):
                    sizes[rows] = 1 + width + self._big_endian(at[rows] + 1, width).view(np.int64)
            sizes[at + sizes > self.end] = _UNREAD
        return sizes

    def array_heads(self, at: Integers, tags: Octets) -> tuple[Integers, Integers]:
        """Each array's length (-1 where there is none), and where its first item stands."""
        lengths = np.where((tags & 0xF0) == 0x90, tags & 0x0F, -1).astype(np.int64)
        first = at + 1
        for tag, width in ((ARRAY16, 2), (ARRAY32, 4)):
            rows = (tags == tag).nonzero()[0]
            if len(rows):
                lengths[rows] = self._big_endian(at[rows] + 1, width).view(np.int64)
                first[rows] += width
        return lengths, first

    def floats(self, values: Values) -> tuple[Floats, Mask | None, Mask | None]:
        """Integers and floats as float64; where there is nil; where something else is."""
        at, tags = values.at, values.tags
        if every(tags == FLOAT64):
            return self.words[at + 1].byteswap().view(np.float64), None, None
        out = np.zeros(len(at))
        return out, *self._mixed(at, tags, out)

    def integers(self, values: Values) -> tuple[Integers, Mask | None, Mask | None]:
        """Integers of up to 63 bits; where there is nil; where something else is."""
        at, tags = values.at, values.tags
        heads = _HEADS.take(tags)
        if every(heads >= 0):
            found = self.words[at + heads].byteswap() >> _SHIFTS.take(tags)
            return found.view(np.int64), None, None
        out = np.zeros(len(at), np.int64)
        return out, *self._mixed(at, tags, out)

    def texts(self, values: Values) -> tuple[Text, Mask | None]:
        """Texts, None for nil; where there is something else.

        What is no UTF-8 comes as lone surrogates, as from ``salvage.unpack``.
        """
        at, tags, sizes = values.at, values.tags, values.sizes
        if every((tags & 0xE0) == 0xA0):
            return self._coded(at + 1, sizes - 1), None
        heads = _TEXT_HEADS.take(tags)
        coded = self._coded(at + heads, sizes - heads)
        none = tags == NIL
        index = np.where(none, np.int32(len(coded.values)), coded.index)
        return Text([*coded.values, None], index), (heads == 0) & ~none

    def _coded(self, at: Integers, lengths: Integers) -> Text:
        """Texts of ``lengths`` bytes, each distinct one once."""
        longest = int(lengths.max())
        if longest > MAX_CODED_BYTES:
            return self._coded_one_by_one(at, lengths)
        words = [lengths.view(np.uint64)]
        for k in range(0, longest, WORD):
            keep = _KEEP.take(lengths - k, mode="clip")
            words.append(self.words[at + k] & keep)
        mixed = words[0]
        for word in words[1:]:
            mixed = (mixed ^ word) * _MULTIPLIER
            mixed ^= mixed >> _HALF
        index, example = _distinct(mixed)
        same_as = example[index]
        # two texts may share a hash: only their bytes tell
        if not all(every(word == word[same_as]) for word in words):
            return self._coded_one_by_one(at, lengths)
        starts = at[example]
        pairs = zip(starts.tolist(), (starts + lengths[example]).tolist(), strict=True)
        return Text([self._text(start, end) for start, end in pairs], index)

    def _coded_one_by_one(self, at: Integers, lengths: Integers) -> Text:
        pairs = zip(at.tolist(), (at + lengths).tolist(), strict=True)
        return Text.of([self._text(start, end) for start, end in pairs])

    def _text(self, start: int, end: int) -> str:
        return self.data[start:end].decode("utf-8", "surrogateescape")

    def _big_endian(self, at: Integers, width: int) -> Words:
        """Unsigned integers of ``width`` bytes."""
        return self.words[at].byteswap() >> np.uint64(8 * (WORD - width))

    def _mixed(
        self, at: Integers, tags: Octets, out: Floats | Integers
    ) -> tuple[Mask | None, Mask | None]:
        """Read numbers of several tags into ``out``: where there is nil, where something else."""
        classes = _CLASSES.take(tags)
        none: Mask | None = None
        wrong = np.zeros(len(at), np.bool_)
        for tag in np.flatnonzero(np.bincount(classes)).tolist():
            rows = np.flatnonzero(classes == tag)
            found = self._number(tag, at[rows])
            if tag == NIL:
                none = classes == NIL
            elif found is None or (found.dtype == np.float64 and out.dtype == np.int64):
                wrong[rows] = True
            elif found.dtype == np.uint64 and out.dtype == np.int64:
                wrong[rows] = found > MAX_INT64
                out[rows] = found.view(np.int64)
            else:
                out[rows] = found
        return none, wrong if wrong.any() else None

    def _number(self, tag: int, at: Integers) -> Words | Integers | Floats | None:
        """The numbers of one tag; None where it stands for no number."""
        if tag < 0x80:
            return self.octets[at].astype(np.int64)
        if tag >= NEGATIVE:
            return self.octets[at].view(np.int8).astype(np.int64)
        if tag == UINT64:
            return self._big_endian(at + 1, 8)
        if UINT8 <= tag < UINT64:
            return self._big_endian(at + 1, 1 << (tag - UINT8)).view(np.int64)
        if INT8 <= tag <= INT64:
            bits_too_many = 64 - (8 << (tag - INT8))
            signed: Integers = self.words[at + 1].byteswap().view(np.int64) >> bits_too_many
            return signed
        if tag == FLOAT64:
            return self.words[at + 1].byteswap().view(np.float64)
        if tag == FLOAT32:
            return self._big_endian(at + 1, 4).astype(np.uint32).view(np.float32).astype(np.float64)
        return None


def _distinct(hashes: Words) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Which distinct hash each one is, and where each distinct one is found."""
    order = hashes.argsort()
    ordered = hashes[order]
    first = np.empty(len(hashes), np.bool_)
    first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    index = np.empty(len(hashes), np.int32)
    index[order] = first.cumsum(dtype=np.int32) - 1
    return index, order[first]

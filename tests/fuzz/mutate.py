"""Makes mutants of messages. It knows MessagePack: most are nearly right, and so they go deep.

All randomness comes from one ``Random``: the same seed makes the same mutants.
"""

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from random import Random

import msgpack
from walking import end_of

MAX_BYTES = 60_000
"""A mutant's greatest size: what the kernel takes over Unix and UDP sockets alike."""

EVENT_START = b"\x84\xa6method"  # what the quick way looks for

_INTEGERS = [0, 1, 2, 3, 127, 128, 199, 200, 255, 256, 599, 999, 1000, 1023, 1024, 1025, 65_535]
_INTEGERS += [2**31, 2**32, 2**53 + 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1]
_INTEGERS += [-1, -32, -33, -128, -129, -(2**15) - 1, -(2**31) - 1, -(2**63)]
_FLOATS = [0.0, -0.0, 5e-324, 0.5, 1e6, 1000001.0, 31 * 864e5, 31 * 864e5 + 1, 1e11, 2e11, 1e300]
_FLOATS += [-1e-9, -1e300, math.inf, -math.inf, math.nan]
EDGES: list[bytes] = [
    *map(
        msgpack.packb, [*_INTEGERS, *_FLOATS, None, True, False, "", b"", [], {}, "\0", "a" * 300]
    ),
    *(b"\xca" + struct.pack(">f", value) for value in (0.0, -1.0, math.inf, math.nan, 3e38)),
    *(b"\xd3" + struct.pack(">q", value) for value in (0, 200, -1)),
    b"\xca\x7f\x80\x00\x01",  # signalling NaNs, of 32 and 64 bits
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x01",
    msgpack.packb(msgpack.Timestamp(0, 0)),
    msgpack.packb(msgpack.Timestamp(2**62, 999_999_999)),
    b"\xd6\xff\xff\xff\xff\xff",
    b"\xd4\x05\x00",
    b"\xa2\xc3\x28",  # no UTF-8
    b"\xa3\xed\xa0\x80",  # a surrogate
]
"""Values at the edges of what types and fields take."""

_TAGS = [0x80, 0x81, 0x8F, 0x90, 0x91, 0x9F, 0xA0, 0xA1, 0xBF, *range(0xC0, 0xE1), 0xFF, 0x00, 0x7F]
_HEADS = {0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}
_LENGTH_WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_LENGTH_WIDTHS |= {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}

Span = tuple[int, int]


@lru_cache(1024)  # of the seeds, again and again
def spans(data: bytes) -> tuple[Span, ...]:
    """Where values stand, from the start of the tag on; of containers the head only."""
    found: list[Span] = []
    at = 0
    while at < len(data):
        tag = data[at]
        head = 1 if 0x80 <= tag <= 0x9F else _HEADS.get(tag)
        end = end_of(data, at) if head is None else at + head
        if not at < end <= len(data):
            break
        found.append((at, end))
        at = end
    return tuple(found)


class Mutator:
    """Makes mutants of ``seeds``."""

    def __init__(self, dice: Random, seeds: list[bytes]) -> None:
        self._dice = dice
        self._seeds = seeds
        self._ways: list[Callable[[bytes], bytes]] = [
            self._flipped,
            self._cut,
            self._edged,
            self._edged,
            self._retagged,
            self._resized,
            self._without,
            self._repeated,
            self._transplanted,
            self._transplanted,
            self._nested,
            self._misled,
            self._spliced,
            self._joined,
            self._wrapped,
        ]

    def message(self) -> bytes:
        """A seed, mutated up to four times, or not at all."""
        data = self._dice.choice(self._seeds)
        for _ in range(self._dice.choice((0, 1, 1, 1, 2, 2, 3, 4))):
            data = self.mutant(data)
        return data

    def burst(self, size: int) -> list[bytes]:
        """Up to ``size`` messages; many alike, as real bursts are, so they are read together."""
        dice = self._dice
        base = [dice.choice(self._seeds) for _ in range(dice.randint(1, 3))]
        messages = []
        for _ in range(dice.randint(1, size)):
            how = dice.random()
            chosen = dice.choice(base)
            messages.append(
                chosen if how < 0.4 else self.mutant(chosen) if how < 0.8 else self.message()
            )
        return messages

    def mutant(self, data: bytes) -> bytes:
        """``data`` mutated once; at most MAX_BYTES of it."""
        return self._dice.choice(self._ways)(data)[:MAX_BYTES]

    def _span(self, data: bytes) -> Span:
        found = spans(data)
        return self._dice.choice(found) if found else (0, len(data))

    def _place(self, data: bytes) -> int:
        return self._dice.randint(0, len(data))

    def _flipped(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self._dice.randbytes(1) + data[at + 1 :]

    def _cut(self, data: bytes) -> bytes:
        return data[: self._place(data)]

    def _edged(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + self._dice.choice(EDGES) + data[end:]

    def _retagged(self, data: bytes) -> bytes:
        start, _ = self._span(data)
        return data[:start] + bytes([self._dice.choice(_TAGS)]) + data[start + 1 :]

    def _resized(self, data: bytes) -> bytes:
        """Another length in a head."""
        dice = self._dice
        sized = [
            s for s in spans(data) if 0x80 <= data[s[0]] < 0xC0 or data[s[0]] in _LENGTH_WIDTHS
        ]
        if not sized:
            return self._flipped(data)
        start, _ = dice.choice(sized)
        tag = data[start]
        width = _LENGTH_WIDTHS.get(tag)
        if width is None:
            return data[:start] + bytes([tag ^ dice.choice((1, 2, 3, 8, 15))]) + data[start + 1 :]
        at = start + 1
        length = int.from_bytes(data[at : at + width], "big") + dice.choice(
            (-1, 1, -3, 3, 255, -(2**31))
        )
        length = dice.choice((length, length, 0, -1)) % (1 << 8 * width)
        return data[:at] + length.to_bytes(width, "big") + data[at + width :]

    def _without(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _repeated(self, data: bytes) -> bytes:
        """One to some values again, somewhere: a key given twice, a list one too long."""
        found = spans(data)
        if not found:
            return data + data
        first = self._dice.randrange(len(found))
        last = min(first + self._dice.choice((0, 1, 1, 2, 6)), len(found) - 1)
        start, end = found[first][0], found[last][1]
        at = self._dice.choice((end, self._span(data)[0]))
        return data[:at] + data[start:end] * self._dice.choice((1, 1, 2, 16)) + data[at:]

    def _transplanted(self, data: bytes) -> bytes:
        """A value of another message, or of this one, in the place of one."""
        other = self._dice.choice((data, self._dice.choice(self._seeds)))
        (start, end), (first, last) = self._span(data), self._span(other)
        return data[:start] + other[first:last] + data[end:]

    def _nested(self, data: bytes) -> bytes:
        start, _ = self._span(data)
        level = self._dice.choice((b"\x91", b"\x81\xa1x", b"\x81", b"\xdc\x00\x01"))
        return data[:start] + level * self._dice.choice((1, 1, 2, 30, 1000, 1018)) + data[start:]

    def _misled(self, data: bytes) -> bytes:
        """What looks like an event's start, in a text, in binary, or bare."""
        start, end = self._span(data)
        false = self._dice.choice(
            (EVENT_START, EVENT_START[1:], self._dice.choice(self._seeds)[:100])
        )
        shown = self._dice.choice(
            (false, b"\xd9" + bytes([len(false)]) + false, msgpack.packb(false))
        )
        return data[:start] + shown + data[self._dice.choice((start, end)) :]

    def _spliced(self, data: bytes) -> bytes:
        other = self._dice.choice(self._seeds)
        return data[: self._span(data)[1]] + other[self._span(other)[0] :]

    def _joined(self, data: bytes) -> bytes:
        return data + self._dice.choice(self._seeds)

    def _wrapped(self, data: bytes) -> bytes:
        """The message as an event of a list or an envelope, beside others."""
        dice = self._dice
        events = [data, *(dice.choice(self._seeds) for _ in range(dice.randint(0, 3)))]
        dice.shuffle(events)
        head = dice.choice((b"", b"\x81\xa6events", b"\x83\xa6source\xa1s\xa3seq\x05\xa6events"))
        return head + bytes([0x90 + len(events)]) + b"".join(events)

"""The quick way: msgspec decodes and checks plain requests in C; then they become columns.

Plain messages have four types, and each has a reader: a request or a list of requests, or an
envelope around a list; with the protocol's names, or with their camelCase forms. The types are made
from ``protocol`` and are narrower than it. A message with anything unusual (another kind, a key in
both spellings, an extension type, a number out of range) fits no type, and is left to ``careful``
as a whole. So there are no rejects here: the careful way makes all of them.
"""

import math
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgpack
import numpy as np
from attrs import frozen
from msgspec import Meta, Raw, Struct, defstruct
from msgspec.msgpack import Decoder
from numpy.typing import NDArray

from aegisd.events.block import Block, Numbers, Text
from aegisd.events.flows import MAX_SEQ, NO_FLOWS, FlowRow, Flows
from aegisd.events.protocol import (
    KINDS,
    MAX_DURATION_MS,
    MAX_STATUS,
    REQUEST,
    VERSION,
    Field,
    FieldType,
    camel_case,
)
from aegisd.wire import checks
from aegisd.wire.checks import Faults, TimeLimits

_Never = Annotated[int, Meta(ge=1, le=0)]
"""No value fits this: a message with such a key is not plain."""

_TYPES: dict[FieldType, Any] = {
    FieldType.TEXT: str,
    FieldType.STATUS: Annotated[int, Meta(ge=0, le=MAX_STATUS)],
    FieldType.DURATION: Annotated[float, Meta(ge=0, le=MAX_DURATION_MS)],
    FieldType.TIMESTAMP: Annotated[float, Meta(ge=0)],
}
"""msgspec takes an integer as a float. Where there is a bound, NaN does not fit."""

_MESSAGE_KEYS: list[tuple[str, Any, Any]] = [
    ("source", str | None, None),
    ("seq", Annotated[int, Meta(ge=0, le=MAX_SEQ)] | None, None),
    ("kind", Literal[REQUEST] | None, None),
    ("columns", None, None),
]
"""Keys that a plain message may have beside its events. ``columns`` may only be nil."""

MAX_DEPTH = 1000
"""Values may be nested so deep. A message of so many bytes can't be deeper."""

_STACK_IS_DEEP = sys.version_info >= (3, 12)
"""msgspec goes as deep as Python's stack: since 3.12 deeper than msgpack, which ends at 1,024."""

_NOT_PLAIN = (ValueError, RecursionError)  # msgspec's errors are ValueErrors, as Python's of UTF-8

_FIELDS = KINDS[REQUEST]
_TIMES = next(field for field in _FIELDS if field.type is FieldType.TIMESTAMP)
_timestamp = attrgetter(_TIMES.name)
_source, _seq, _events = attrgetter("source"), attrgetter("seq"), attrgetter("events")


def _event(*, camel: bool) -> type[Struct]:
    """The type of a request with the protocol's names, or camelCase ones. Absent numbers: NaN."""
    fields: list[Any] = [*_MESSAGE_KEYS, ("events", None, None)]
    renamed = {}
    for field in _FIELDS:
        own, other = field.name, camel_case(field.name)
        if own != other:
            renamed[own] = other if camel else own
            fields.append((f"not_{own}", _Never, 0))
            renamed[f"not_{own}"] = own if camel else other
        absent = None if field.type is FieldType.TEXT else math.nan
        type_ = _TYPES[field.type]
        fields.append((own, type_) if field.required else (own, type_ | None, absent))
    return defstruct("Event", fields, kw_only=True, gc=False, rename=renamed)


def _envelope(event: type[Struct]) -> type[Struct]:
    """The type of an envelope around a list of such requests."""
    fields: list[Any] = [
        *_MESSAGE_KEYS,
        ("v", Literal[VERSION] | None, None),
        ("events", list[event]),  # type: ignore[valid-type]
    ]
    return defstruct("Envelope", fields, kw_only=True, gc=False)


@frozen(eq=False)
class PlainRequests:
    """Requests that one reader has read.

    ``sizes[i]`` of them came in message ``message_numbers[i]`` of the burst.
    """

    message_numbers: list[int]
    sizes: list[int]
    events: list[Any]
    timestamps: NDArray[np.float64]
    flows: Flows
    nbytes: int  # of the messages

    def parts(self, size: int, limits: TimeLimits) -> Iterator[tuple[Block, list[int], list[int]]]:
        """Blocks of at most ``size`` events, with their messages and how many came in each."""
        if len(self.events) <= size:
            if self.events:
                yield _block(self.events, self.timestamps, limits), self.message_numbers, self.sizes
            return
        ends = list(accumulate(self.sizes))
        for start in range(0, len(self.events), size):
            stop = min(start + size, len(self.events))
            held = slice(bisect_right(ends, start), bisect_left(ends, stop) + 1)
            cuts = [start, *(min(end, stop) for end in ends[held])]
            counts = [end - begin for begin, end in pairwise(cuts)]
            block = _block(self.events[start:stop], self.timestamps[start:stop], limits)
            yield block, self.message_numbers[held], counts


class _TypeReader:
    """Reads the plain messages of one type."""

    def __init__(self, *, camel: bool, envelopes: bool) -> None:
        self._event = _event(camel=camel)
        type_: Any = _envelope(self._event) if envelopes else self._event | list[self._event]  # type: ignore[name-defined]
        self._decode = Decoder(type_).decode

    def read(
        self, messages: Sequence[bytes], message_numbers: Sequence[int], limits: TimeLimits
    ) -> tuple[PlainRequests | None, list[int]]:
        """The requests of those messages that fit, and the numbers of those that don't."""
        decode = self._decode
        found, read, left = [], [], []
        for number in message_numbers:
            try:
                found.append(decode(messages[number]))
            except _NOT_PLAIN:
                left.append(number)
            else:
                read.append(number)
        requests = self._requests(found, read, left, limits, messages) if found else None
        return requests, left

    def _requests(
        self,
        found: list[Any],
        read: list[int],
        left: list[int],
        limits: TimeLimits,
        messages: Sequence[bytes],
    ) -> PlainRequests | None:
        """The requests in ``found``. Messages that are not plain after all are added to ``left``.

        A type can't tell those: a timestamp is out of range, or there is a seq without a source.
        """
        types = set(map(type, found))
        events, sizes = found, [1] * len(found)
        if types != {self._event}:
            lists = [self._listed(item) for item in found]
            events, sizes = list(chain.from_iterable(lists)), list(map(len, lists))
        timestamps = np.array(list(map(_timestamp, events)), np.float64)
        odd: set[int] = set()
        late = checks.timestamps_out_of_range(timestamps, limits)
        if late is not None:
            ends = list(accumulate(sizes))
            odd.update(bisect_right(ends, place) for place in late.nonzero()[0].tolist())
        flows = NO_FLOWS
        if types != {list}:
            rows = self._flows(found, read, sizes, odd)
            flows = Flows.of(rows) if rows else NO_FLOWS
        if not odd:
            nbytes = sum(len(messages[number]) for number in read)
            return PlainRequests(read, sizes, events, timestamps, flows, nbytes)
        left += [read[i] for i in sorted(odd)]
        kept = [i for i in range(len(found)) if i not in odd]
        if not kept:
            return None
        return self._requests(
            [found[i] for i in kept], [read[i] for i in kept], left, limits, messages
        )

    def _flows(
        self, found: list[Any], read: list[int], sizes: list[int], odd: set[int]
    ) -> list[FlowRow]:
        """The flows; a message with a seq and no source is added to ``odd``."""
        named = [i for i, item in enumerate(found) if type(item) is not list]
        sources = [_source(found[i]) for i in named]
        seqs = [_seq(found[i]) for i in named]
        if sources.count(None) == seqs.count(None) == len(named):
            return []
        rows: list[FlowRow] = []
        for i, source, seq in zip(named, sources, seqs, strict=True):
            if source is not None:
                rows.append((read[i], source, seq, sizes[i]))
            elif seq is not None:
                odd.add(i)
        return rows

    def _listed(self, item: Any) -> list[Any]:
        if type(item) is list:
            return item
        events: list[Any] = [item] if type(item) is self._event else _events(item)
        return events


class _Columns(Struct, gc=False):
    """A message with columns, which are not looked at."""

    columns: Raw


_columns = Decoder(_Columns).decode


class QuickReader:
    """The four readers. First is the one that read most messages of a burst lately.

    If most messages of the last burst were not plain, columns messages are sorted out first: one
    look instead of four.
    """

    def __init__(self) -> None:
        self._readers = [
            _TypeReader(camel=camel, envelopes=envelopes)
            for envelopes in (False, True)
            for camel in (False, True)
        ]
        self._few_are_plain = False

    def read(
        self, messages: Sequence[bytes], limits: TimeLimits
    ) -> tuple[list[PlainRequests], list[int]]:
        """The plain messages, and the numbers of the others."""
        odd = [i for i, data in enumerate(messages) if _is_deep(data)] if _STACK_IS_DEEP else []
        if self._few_are_plain:
            odd += [i for i, data in enumerate(messages) if _has_columns(data)]
        left: Sequence[int] = range(len(messages))
        if odd:
            left = sorted({*left}.difference(odd))
        plain: list[PlainRequests] = []
        most = 0
        for reader in tuple(self._readers):
            if not left:
                break
            found, left = reader.read(messages, left, limits)
            if found is not None:
                plain.append(found)
                if len(found.message_numbers) > most:
                    most = len(found.message_numbers)
                    self._readers.remove(reader)
                    self._readers.insert(0, reader)
        careful = sorted({*left, *odd})
        self._few_are_plain = 2 * len(careful) > len(messages)
        return plain, careful


def _has_columns(data: bytes) -> bool:
    try:
        _columns(data)
    except _NOT_PLAIN:
        return False
    return True


def _is_deep(data: bytes) -> bool:
    """Whether msgpack can't skip a message: it is nested too deep, or no MessagePack."""
    if len(data) <= MAX_DEPTH:
        return False
    reader = msgpack.Unpacker(max_buffer_size=len(data))
    reader.feed(data)
    try:
        reader.skip()
    except (msgpack.UnpackException, ValueError):
        return True
    return False


def _block(events: list[Any], timestamps: NDArray[np.float64], limits: TimeLimits) -> Block:
    numbers: dict[str, Numbers] = {}
    texts: dict[str, Text] = {}
    no_text = Text.constant(None, len(events))  # one for all fields: most texts are absent
    for field in _FIELDS:
        if field is _TIMES:
            numbers[field.column] = _floats(field, timestamps, limits)
            continue
        raw = list(map(attrgetter(field.name), events))
        if field.type is FieldType.TEXT:
            texts[field.column] = no_text if raw.count(None) == len(raw) else Text.of(raw)
        elif field.type is FieldType.STATUS:
            numbers[field.column] = np.array(raw, np.int64)
        else:
            numbers[field.column] = _floats(field, np.array(raw, np.float64), limits)
    return Block(REQUEST, len(events), numbers, texts)


def _floats(field: Field, values: NDArray[np.float64], limits: TimeLimits) -> Numbers:
    """The column of values that are in range; NaN is an absent one."""
    none = np.isnan(values)
    absent = int(np.count_nonzero(none))
    if absent == len(values):
        return checks.absent_column(field, absent, limits)  # type: ignore[return-value] # no text
    return checks.check_numbers(
        field, values, Faults(len(values)), limits, none if absent else None
    )

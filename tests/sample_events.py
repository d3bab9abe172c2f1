"""Events for tests: valid events of every kind, and the rows that decoding must make of them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack
import numpy as np
import pytest
from attrs import frozen
from hypothesis import strategies as st

from aegisd.config.settings import Privacy
from aegisd.events.block import ABSENT, Block, Integers
from aegisd.events.flows import Flows
from aegisd.events.protocol import BACKEND, KINDS, RATE_LIMIT, REQUEST, SYSTEM, camel_case
from aegisd.wire.careful.envelopes import Reject
from aegisd.wire.decode import Decoded, Decoder
from aegisd.wire.naming.endpoints import EndpointNamer
from aegisd.wire.quick import QuickReader

NOW = 1_790_000_000
"""The tests' present, in seconds since 1970."""

MICROSECONDS = 1_000_000
DAY = 86_400
MAX_AGE = 30 * DAY * MICROSECONDS

GOOD: dict[str, dict[str, Any]] = {
    REQUEST: {"method": "GET", "path": "/", "status_code": 200},
    RATE_LIMIT: {"kind": "rate_limit", "key": "k", "allowed": True},
    BACKEND: {"kind": "backend", "backend_name": "b", "status": "healthy"},
    SYSTEM: {"kind": "system", "active_connections": 7},
}
"""An event of each kind with its required fields only."""


_LETTERS = str.maketrans("0123456789", "abcdefghij")


def word(number: int) -> str:
    """A word of its own for each number: in a path, no rule takes it for an identifier."""
    return str(number).translate(_LETTERS)


def pack(value: Any) -> bytes:
    """A value as MessagePack; bytes are taken to be packed already."""
    return value if isinstance(value, bytes) else msgpack.packb(value)


@frozen(eq=False)
class DecodedBurst:
    """All parts of a burst of ``size`` messages."""

    parts: list[Decoded]
    size: int

    @property
    def blocks(self) -> list[Block]:
        """With the columns that were sent: no endpoints."""
        return [_without_endpoints(block) for part in self.parts for block in part.blocks]

    @property
    def rejects(self) -> list[Reject]:
        return [reject for part in self.parts for reject in part.rejects]

    @property
    def altered(self) -> int:
        return sum(part.altered for part in self.parts)

    @property
    def flows(self) -> Flows:
        return Flows.concatenate([part.flows for part in self.parts])

    @property
    def unreadable(self) -> list[int]:
        return sorted(number for part in self.parts for number in part.unreadable)

    @property
    def starts(self) -> Integers:
        """The number of each message's first event among all, and how many there are."""
        counts = np.zeros(self.size, np.int64)
        for part in self.parts:
            np.add.at(counts, part.message_numbers, part.counts)
        return np.concatenate([np.zeros(1, np.int64), counts.cumsum()])


def _without_endpoints(block: Block) -> Block:
    return block.only({*block.numbers, *block.texts} - {"endpoint"})


def keep_all_decoder(max_age: int = MAX_AGE) -> Decoder:
    """A decoder that removes nothing for privacy."""
    return Decoder(max_age, Privacy(strip_query=False), EndpointNamer(templates=False))


def decoded_by(decoder: Decoder, messages: Sequence[bytes], now: float = NOW) -> DecodedBurst:
    """What a decoder makes of a burst."""
    parts = list(decoder.decode(messages, round(now * MICROSECONDS)))
    return DecodedBurst(parts, len(messages))


def decode(*messages: Any, now: float = NOW, max_age: int = MAX_AGE) -> DecodedBurst:
    """Decode messages as one burst, the quick way and the careful way, which must give the same."""
    burst = [pack(m) for m in messages]
    quickly = decoded_by(keep_all_decoder(max_age), burst, now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QuickReader, "read", lambda _, messages, limits: ([], range(len(messages))))
        carefully = decoded_by(keep_all_decoder(max_age), burst, now)
        patch.setattr("aegisd.wire.careful.opening.LARGE_BYTES", -1)
        patch.setattr("aegisd.wire.careful.opening.STEP_EVENTS", 2)
        patch.setattr("aegisd.wire.careful.boundaries.STEP_VALUES", 3)
        patch.setattr("aegisd.wire.careful.envelopes.MAX_EVENTS", 3)
        in_steps = decoded_by(keep_all_decoder(max_age), burst, now)
    assert content(quickly) == content(carefully)
    assert content(quickly) == content(in_steps)
    assert accepted(quickly) + len(faults(quickly)) == quickly.starts[-1]
    return carefully


def content(decoded: DecodedBurst) -> Any:
    """All that was decoded, to be compared; only reports have an order, since the latest counts."""
    held = rows(decoded.blocks)
    ordered = [[row for row in held if row["kind"] == kind] for kind in (BACKEND, SYSTEM)]
    return (
        sort(held),
        ordered,
        faults(decoded),
        decoded.altered,
        sorted(flows(decoded), key=repr),
        decoded.starts.tolist(),
        decoded.unreadable,
    )


def flows(decoded: DecodedBurst) -> list[tuple[str | None, int | None, int]]:
    """Source, seq and number of events of each message that names its source."""
    found = decoded.flows
    seqs = [None if seq == ABSENT else seq for seq in found.seqs.tolist()]
    return list(zip(found.sources.rows(), seqs, found.counts.tolist(), strict=True))


def accepted(decoded: DecodedBurst) -> int:
    return sum(block.size for block in decoded.blocks)


def faults(decoded: DecodedBurst) -> list[tuple[int, str, str]]:
    """Position, reason and field of every reject, in order."""
    starts = decoded.starts.tolist()
    return sorted(
        (starts[message] + index, str(reject.reason), reject.field)
        for reject in decoded.rejects
        for message, index in zip(
            reject.message_numbers.tolist(), reject.indexes.tolist(), strict=True
        )
    )


def rows(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """A dict an event under the wire's names, None where a field is absent; all times in µs."""
    wire_names = {f.column: f.name for fields in KINDS.values() for f in fields}
    made = []
    for block in blocks:
        columns: dict[str, list[Any]] = {"kind": [block.kind] * block.size}
        for name, column in block.numbers.items():
            assert len(column) == block.size
            gone = ((column == ABSENT) | np.isnan(column)).tolist()
            values = [None if g else v for g, v in zip(gone, column.tolist(), strict=True)]
            columns[wire_names.get(name, name)] = values
        columns |= {name: text.rows() for name, text in block.texts.items()}
        made += [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
    return made


def sort(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In an order that depends on nothing but the events."""
    return sorted(events, key=lambda event: repr(sorted(event.items())))


def only(event: Any, **context: Any) -> dict[str, Any]:
    """The row of a single event that must be accepted, decoded within an envelope's keys."""
    (row,) = rows(decode({"events": [event], **context} if context else event).blocks)
    return row


def fault_of(event: Any) -> tuple[str, str]:
    """Reason and field with which a single event must be rejected."""
    ((_, reason, field),) = faults(decode(event))
    return reason, field


def texts(limit: int) -> st.SearchStrategy[str]:
    """Texts that are kept as they are: at most ``limit`` bytes, no NUL."""
    letters = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(letters, max_size=min(12, limit // 4))


# a value as it is sent, and as the block must hold it
Pair = tuple[Any, Any]


def _moment(micros: int) -> st.SearchStrategy[Pair]:
    millis, nanos = micros // 1000, micros * 1000
    return st.sampled_from(
        [
            (micros / 1e6, micros),
            (micros // MICROSECONDS, micros // MICROSECONDS * MICROSECONDS),
            (millis, millis * 1000),
            (msgpack.Timestamp.from_unix_nano(nanos), micros),
        ]
    )


def moments(before: int = 3600, after: int = 300) -> st.SearchStrategy[Pair]:
    """Timestamps around NOW, in each of the forms the wire knows."""
    micros = st.integers((NOW - before) * MICROSECONDS, (NOW + after) * MICROSECONDS)
    return micros.flatmap(_moment)


def same(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Pair]:
    return strategy.map(lambda v: (v, v))


durations = st.integers(0, 31 * DAY * MICROSECONDS).map(lambda us: (us / 1000, us))
counts = same(st.integers(0, 2**63 - 1))

FIELDS: dict[str, dict[str, st.SearchStrategy[Pair]]] = {
    REQUEST: {
        "method": same(texts(16)),
        "path": same(texts(2048)),
        "status_code": same(st.integers(0, 999)),
        "duration_ms": durations,
        "timestamp": moments(),
        "route": same(texts(2048)),
        "backend": same(texts(255)),
        "client_ip": same(texts(64)),
        "error_message": same(texts(1024)),
    },
    RATE_LIMIT: {
        "key": same(texts(255)),
        "allowed": same(st.booleans()),
        "timestamp": moments(),
        "remaining": same(st.integers(1 - 2**63, 2**63 - 1)),
        "limit": same(st.integers(1 - 2**63, 2**63 - 1)),
    },
    BACKEND: {
        "backend_name": same(texts(255)),
        "status": same(st.sampled_from(["healthy", "unhealthy"])),
        "timestamp": moments(),
        "response_time_ms": durations,
        "circuit_breaker": same(st.sampled_from(["closed", "open", "half_open"])),
    },
    SYSTEM: {
        "active_connections": counts,
        "timestamp": moments(),
        "cpu_percent": same(st.floats(0, 1e6)),
        "memory_bytes": counts,
        "open_files": counts,
        "source": same(texts(255)),
    },
}


@st.composite
def events(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(KINDS)) -> Pair:
    """A valid event, and its row: any optional fields, names, forms, order and unknown keys."""
    kind = draw(st.sampled_from(kinds))
    row: dict[str, Any] = {"kind": kind}
    pairs: list[tuple[str, Any]] = [("kind", kind)]
    for field in KINDS[kind]:
        row[field.name] = NOW * MICROSECONDS if field.name == "timestamp" else None
        name = draw(st.sampled_from([field.name, camel_case(field.name)]))
        how = draw(st.sampled_from(["given", "given", "nil", "left out"]))
        if field.required or how == "given":
            sent, row[field.name] = draw(FIELDS[kind][field.name])
            pairs.append((name, sent))
        elif how == "nil":
            pairs.append((name, None))
    if draw(st.booleans()):
        pairs.append((draw(st.sampled_from(["x", "traceId", "n"])), [math.pi, {"a": None}]))
    return dict(draw(st.permutations(pairs))), row


@st.composite
def splits(draw: st.DrawFn, sent: list[Any]) -> list[list[bytes]]:
    """The same events in the same order, in messages of any form, in bursts of any size."""
    bursts: list[list[bytes]] = [[]]
    rest = list(sent)
    while rest:
        size = draw(st.integers(1, len(rest)))
        part, rest = rest[:size], rest[size:]
        form = draw(st.sampled_from(["maps", "list", "envelope"]))
        if form == "maps":
            bursts[-1] += map(pack, part)
        else:
            bursts[-1].append(pack(part if form == "list" else {"v": 1, "events": part}))
        if draw(st.booleans()):
            bursts.append([])
    return bursts

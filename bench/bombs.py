"""Messages of the largest accepted size, each slow to handle in its own way."""

import struct
from collections.abc import Callable

import msgpack
from attrs import frozen

MESSAGE_BYTES = 1024 * 1024
"""The default of ``ingest.max_message_bytes``."""

ROWS = 65_536
"""The largest ``n`` of columns."""

NESTED = 1_000_000
PATH_BYTES = 2048

BURST_DATAGRAMS = 4096
BURST_ROWS = 1024
"""The largest ``n`` that is accepted whatever the message's size."""

NIL, EMPTY_MAP, EMPTY_ARRAY, ARRAY_OF_ONE = b"\xc0", b"\x80", b"\x90", b"\x91"
REQUEST = {"method": "GET", "path": "/", "status_code": 200}
LETTERS = str.maketrans("0123456789", "abcdefghij")


@frozen
class Bomb:
    """A message's content, and how it is made for a source."""

    title: str
    make: Callable[[str], bytes]


def events(source: str, items: list[bytes]) -> bytes:
    """An envelope with encoded events."""
    return _head(3, source, "events") + _array(len(items)) + b"".join(items)


def fill(source: str, item: bytes, last: bytes = b"") -> bytes:
    """An envelope with as many copies of an encoded event as fit, and ``last`` at the end."""
    space = MESSAGE_BYTES - len(events(source, [last]))
    return events(source, [item] * (space // len(item)) + ([last] if last else []))


def columns(source: str, **named: object) -> bytes:
    """An envelope with columns of ROWS rows, and an unknown column ``padding``.

    A message whose columns are all constants needs the padding: it must have a byte for each row.
    """
    head = _head(4, source, "n") + msgpack.packb(ROWS) + msgpack.packb("columns")
    given = {**REQUEST, **named}
    size = len(head) + len(msgpack.packb({**given, "padding": bytes(ROWS)}))
    return head + msgpack.packb({**given, "padding": bytes(ROWS + MESSAGE_BYTES - size)})


def unknown_key(source: str) -> bytes:
    """An event without a path, and with a million maps in an unknown key."""
    named = {"method": "GET", "status_code": 200, "source": source, "seq": 0}
    head = b"\x85" + msgpack.packb(named)[1:] + msgpack.packb("unknown")
    return head + _array(NESTED) + EMPTY_MAP * NESTED


def long_paths(source: str) -> bytes:
    """Requests whose paths consist of as many segments as fit, all numbers."""
    space = MESSAGE_BYTES - PATH_BYTES
    paths, size = [], 0
    while size < space:
        path = f"/{len(paths)}"
        path += "/1" * ((PATH_BYTES - len(path)) // 2)
        paths.append(msgpack.packb({**REQUEST, "path": path}))
        size += len(paths[-1])
    return events(source, paths[:-1])


def scan(source: str) -> bytes:
    """Requests to as many distinct paths as fit."""
    size = len(msgpack.packb(_scanned(ROWS)))
    found = [msgpack.packb(_scanned(i)) for i in range((MESSAGE_BYTES - 100) // size)]
    return events(source, found)


def scan_in_columns(source: str) -> bytes:
    """Columns whose rows all have a path of their own."""
    return columns(source, path=[f"/scan/{_word(i)}" for i in range(ROWS)])


def decisions(source: str) -> bytes:
    """Rate-limit decisions, each with a key of its own: they are decoded one by one."""
    item = {"kind": "rate_limit", "key": "client-00000", "allowed": True}
    size = len(msgpack.packb(item))
    count = (MESSAGE_BYTES - 100) // size
    return events(source, [msgpack.packb(item | {"key": f"client-{i:05}"}) for i in range(count)])


def _word(i: int) -> str:
    """A number as a word of letters, which the naming of endpoints does not replace."""
    return f"{i:05}".translate(LETTERS)


def _scanned(i: int) -> dict[str, object]:
    return REQUEST | {"path": f"/scan/{_word(i)}"}


SMALL = msgpack.packb(REQUEST)
NESTS = ARRAY_OF_ONE * (NESTED - 1) + EMPTY_ARRAY
WRONG = msgpack.packb({**REQUEST, "status_code": "200"})

BOMBS = (
    Bomb("a list of nils", lambda s: fill(s, NIL)),
    Bomb("a list of empty maps", lambda s: fill(s, EMPTY_MAP)),
    Bomb("a list of small requests", lambda s: fill(s, SMALL)),
    Bomb("the same, the last one's status a text", lambda s: fill(s, SMALL, WRONG)),
    Bomb(f"requests with paths of {PATH_BYTES // 2:,} numbers", long_paths),
    Bomb("requests to distinct paths", scan),
    Bomb(f"columns, {ROWS:,} distinct paths", scan_in_columns),
    Bomb("rate-limit decisions of distinct keys", decisions),
    Bomb(f"columns of constants, n = {ROWS:,}", columns),
    Bomb(f"columns, a list of {ROWS:,} nils", lambda s: columns(s, path=[None] * ROWS)),
    Bomb("an event with a million maps and no path", unknown_key),
    Bomb(f"{NESTED:,} nested arrays", lambda s: events(s, [NESTS])),
)

DATAGRAM = msgpack.packb(
    {"n": BURST_ROWS, "columns": {"method": "GET", "path": "/", "statusCode": 100}}
)
"""45 bytes."""


def _head(keys: int, source: str, last: str) -> bytes:
    """The first bytes of an envelope with so many keys, up to the value of ``last``."""
    words = ("source", source, "seq", 0, last)
    return bytes([0x80 | keys]) + b"".join(map(msgpack.packb, words))


def _array(size: int) -> bytes:
    return b"\xdd" + struct.pack(">I", size)

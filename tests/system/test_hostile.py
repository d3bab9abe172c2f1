"""Datagrams that no gateway sends, at the live daemon, beside good ones."""

import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from support import Daemon, wait_until

GOOD = {"method": "GET", "path": "/good", "status_code": 200}
PACKED = msgpack.packb(GOOD)
GOOD_TOGETHER = 3

NESTED = b"\x91" * 30_000 + b"\xc0"
EMPTY_MAPS = b"\xdc\xea\x60" + b"\x80" * 60_000
LIST_AS_KEY = b"\x81\x91\x01\x02"
MAP_AS_KEY = b"\x81\x80\x02"

HOSTILE = {
    "an empty datagram": (b"", "malformed", 1),
    "a byte that MessagePack never uses": (b"\xc1", "malformed", 1),
    "text": (b"GET / HTTP/1.1\r\n\r\n", "malformed", 1),
    "a number": (b"\x07", "malformed", 1),
    "an event cut short": (PACKED[:-1], "malformed", 1),
    "an event with more behind it": (PACKED + b"\x00", "malformed", 1),
    "30,000 lists in each other": (NESTED, "malformed", 1),
    "60,000 empty maps": (EMPTY_MAPS, "missing_field", 60_000),
    "an event with a list for a key": (LIST_AS_KEY, "malformed", 1),
    "an event with a map for a key": (MAP_AS_KEY, "malformed", 1),
    "a list that declares four billion events": (b"\xdd\xff\xff\xff\xff", "malformed", 1),
    "a kind that there is not": (msgpack.packb({"kind": "spam"}), "unknown_kind", 1),
    "a status beyond all": (msgpack.packb(GOOD | {"status_code": 1000}), "out_of_range", 1),
    "an envelope without a source": (msgpack.packb({"events": [], "seq": 1}), "missing_field", 1),
}


def rejected(daemon: Daemon) -> dict[str, int]:
    counts: dict[str, int] = daemon.get("/api/ingest")["rejected"]
    return {reason: count for reason, count in counts.items() if count}


@pytest.fixture(scope="module")
def expected() -> dict[str, int]:
    counts: dict[str, int] = {}
    for _, reason, count in HOSTILE.values():
        counts[reason] = counts.get(reason, 0) + count
    return counts


def test_good_events_beside_hostile_ones_are_stored_and_rejects_counted_by_reason(
    storing: Daemon, rows: Callable[..., list[tuple[Any, ...]]], expected: dict[str, int]
) -> None:
    with storing.sender() as sender:
        for data, _, _ in HOSTILE.values():
            sender.send(PACKED)
            sender.send(data)
            sender.send(msgpack.packb([GOOD] * GOOD_TOGETHER))
    good = len(HOSTILE) * (1 + GOOD_TOGETHER)
    storing.wait_for_rows(good)
    assert rejected(storing) == expected
    ingest = storing.get("/api/ingest")
    assert ingest["events"]["request"] == good
    assert ingest["listeners"][0]["messages"] == 3 * len(HOSTILE)
    assert rows("SELECT path, count(*) FROM request_metrics GROUP BY path") == [("/good", good)]
    assert storing.get("/api/metrics/realtime")["totalRequests"] == good


def test_rejected_event_leaves_its_neighbours_accepted(storing: Daemon) -> None:
    events = [PACKED, LIST_AS_KEY, PACKED, b"\x91" * 2000 + b"\xc0", b"\x07", PACKED]
    storing.emit(b"\x96" + b"".join(events))
    storing.wait_for_events(3)
    assert rejected(storing) == {"malformed": 3}


def test_random_bytes_never_end_the_daemon(storing: Daemon) -> None:
    dice = random.Random(7460)
    sent = 0
    with storing.sender() as sender:
        for size in [dice.randrange(1, 400) for _ in range(2000)] + [60_000] * 20:
            data = bytearray(dice.randbytes(size))
            data[0] = dice.choice([0x80 + dice.randrange(16), 0x90 + dice.randrange(16), data[0]])
            sender.send(data)
            sent += 1
            if sent % 100 == 0:
                sender.send(PACKED)
        sender.send(PACKED)
    storing.wait_for_events(sent // 100 + 1)

    def rejects() -> int:
        return sum(storing.get("/api/ingest")["rejected"].values())

    wait_until(lambda: rejects() >= sent * 0.9, "most are rejected; an empty list is none")
    ingest = storing.get("/api/ingest")
    assert ingest["listeners"][0]["messages"] == sent + sent // 100 + 1
    assert ingest["events"]["request"] == sent // 100 + 1
    assert "Traceback" not in storing.log()
    assert storing.stop() == 0


def test_text_with_nul_or_bad_utf8_is_altered_and_stored(
    storing: Daemon, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    storing.emit(GOOD | {"path": "/nul\0here"})
    storing.emit(msgpack.packb(GOOD | {"path": "/x"}).replace(b"/x", b"/\xff"))
    storing.wait_for_rows(2)
    assert sorted(rows("SELECT path FROM request_metrics")) == [("/nul�here",), ("/�",)]
    assert storing.get("/api/ingest")["altered"] == 2

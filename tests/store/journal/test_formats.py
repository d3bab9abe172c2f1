"""What stands on disk: bytes of format 1, which every later release writes and reads alike.

The literals were made once. A change that makes one of these tests fail leaves the journals of
running daemons unreadable: it needs a new format number beside the old one, never a new literal.
"""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import numpy as np
import pytest
from sample_events import GOOD, keep_all_decoder, pack, rows
from store.journals import SECOND, files, opened, set_aside
from structlog.testing import capture_logs

from aegisd.events.block import ABSENT, Block, Text
from aegisd.events.protocol import BACKEND, KINDS, RATE_LIMIT, REQUEST, SYSTEM
from aegisd.store.journal import opening, repair, segments
from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.marks import ANY_UID, Marks, pack_moved
from aegisd.store.journal.note import Note
from aegisd.store.journal.payload import pack_blocks, unpack_blocks
from aegisd.store.journal.segments import Record

JOURNAL = UUID("00112233-4455-6677-8899-aabbccddeeff")
NOW = 1_790_000_000_000_000

# payloads: each column of numbers once with a value for all rows, once with one a row


def integers(*values: int) -> Any:
    return np.array(values, np.int64)


BLOCKS = {
    REQUEST: Block(
        REQUEST,
        3,
        {
            "timestamp": integers(NOW, NOW + 1, NOW + 2),
            "status_code": integers(200, 200, 200),
            "duration_us": integers(2500, ABSENT, 0),
        },
        {
            "method": Text(["GET"], np.zeros(3, np.int32)),
            "path": Text(["/a", "/ü"], np.array([0, 1, 0], np.int32)),
            "route": Text([None, "/{name}"], np.array([0, 1, 0], np.int32)),
            "endpoint": Text(["/a", "/{name}"], np.array([0, 1, 0], np.int32)),
            "backend": Text([None, "b"], np.array([0, 1, 1], np.int32)),
            "client_ip": Text(["192.0.2.1"], np.zeros(3, np.int32)),
            "error_message": Text([None], np.zeros(3, np.int32)),
        },
    ),
    RATE_LIMIT: Block(
        RATE_LIMIT,
        2,
        {
            "timestamp": integers(NOW, NOW),
            "allowed": np.array([True, False]),
            "remaining": integers(-1, 4),
            "limit": integers(10, ABSENT),
        },
        {"key": Text(["k", "l"], np.array([1, 0], np.int32))},
    ),
    BACKEND: Block(
        BACKEND,
        2,
        {"timestamp": integers(NOW, NOW - 5), "response_time_us": integers(1500, 1500)},
        {
            "backend_name": Text(["b"], np.zeros(2, np.int32)),
            "status": Text(["healthy", "unhealthy"], np.array([0, 1], np.int32)),
            "circuit_breaker": Text([None, "half_open"], np.array([0, 1], np.int32)),
        },
    ),
    SYSTEM: Block(
        SYSTEM,
        2,
        {
            "timestamp": integers(NOW, NOW),
            "active_connections": integers(7, 8),
            "cpu_percent": np.array([np.nan, 12.5]),
            "memory_bytes": integers(2**40, ABSENT),
            "open_files": integers(64, 64),
        },
        {"source": Text(["gateway"], np.zeros(2, np.int32))},
    ),
}

PAYLOADS = {
    REQUEST: """
        9194a7726571756573740383a974696d657374616d7092a33c6938c41800e025dafe5b060001e025dafe5b06
        0002e025dafe5b0600ab7374617475735f636f646592a33c6938c408c800000000000000ab6475726174696f6e5f6d7392a3
        3c6938c418c4090000000000000000000000000080000000000000000087a66d6574686f649391a3474554a0
        c400a4706174689392a22f61a32fc3bca33c7531c403000100a5726f7574659392c0a72f7b6e616d657da33c
        7531c403000100a8656e64706f696e749392a22f61a72f7b6e616d657da33c7531c403000100a76261636b65
        6e649392c0a162a33c7531c403000101a9636c69656e745f69709391a93139322e302e322e31a0c400ad6572
        726f725f6d6573736167659391c0a0c400
    """,
    RATE_LIMIT: """
        9194aa726174655f6c696d69740284a974696d657374616d7092a33c6938c40800e025dafe5b0600a7616c6c
        6f77656492a37c6231c4020100a972656d61696e696e6792a33c6938c410ffffffffffffffff040000000000
        0000a56c696d697492a33c6938c4100a00000000000000000000000000008081a36b65799392a16ba16ca33c
        7531c4020100
    """,
    BACKEND: """
        9194a76261636b656e640282a974696d657374616d7092a33c6938c41000e025dafe5b0600fbdf25dafe5b06
        00b0726573706f6e73655f74696d655f6d7392a33c6938c408dc0500000000000083ac6261636b656e645f6e
        616d659391a162a0c400a67374617475739392a76865616c746879a9756e6865616c746879a33c7531c40200
        01af636972637569745f627265616b65729392c0a968616c665f6f70656ea33c7531c4020001
    """,
    SYSTEM: """
        9194a673797374656d0285a974696d657374616d7092a33c6938c40800e025dafe5b0600b26163746976655f
        636f6e6e656374696f6e7392a33c6938c41007000000000000000800000000000000ab6370755f7065726365
        6e7492a33c6638c410000000000000f87f0000000000002940ac6d656d6f72795f627974657392a33c6938c4
        1000000000000100000000000000000080aa6f70656e5f66696c657392a33c6938c408400000000000000081
        a6736f757263659391a767617465776179a0c400
    """,
}


@pytest.mark.parametrize("kind", KINDS)
def test_block_is_packed_to_the_same_bytes(kind: str) -> None:
    assert pack_blocks([BLOCKS[kind]]).hex() == "".join(PAYLOADS[kind].split())


@pytest.mark.parametrize("kind", KINDS)
def test_stored_payload_is_unpacked_to_the_same_block(kind: str) -> None:
    (unpacked,) = unpack_blocks(bytes.fromhex(PAYLOADS[kind]))
    block = BLOCKS[kind]
    assert rows([unpacked]) == rows([block])
    assert {name: column.dtype for name, column in unpacked.numbers.items()} == {
        name: column.dtype for name, column in block.numbers.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_golden_block_has_every_column_of_its_kind(kind: str) -> None:
    columns = {field.column for field in KINDS[kind]} | ({"endpoint"} & set(BLOCKS[kind].texts))
    assert BLOCKS[kind].numbers.keys() | BLOCKS[kind].texts.keys() == columns


def test_microseconds_are_stored_under_names_of_milliseconds() -> None:
    ((_, _, of_requests, _),) = msgpack.unpackb(bytes.fromhex(PAYLOADS[REQUEST]))
    ((_, _, of_backends, _),) = msgpack.unpackb(bytes.fromhex(PAYLOADS[BACKEND]))
    assert np.frombuffer(of_requests["duration_ms"][1], "<i8")[0] == 2500
    assert np.frombuffer(of_backends["response_time_ms"][1], "<i8")[0] == 1500


def test_payload_of_several_blocks_is_a_list_of_them() -> None:
    whole = pack_blocks(list(BLOCKS.values()))
    one_by_one = [bytes.fromhex(each).removeprefix(b"\x91") for each in PAYLOADS.values()]
    assert whole == b"\x94" + b"".join(one_by_one)


@pytest.mark.parametrize(("values", "type_"), [(256, "<u1"), (257, "<u2"), (65_537, "<i4")])
def test_index_of_a_text_is_stored_in_as_few_bytes_as_its_values_need(
    values: int, type_: str
) -> None:
    index = np.arange(values, dtype=np.int32)
    text = Text([str(value) for value in range(values)], index)
    ((_, _, _, texts),) = msgpack.unpackb(
        pack_blocks([Block(SYSTEM, values, {}, {"source": text})])
    )
    assert texts["source"][1:] == [type_, index.astype(type_).tobytes()]


def test_stored_column_of_another_width_is_read() -> None:
    """The first releases may have written statuses as int16."""
    narrow = np.array([200, 404], np.int16)
    (block,) = unpack_blocks(pack_blocks([Block(REQUEST, 2, {"status_code": narrow}, {})]))
    assert block.numbers["status_code"].tolist() == [200, 404]


@pytest.mark.parametrize("kind", KINDS)
def test_decoded_event_is_packed_under_the_stored_names_and_types(kind: str) -> None:
    (block,) = (
        block
        for part in keep_all_decoder(2**62).decode([pack(GOOD[kind] | {"kind": kind})], NOW)
        for block in part.blocks
    )
    ((_, _, numbers, texts),) = msgpack.unpackb(pack_blocks([block]))
    ((_, _, golden_numbers, golden_texts),) = msgpack.unpackb(bytes.fromhex(PAYLOADS[kind]))
    types = {name: type_ for name, (type_, _) in numbers.items()}
    assert types == {name: type_ for name, (type_, _) in golden_numbers.items()}
    assert texts.keys() == golden_texts.keys()


# marks

MOVED = {(1000, "gateway"): 7, (0, "ü"): 2**40}
MARKS = bytes.fromhex("9293cd03e8a767617465776179079300a2c3bccf0000010000000000")
MARKS_WITHOUT_UID = bytes.fromhex(
    "82a7676174657761799207ce6ab13b80a2c3bc92cf0000010000000000ce6ab13b80"
)
MARKS_OF_ANY_UID = bytes.fromhex("9293ffa7676174657761790793ffa2c3bccf0000010000000000")


def test_marks_are_stored_as_the_same_bytes() -> None:
    marks = Marks()
    marks.move(MOVED)
    assert marks.pack() == pack_moved(MOVED) == MARKS


def test_stored_marks_are_loaded() -> None:
    marks = Marks()
    marks.load(MARKS)
    assert {source: marks.get(source) for source in MOVED} == MOVED


def test_stored_marks_without_uid_are_loaded_for_any_uid() -> None:
    marks = Marks()
    marks.load(MARKS_WITHOUT_UID)
    assert [marks.get((uid, "gateway")) for uid in (ANY_UID, 0, 1000)] == [7, 7, 7]
    assert marks.get((1000, "ü")) == 2**40
    assert marks.pack() == MARKS_OF_ANY_UID


def test_stored_marks_of_any_uid_are_loaded_for_any_uid() -> None:
    marks = Marks()
    marks.load(MARKS_OF_ANY_UID)
    assert [marks.get((uid, "gateway")) for uid in (0, 1000)] == [7, 7]


# segments

SEGMENT = bytes.fromhex("""
    4145474953444a3100112233445566778899aabbccddeeff64000000000000005a00000000000000ba8fc091
    1c0000009807293b640000000000000000000000803bb16a1c0000009293cd03e8a767617465776179079300
    a2c3bccf000001000000000015000000149b167c640000000000000003000000813bb16a0e0000009193cd03
    e8a7676174657761790a7061796c6f61640e000000b11203b9670000000000000000000000823bb16a0e0000
    009193cd03e8a7676174657761790b
""")
"""Its head, all marks, a record of three events that moves a mark, and one without events."""

RECORDS = [
    Record(100, 0, SECOND, MARKS, b"", 100),
    Record(100, 3, SECOND + 1, pack_moved({(1000, "gateway"): 10}), b"payload", 149),
    Record(103, 0, SECOND + 2, pack_moved({(1000, "gateway"): 11}), b"", 191),
]


def test_segment_is_written_as_the_same_bytes() -> None:
    written = [segments.pack_head(JOURNAL, 100, 90)]
    for record in RECORDS:
        written += segments.pack_record(
            record.position, record.events, record.written, record.marks, record.payload
        )
    assert b"".join(written).hex() == SEGMENT.hex()


def test_stored_segment_is_read_record_by_record(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000100.segment"
    path.write_bytes(SEGMENT)
    assert segments.list_segments(tmp_path) == [segments.Segment(path, 100)]
    assert segments.segment_named(tmp_path, 100).path == path
    with path.open("rb") as file:
        assert segments.read_head(file, JOURNAL) == 90
        read, offset = [], segments.HEAD_BYTES
        while (record := segments.read_record(file, offset)) is not None:
            read.append(record)
            offset = record.after
    assert read == RECORDS


# note and identity

NOTE = bytes.fromhex("00112233445566778899aabbccddeeff00000000000100009fc439f1")


def test_note_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    note = Note(tmp_path, JOURNAL)
    note.write(2**40)
    note.close()
    assert (tmp_path / "stored").read_bytes() == NOTE


def test_stored_note_is_read(tmp_path: Path) -> None:
    (tmp_path / "stored").write_bytes(NOTE)
    note = Note(tmp_path, JOURNAL)
    assert note.position == 2**40
    note.close()


def test_identity_is_written_as_the_same_text(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        uuid = journal.uuid
    text = f'{{"uuid": "{uuid}", "inode": {tmp_path.stat().st_ino}}}'
    assert (tmp_path / "identity.json").read_text() == text


def test_files_beside_the_segments_keep_their_names(tmp_path: Path) -> None:
    with opened(tmp_path):
        names = {file.name for file in tmp_path.iterdir() if file.suffix != ".segment"}
    assert names == {"lock", "identity.json", "stored"}
    assert (segments.CORRUPT, repair.DAMAGED) == (".corrupt", ".damaged")
    assert segments.MAX_RECORD_BYTES == 2**28, "a longer record is damage"


def test_each_start_leaves_out_as_many_positions_as_ever() -> None:
    assert opening.first_position(0, 5) == 5 + 2**32


# a whole directory

NOTE_OF_101 = bytes.fromhex("00112233445566778899aabbccddeeff65000000000000007700f068")

LAST_SEGMENT = bytes.fromhex("""
    4145474953444a3100112233445566778899aabbccddeeff67000000000000006700000000000000e47dc0a6
    1c000000e6e0ee5c670000000000000000000000833bb16a1c0000009293cd03e8a7676174657761790b9300
    a2c3bccf000001000000000012000000516132b8670000000000000002000000833bb16a0e0000009193cd03
    e8a7676174657761790d6d6f7265
""")

NEXT_SEGMENT = bytes.fromhex("""
    4145474953444a3100112233445566778899aabbccddeeff00e025dafe5b06006900000000000000a4da0e5a
    1c000000ddd8afdb00e025dafe5b060000000000803bb16a1c0000009293cd03e8a7676174657761790d9300
    a2c3bccf000001000000000011000000587fbf0f00e025dafe5b060002000000843bb16a0e0000009193cd03
    e8a7676174657761790f6e6577
""")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A journal of format 1: two segments, how far it is committed, whose it is."""
    directory = tmp_path / "journal"
    directory.mkdir(mode=0o700)
    identity = {"uuid": str(JOURNAL), "inode": directory.stat().st_ino}
    (directory / "identity.json").write_text(json.dumps(identity))
    (directory / "lock").write_bytes(b"4242\n")
    (directory / "stored").write_bytes(NOTE_OF_101)
    (directory / "00000000000000000100.segment").write_bytes(SEGMENT)
    (directory / "00000000000000000103.segment").write_bytes(LAST_SEGMENT)
    return directory


def test_stored_journal_is_opened_and_read(stored: Path) -> None:
    with capture_logs() as logs, opened(stored) as journal:
        assert (journal.uuid, journal.start, journal.committed) == (JOURNAL, 100, 101)
        assert {source: journal.marks.get(source) for source in MOVED} == {
            (1000, "gateway"): 13,
            (0, "ü"): 2**40,
        }
        assert journal.events_from(0) == 5
        cursor = Cursor(journal, journal.committed)
        read = [cursor.next() for _ in range(3)]
        cursor.close()
        assert [(r.position, r.events, r.payload) if r else r for r in read] == [
            (100, 3, b"payload"),
            (103, 2, b"more"),
            None,
        ]
        assert (logs, set_aside(stored)) == ([], [])


def test_stored_journal_goes_on_in_a_segment_of_the_same_bytes(stored: Path) -> None:
    with opened(stored, now=NOW) as journal:
        assert journal.append(2, b"new", {(1000, "gateway"): 15}, SECOND + 4) == NOW
        last = files(stored)[-1]
        assert (last.name, last.read_bytes()) == (f"{NOW:020d}.segment", NEXT_SEGMENT)

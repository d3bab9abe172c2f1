"""What stands in the journal's files: segments of records, in the order in which they came.

A segment starts with MAGIC, the journal's UUID and the position of its first event. A record is
its header (see ``_RECORD``), its marks and its payload. The file's name is that position, so that
names sort by it.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from attrs import frozen

MAGIC = b"AEGISDJ1"  # format 1
SUFFIX = ".segment"

MAX_RECORD_BYTES = 256 * 1024 * 1024
"""No burst comes near. A length beyond it is damage."""

_HEAD = struct.Struct("<8s16sQQ")
"""MAGIC, the journal, the position of the first event, and the one behind the segment before."""

_CRC = struct.Struct("<I")  # of the head

HEAD_BYTES = _HEAD.size + _CRC.size

_RECORD = struct.Struct("<IIQIII")
"""Bytes behind the header, CRC-32 of all that follows it, position, events, when it was written
(seconds since 1970), bytes of marks."""

_CHECKED_FROM = 8


class Torn(Exception):
    """What stands at ``offset`` is no whole record.

    ``complete`` where all its bytes are there, so that it was not just being written.
    """

    def __init__(self, offset: int, *, complete: bool) -> None:
        super().__init__(f"no whole record at byte {offset}")
        self.offset = offset
        self.complete = complete


@frozen
class Record:
    """One record. Its events are those from ``position`` on; ``after`` is the offset behind it."""

    position: int
    events: int
    written: int  # seconds since 1970
    marks: bytes
    payload: bytes
    after: int

    @property
    def end(self) -> int:
        """The position behind its events."""
        return self.position + self.events


@frozen
class Segment:
    """A segment's file and the position it starts from."""

    path: Path
    first: int


def segments(directory: Path) -> list[Segment]:
    """The segments there are, in order."""
    names = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdigit()]
    return sorted((Segment(path, int(path.stem)) for path in names), key=lambda s: s.first)


def segment(directory: Path, first: int) -> Segment:
    """The segment that starts from a position."""
    return Segment(directory / f"{first:020d}{SUFFIX}", first)


def head(journal: UUID, first: int, before: int) -> bytes:
    """What a segment starts with; ``before`` is the position behind the segment before."""
    packed = _HEAD.pack(MAGIC, journal.bytes, first, before)
    return packed + _CRC.pack(zlib.crc32(packed))


def record(position: int, events: int, written: int, marks: bytes, payload: bytes) -> list[bytes]:
    """A record, in parts."""
    checked = _RECORD.pack(0, 0, position, events, written, len(marks))[_CHECKED_FROM:]
    crc = zlib.crc32(payload, zlib.crc32(marks, zlib.crc32(checked)))
    return [struct.pack("<II", len(marks) + len(payload), crc), checked, marks, payload]


def record_bytes(marks: bytes, payload: bytes) -> int:
    """How long a record is."""
    return _RECORD.size + len(marks) + len(payload)


def check_head(file: BinaryIO, journal: UUID) -> int:
    """The position behind the segment before. Torn where this is no segment of the journal."""
    file.seek(0)
    data = file.read(HEAD_BYTES)
    if len(data) < HEAD_BYTES:
        raise Torn(0, complete=False)
    magic, uuid, _, before = _HEAD.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEAD.size)
    if magic != MAGIC or uuid != journal.bytes or crc != zlib.crc32(data[: _HEAD.size]):
        raise Torn(0, complete=True)
    return int(before)


def is_record(data: bytes, at: int) -> bool:
    """Whether a whole record starts there."""
    body = at + _RECORD.size
    if body > len(data):
        return False
    length, crc, _, _, _, marks = _RECORD.unpack_from(data, at)
    if marks > length or body + length > len(data):
        return False
    return bool(zlib.crc32(memoryview(data)[at + _CHECKED_FROM : body + length]) == crc)


def record_at(file: BinaryIO, offset: int) -> Record | None:
    """The record at an offset, None where the file ends there. Torn where it is not whole."""
    size = os.fstat(file.fileno()).st_size
    if offset == size:
        return None
    file.seek(offset)
    header = file.read(_RECORD.size)
    if len(header) < _RECORD.size:
        raise Torn(offset, complete=False)
    length, crc, position, events, written, marks = _RECORD.unpack(header)
    after = offset + _RECORD.size + length
    if after > size:
        raise Torn(offset, complete=length > MAX_RECORD_BYTES)
    body = file.read(length)
    if marks > length or zlib.crc32(body, zlib.crc32(header[_CHECKED_FROM:])) != crc:
        raise Torn(offset, complete=True)
    return Record(position, events, written, body[:marks], body[marks:], after)

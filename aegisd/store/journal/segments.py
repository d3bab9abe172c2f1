"""The journal's files: segments of records, in the order in which they were appended.

A segment is a head (see ``_HEAD``), then records. A record is a header (see ``_RECORD``), its
marks and its payload. The first record of a segment has no events and holds all marks. The file's
name is the position of its first event in 20 digits, so that names sort by position. All integers
are little-endian. tests/store/journal/test_formats.py pins the bytes.
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
CORRUPT = ".corrupt"
"""Added to the name of a file that is set aside."""

MAX_RECORD_BYTES = 256 * 1024 * 1024
"""Far more than a burst takes. A header that says more is damaged."""

_HEAD = struct.Struct("<8s16sQQ")
"""MAGIC, the journal's UUID, the position of the first event, the end of the segment before."""

_CRC = struct.Struct("<I")  # CRC-32 of the head, behind it

HEAD_BYTES = _HEAD.size + _CRC.size

_RECORD = struct.Struct("<IIQIII")
"""Bytes behind the header, CRC-32 of all that follows it, position, events, when it was written
(seconds since 1970), bytes of marks."""

_CHECKED_FROM = 8  # the offset in the header from which the CRC-32 covers everything


class NotWhole(Exception):
    """The bytes at ``offset`` are no whole record (at 0: no whole head). Stays in store.journal.

    ``complete`` says that all its bytes are there and some are wrong. Else it was cut off while it
    was written.
    """

    def __init__(self, offset: int, *, complete: bool) -> None:
        super().__init__(f"no whole record at byte {offset}")
        self.offset = offset
        self.complete = complete


@frozen
class Record:
    """One record: ``events`` events from ``position`` on. ``after`` is the offset behind it."""

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
    """A segment's file and the position of its first event."""

    path: Path
    first: int


# files


def list_segments(directory: Path) -> list[Segment]:
    """The segments in a directory, in order of position."""
    names = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdigit()]
    return sorted((Segment(path, int(path.stem)) for path in names), key=lambda s: s.first)


def segment_named(directory: Path, first: int) -> Segment:
    """The segment whose first event is at ``first``, whether or not its file exists."""
    return Segment(directory / f"{first:020d}{SUFFIX}", first)


def set_aside(path: Path) -> None:
    """Rename a file, so that it is kept and no more read: ``aegisd journal export`` still shows it.

    Raises OSError.
    """
    aside = path.with_suffix(path.suffix + CORRUPT)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_suffix(f"{path.suffix}-{number}{CORRUPT}")
    path.rename(aside)


def sync_directory(directory: Path) -> None:
    """Bring a directory's names to the disk. Raises OSError."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# bytes


def pack_head(journal: UUID, first: int, previous_end: int) -> bytes:
    """A segment's head; ``previous_end`` is the position behind the segment before."""
    packed = _HEAD.pack(MAGIC, journal.bytes, first, previous_end)
    return packed + _CRC.pack(zlib.crc32(packed))


def pack_record(
    position: int, events: int, written: int, marks: bytes, payload: bytes
) -> list[bytes]:
    """A record in parts, to be written one after the other: the payload is not copied."""
    checked = _RECORD.pack(0, 0, position, events, written, len(marks))[_CHECKED_FROM:]
    crc = zlib.crc32(payload, zlib.crc32(marks, zlib.crc32(checked)))
    return [struct.pack("<II", len(marks) + len(payload), crc), checked, marks, payload]


def record_bytes(marks: bytes, payload: bytes) -> int:
    """How many bytes a record takes."""
    return _RECORD.size + len(marks) + len(payload)


def read_head(file: BinaryIO, journal: UUID) -> int:
    """Check a segment's head; return the position behind the segment before.

    Raises NotWhole where the file is no segment of this journal.
    """
    file.seek(0)
    data = file.read(HEAD_BYTES)
    if len(data) < HEAD_BYTES:
        raise NotWhole(0, complete=False)
    magic, uuid, _, previous_end = _HEAD.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEAD.size)
    if magic != MAGIC or uuid != journal.bytes or crc != zlib.crc32(data[: _HEAD.size]):
        raise NotWhole(0, complete=True)
    return int(previous_end)


def read_record(file: BinaryIO, offset: int) -> Record | None:
    """The record at an offset; None where the file ends there. Raises NotWhole."""
    size = os.fstat(file.fileno()).st_size
    if offset == size:
        return None
    file.seek(offset)
    header = file.read(_RECORD.size)
    if len(header) < _RECORD.size:
        raise NotWhole(offset, complete=False)
    length, crc, position, events, written, marks = _RECORD.unpack(header)
    after = offset + _RECORD.size + length
    if after > size:
        raise NotWhole(offset, complete=length > MAX_RECORD_BYTES)
    body = file.read(length)
    if marks > length or zlib.crc32(body, zlib.crc32(header[_CHECKED_FROM:])) != crc:
        raise NotWhole(offset, complete=True)
    return Record(position, events, written, body[:marks], body[marks:], after)


def is_record(data: bytes, at: int) -> bool:
    """Whether a whole record starts at an offset."""
    body = at + _RECORD.size
    if body > len(data):
        return False
    length, crc, _, _, _, marks = _RECORD.unpack_from(data, at)
    if marks > length or body + length > len(data):
        return False
    return bool(zlib.crc32(memoryview(data)[at + _CHECKED_FROM : body + length]) == crc)

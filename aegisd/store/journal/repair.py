"""Inspects and repairs the journal of a stopped daemon.

The whole records of a damaged segment can still be read: behind the damage, the next record is
found by its checksum. A repair writes them to another file, which takes the segment's place, and
keeps the damaged file beside it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from aegisd.errors import AegisdError
from aegisd.store.journal.opening import IDENTITY, lock_journal
from aegisd.store.journal.segments import (
    CORRUPT,
    HEAD_BYTES,
    SUFFIX,
    NotWhole,
    Record,
    is_record,
    list_segments,
    pack_record,
    read_record,
)

DAMAGED = ".damaged"


@frozen
class FileReport:
    """What a segment's file holds."""

    path: Path
    records: int  # with events
    events: int
    first: int | None  # positions
    end: int | None
    written: tuple[int, int] | None  # of the oldest and the newest record, seconds since 1970
    damaged: int  # bytes that belong to no record


def hold_journal(directory: Path) -> None:
    """Keep daemons from the journal until this process ends. Raises AegisdError."""
    if not (directory / IDENTITY).exists():
        raise AegisdError(f"there is no journal in {directory}; set storage.journal")
    lock_journal(directory)


def list_files(directory: Path) -> list[Path]:
    """The segments, and the files that were set aside."""
    own = [segment.path for segment in list_segments(directory)]
    return own + sorted(directory.glob(f"*{SUFFIX}{CORRUPT}"))


def read_file(path: Path) -> tuple[list[Record], int]:
    """The whole records of a file, and how many of its bytes belong to none."""
    records, damaged = [], 0
    for item in _walk(path):
        if isinstance(item, Record):
            records.append(item)
        else:
            damaged += item
    return records, damaged


def inspect_file(path: Path) -> FileReport:
    """What a file holds."""
    records, damaged = read_file(path)
    holding = [record for record in records if record.events]
    return FileReport(
        path,
        len(holding),
        sum(record.events for record in holding),
        holding[0].position if holding else None,
        holding[-1].end if holding else None,
        (holding[0].written, holding[-1].written) if holding else None,
        damaged,
    )


def repair_file(path: Path) -> int:
    """Leave only the whole records in a segment; return how many bytes are cut out."""
    records, damaged = read_file(path)
    if not damaged:
        return 0
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    fresh = path.with_suffix(".mended")
    with fresh.open("wb") as out:
        out.write(head)
        for record in records:
            out.writelines(
                pack_record(
                    record.position, record.events, record.written, record.marks, record.payload
                )
            )
        out.flush()
        os.fsync(out.fileno())
    path.rename(path.with_suffix(path.suffix + DAMAGED))
    fresh.rename(path)
    return damaged


def _walk(path: Path) -> Iterator[Record | int]:
    """Its records, and the lengths of what is none, in order."""
    with path.open("rb") as file:
        offset = HEAD_BYTES
        size = os.fstat(file.fileno()).st_size
        if size < offset:
            yield size
            return
        while True:
            try:
                record = read_record(file, offset)
            except NotWhole:
                next_ = _find_record(file.fileno(), offset + 1, size)
                yield next_ - offset
                offset = next_
                continue
            if record is None:
                return
            yield record
            offset = record.after


def _find_record(file: int, offset: int, size: int) -> int:
    """Where the next whole record starts, from an offset on; ``size`` where there is none."""
    data = os.pread(file, size - offset, offset)
    for at in range(len(data)):
        if is_record(data, at):
            return offset + at
    return size

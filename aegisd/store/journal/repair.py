"""Looks into the journal of a daemon that is stopped, and mends it.

What is whole in a damaged segment can still be read: behind the damage the next record is found by
its checksum. Repairing writes the whole records into a fresh segment, and keeps the damaged one
beside it under another name.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from aegisd.errors import AegisdError
from aegisd.store.journal import segments
from aegisd.store.journal.journal import CORRUPT, IDENTITY, locked
from aegisd.store.journal.segments import Record, Torn

DAMAGED = ".damaged"


@frozen
class Report:
    """What a segment's file holds. ``damaged`` are the bytes that are no record."""

    path: Path
    records: int
    events: int
    first: int | None  # positions
    end: int | None
    written: tuple[int, int] | None  # of the oldest and the newest record, seconds since 1970
    damaged: int


def hold(directory: Path) -> None:
    """Take the journal, until this process ends. Raises AegisdError."""
    if not (directory / IDENTITY).exists():
        raise AegisdError(f"there is no journal in {directory}; set storage.journal")
    locked(directory)


def files(directory: Path) -> list[Path]:
    """The segments, and what was set aside."""
    own = [segment.path for segment in segments.segments(directory)]
    return own + sorted(directory.glob(f"*{segments.SUFFIX}{CORRUPT}"))


def read(path: Path) -> tuple[list[Record], int]:
    """The whole records of a file, and how many of its bytes belong to none."""
    records, damaged = [], 0
    for item in _walk(path):
        if isinstance(item, Record):
            records.append(item)
        else:
            damaged += item
    return records, damaged


def report(path: Path) -> Report:
    """What a file holds."""
    records, damaged = read(path)
    holding = [record for record in records if record.events]
    return Report(
        path,
        len(holding),
        sum(record.events for record in holding),
        holding[0].position if holding else None,
        holding[-1].end if holding else None,
        (holding[0].written, holding[-1].written) if holding else None,
        damaged,
    )


def mend(path: Path) -> int:
    """Leave the whole records of a segment in its place; return how many bytes are cut out."""
    records, damaged = read(path)
    if not damaged:
        return 0
    with path.open("rb") as file:
        head = file.read(segments.HEAD_BYTES)
    fresh = path.with_suffix(".mended")
    with fresh.open("wb") as out:
        out.write(head)
        for record in records:
            out.writelines(
                segments.record(
                    record.position, record.events, record.written, record.marks, record.payload
                )
            )
        out.flush()
        os.fsync(out.fileno())
    path.rename(path.with_suffix(path.suffix + DAMAGED))
    fresh.rename(path)
    return damaged


def _walk(path: Path) -> Iterator[Record | int]:
    """Records, and lengths of what is none."""
    with path.open("rb") as file:
        offset = segments.HEAD_BYTES
        size = os.fstat(file.fileno()).st_size
        if size < offset:
            yield size
            return
        while True:
            try:
                record = segments.record_at(file, offset)
            except Torn:
                skipped = _next_record(file.fileno(), offset + 1, size)
                yield skipped - offset
                offset = skipped
                continue
            if record is None:
                return
            yield record
            offset = record.after


def _next_record(file: int, offset: int, size: int) -> int:
    """Where the next whole record starts, from an offset on; ``size`` where there is none."""
    data = os.pread(file, size - offset, offset)
    for at in range(len(data)):
        if segments.is_record(data, at):
            return offset + at
    return size

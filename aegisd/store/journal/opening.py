"""Opens a journal's directory: takes it for this process, finds whose it is and where it ends.

In this order:

1. ``lock_journal``: one process holds a journal, by flock(2) on the file ``lock``.
2. ``identify``: ``identity.json`` has the journal's UUID and the inode of its directory. A copy of
   the directory has another inode, so it is another journal: the events it holds may be written to
   the database by the journal it was copied from. Its segments are set aside.
3. ``find_end``: the newest segment is read to its end. Cases:

   - Its head or its first record, which holds all marks, is not whole: it is set aside, and the
     segment before it is the newest.
   - A later record is cut short: the machine went down during the write. It is cut off. Nothing in
     it was acknowledged, since it was never synced.
   - A later record has all its bytes and a wrong checksum: it is cut off too, and kept beside.

   Damage in older segments is found when they are read.
"""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID, uuid4

import structlog
from attrs import frozen

from aegisd.errors import AegisdError
from aegisd.store.journal.marks import Marks
from aegisd.store.journal.segments import (
    CORRUPT,
    HEAD_BYTES,
    NotWhole,
    Segment,
    list_segments,
    read_head,
    read_record,
    set_aside,
    sync_directory,
)

POSITIONS_LEFT_OUT = 2**32
"""How many positions a start leaves out, at least: more than the events that the page cache can
have held when the machine went down."""

LOCK, IDENTITY = "lock", "identity.json"

log = structlog.get_logger()


@frozen
class Found:
    """The segments of a journal at its start."""

    segments: list[Segment]
    previous_ends: list[int]  # of each segment: the position behind the one before it
    end: int | None  # the position behind the last record; None where there is no segment


def make_directory(directory: Path) -> None:
    """Make a directory that is still there after a power cut. Raises OSError."""
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in made:
        sync_directory(path.parent)


def lock_journal(directory: Path) -> int:
    """Take the journal for this process; return the lock's file descriptor. Raises AegisdError."""
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace").strip() or "another process"
        os.close(lock)
        raise AegisdError(
            f"the journal in {directory} is in use by process {holder}; stop it, or set"
            " storage.journal to another directory"
        ) from None
    os.truncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def identify(directory: Path) -> UUID:
    """The journal's UUID: a new one where the directory is no journal's, or a copy.

    Raises OSError.
    """
    file = directory / IDENTITY
    inode = directory.stat().st_ino
    try:
        noted = json.loads(file.read_text())
        if noted["inode"] == inode and list_segments(directory):
            return UUID(noted["uuid"])
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError):
        log.error("the journal's identity can't be read; it begins anew", file=str(file))
    _set_aside_foreign(directory)
    made = uuid4()
    fresh = file.with_suffix(".new")
    with fresh.open("w") as written:
        json.dump({"uuid": str(made), "inode": inode}, written)
        written.flush()
        os.fsync(written.fileno())
    fresh.rename(file)
    return made


def _set_aside_foreign(directory: Path) -> None:
    foreign = list_segments(directory)
    for segment in foreign:
        set_aside(segment.path)
    if foreign:
        log.error(
            "the journal was copied here from elsewhere; what it holds is set aside, since it"
            " may be stored from there; 'aegisd journal export' shows it",
            directory=str(directory),
            files=len(foreign),
        )


def find_end(directory: Path, journal: UUID, marks: Marks) -> Found:
    """Find a journal's segments and its end, and load its marks. Raises OSError."""
    segments = list_segments(directory)
    end = None
    while segments and (end := _repair_end(segments[-1], journal, marks)) is None:
        segments.pop()
    pairs = zip(segments, [None, *segments], strict=False)
    return Found(segments, [_previous_end(s, before, journal) for s, before in pairs], end)


def first_position(now_us: int, end: int | None) -> int:
    """Where a journal that ended at ``end`` goes on; ``now_us``: since 1970.

    No position may be given twice, but the end that is found may be too early: after a power cut
    the database may have events that the disk has lost, and a disk may be put back to an earlier
    state. So each start leaves positions out, up to the clock's microsecond and at least
    POSITIONS_LEFT_OUT. That suffices unless there were more events than microseconds.
    """
    return now_us if end is None else max(now_us, end + POSITIONS_LEFT_OUT)


def _previous_end(segment: Segment, before: Segment | None, journal: UUID) -> int:
    """The position behind the segment before one: from its head, else from that segment itself."""
    try:
        with segment.path.open("rb") as file:
            return read_head(file, journal)
    except (NotWhole, OSError):
        pass  # the cursor finds the damage when it comes there
    if before is None:
        return segment.first
    end, offset = before.first, HEAD_BYTES
    with suppress(NotWhole, OSError), before.path.open("rb") as file:
        while (record := read_record(file, offset)) is not None:
            end, offset = record.end, record.after
    return end


def _repair_end(last: Segment, journal: UUID, marks: Marks) -> int | None:
    """Cut off what is not whole at a segment's end, and load its marks; return the position there.

    None where its head or its first record is not whole: then it is set aside.
    """
    with last.path.open("r+b") as file:
        try:
            read_head(file, journal)
        except NotWhole:
            set_aside(last.path)
            return None
        end, offset = last.first, HEAD_BYTES
        try:
            while (record := read_record(file, offset)) is not None:
                end, offset = record.end, record.after
                if record.marks:
                    _load_marks(marks, record.marks)
        except NotWhole as error:
            if offset > HEAD_BYTES:
                _cut_off(last, file, error)
        if offset == HEAD_BYTES:
            set_aside(last.path)
            return None
        os.fsync(file.fileno())  # the next segment's marks count its records as on the disk
    return end


def _load_marks(marks: Marks, data: bytes) -> None:
    try:
        marks.load(data)
    except ValueError as error:  # of another release: the events are good
        log.error("marks of the journal can't be read, resends may count twice", why=str(error))


def _cut_off(last: Segment, file: BinaryIO, damage: NotWhole) -> None:
    """Cut a segment's file off at a record that is not whole."""
    file.seek(damage.offset)
    rest = file.read()
    if damage.complete:
        last.path.with_suffix(last.path.suffix + CORRUPT).write_bytes(rest)
    log.warning(
        "the journal's end was damaged and is set aside"
        if damage.complete
        else "the journal's last record was not written to its end and is cut off",
        file=str(last.path),
        bytes=len(rest),
    )
    file.truncate(damage.offset)
    file.flush()
    os.fsync(file.fileno())

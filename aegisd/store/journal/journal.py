"""The journal on disk: what was accepted, until it is in the database.

Events have positions, their numbers in the journal. Everything is appended, group-synced, read in
order and deleted from the front, a segment at a time. A record that was being written when the
machine went down is cut off at the next start: nothing in it had been acknowledged. A segment that
is damaged anywhere else is read up to there, and set aside under another name where others are
deleted; the journal goes on behind it.

One process holds a journal. Its UUID and the inode of its directory are kept with it: a directory
that was copied, to this host or another, is no longer that journal, since what it holds may be
written by the one it was copied from.
"""

import fcntl
import json
import os
import threading
from contextlib import suppress
from errno import EIO, ENOSPC
from pathlib import Path
from typing import BinaryIO
from uuid import UUID, uuid4

import structlog
from attrs import define

from aegisd.errors import AegisdError
from aegisd.events.units import SECOND_US
from aegisd.store.journal import segments
from aegisd.store.journal.marks import Marks, Source, pack_moved
from aegisd.store.journal.note import Note
from aegisd.store.journal.segments import Segment, Torn

SEGMENT_BYTES = 64 * 1024 * 1024
"""Where a new segment is begun: disk space comes back a segment at a time."""

GAP = 2**32
"""More events than can have been in the page cache when the machine went down."""


LOCK, IDENTITY, CORRUPT, FRESH = "lock", "identity.json", ".corrupt", ".new"

log = structlog.get_logger()


class JournalFull(Exception):
    """The journal is at its bound."""


@define
class JournalFigures:
    """How the journal does."""

    bytes: int = 0
    corrupt_files: int = 0
    lost: int = 0  # events that stood where nothing can be read


class Journal:
    """An open journal. Its methods are for one thread, but ``sync``."""

    def __init__(self, directory: Path, max_bytes: int, now: int) -> None:
        """Open or make the journal in ``directory``; ``now`` is in microseconds since 1970.

        Raises AegisdError.
        """
        self.directory = directory
        self.max_bytes = max_bytes
        self.figures = JournalFigures()
        self.marks = Marks()
        self.end = 0
        """The position behind the last event."""
        self.synced = 0
        """The position up to which all is on disk."""
        self.records_appended = self.records_synced = 0
        """Records that were appended since the start, and how many of them are on disk."""
        self.suspect = False
        """Whether the disk failed to take what was written."""
        self.renewed = 0
        """How often the last segment's file was replaced by another."""
        self._now = 0
        self._file, self._size = -1, 0  # the last segment's
        self._garbage = False  # whether something stands behind its size
        self._synced_size = 0  # what is on the disk of it
        self._unsynced: list[bytes] = []  # what stands behind that: the disk may never take it
        self._segments: list[Segment] = []
        self._before: list[int] = []  # where the segment before each one ended
        self._writing = threading.Lock()  # of the last segment's file, and which file it is
        self._syncing = threading.Lock()  # comes before the other: the kernel tells a fault once
        self._named = False  # whether its name is on the disk
        self._damaged: set[Segment] = set()
        self._full = False  # until something is deleted: else small records would still fit in
        self._written_end = 0  # behind the last record
        self._settled: Segment | None = None  # the newest whose beginning is on the disk
        try:
            _make(directory)
            self._lock = locked(directory)
            self.uuid = self._identity()
            self._note = Note(directory, self.uuid)
            self._open_segments(now)
        except OSError as error:
            raise AegisdError(
                f"can't use the journal in {directory}: {error.strerror}; set storage.journal"
            ) from None

    # writing

    def append(self, events: int, payload: bytes, moved: dict[Source, int], now: int) -> int:
        """Write a record, into the page cache at least; return its position.

        ``moved`` are the marks that it moves, ``now`` is in seconds since 1970. Raises JournalFull
        and OSError; then nothing was written.
        """
        self._now = now
        marks = pack_moved(moved)
        size = segments.record_bytes(marks, payload)
        if self._full or self.figures.bytes + size > self.max_bytes:
            self._full = True
            raise JournalFull
        if self._size >= SEGMENT_BYTES:
            self._roll()
        position = self.end
        self._write(segments.record(position, events, now, marks, payload), size)
        self.marks.move(moved)
        self.end = self._written_end = position + events
        self.records_appended += 1
        return position

    def skip(self, events: int) -> int:
        """Give positions to events that are not in the journal; return the first."""
        position, self.end = self.end, self.end + events
        return position

    def _write(self, parts: list[bytes], size: int) -> None:
        if self._garbage:
            self._renew()
        with self._writing:
            try:
                written = os.writev(self._file, parts)
                if written != size:  # the disk became full
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
            except OSError:
                self._garbage = True
                os.ftruncate(self._file, self._size)
                self._garbage = False
                raise
            self._unsynced += parts
            self._size += size
        self.figures.bytes += size

    def _roll(self) -> None:
        """Begin the next segment.

        The marks at its head tell of all that stands before: so that is on the disk first.
        """
        self._renew()
        with self._syncing:
            try:
                os.fdatasync(self._file)
            except OSError:
                self.suspect = True
                raise
        self._begin_next()

    def _begin_next(self) -> None:
        """Begin the segment behind the last one.

        A segment's name is its first position. Where the last one holds no event, the next would
        have the same name: it leaves a position out, which no event has.
        """
        before = self.end
        self.end = max(before, self._segments[-1].first + 1)
        self._begin(self.end, before)

    def _begin(self, first: int, before: int) -> None:
        """Begin a segment at ``first``; the one before ended at ``before``."""
        made = segments.segment(self.directory, first)
        marks = segments.record(first, 0, self._now, self.marks.pack(), b"")
        head = b"".join([segments.head(self.uuid, first, before), *marks])
        file = os.open(made.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            if os.write(file, head) != len(head):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError:
            os.close(file)
            made.path.unlink()
            raise
        with self._writing:
            if self._file >= 0:
                os.close(self._file)
            self._file, self._size = file, len(head)
            self._unsynced, self._synced_size = [head], 0
            self._named = self._garbage = False
            self._segments.append(made)
            self._before.append(before)
        self.figures.bytes += len(head)

    # syncing

    def sync(self) -> int:
        """Let all that was appended before reach the disk; return the position behind it.

        May run in another thread while this one appends. Raises OSError; what was not written then
        is written anew by the next call.
        """
        with self._syncing:
            self._renew_suspect()
            with self._writing:
                end, appended, file = self.end, self.records_appended, os.dup(self._file)
                last, named = self._segments[-1], self._named
                parts, size = len(self._unsynced), self._size
            try:
                if not named:
                    _sync_directory(self.directory)
                os.fdatasync(file)
            except OSError:
                self.suspect = True
                raise
            finally:
                os.close(file)
            with self._writing:
                if last == self._segments[-1]:
                    self._named = True
                    del self._unsynced[:parts]
                    self._synced_size = size
        self.synced, self.records_synced = max(end, self.synced), max(appended, self.records_synced)
        return end

    def _renew(self) -> None:
        """Replace the last segment's file where it is no good. Raises OSError."""
        with self._syncing:
            self._renew_suspect()

    def _renew_suspect(self) -> None:
        """Write the last segment into another file, which takes its place, where that is due.

        The kernel says once that it could not write, and takes for written from then on what is
        only in its memory, or not even there. What was never on the disk comes from our own.
        """
        if not (self.suspect or self._garbage):
            return
        with self._writing:
            path = self._segments[-1].path
            with path.open("rb") as old:
                data = b"".join([old.read(self._synced_size), *self._unsynced])
            if len(data) != self._size:
                raise OSError(EIO, f"{path.name}: {os.strerror(EIO)}")
            fresh = path.with_suffix(FRESH)
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            try:
                if os.write(file, data) != len(data):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
                os.fdatasync(file)
                fresh.rename(path)
                _sync_directory(self.directory)
            except OSError:
                os.close(file)
                raise
            os.close(self._file)
            self._file = file
            self._unsynced, self._synced_size = [], self._size
            self.suspect = self._garbage = False
            self.renewed += 1

    # reading

    @property
    def committed(self) -> int:
        """Up to where the journal is stored, as far as it knows itself."""
        return max(self.start, self._note.position)

    def events_from(self, position: int) -> int:
        """How many events stand behind ``position``, those that never were on disk included."""
        ends = [*self._before[1:], self.end]
        spans = zip(self._segments, ends, strict=True)
        return sum(max(0, end - max(segment.first, position)) for segment, end in spans)

    @property
    def start(self) -> int:
        """The position from which on there may be events."""
        return self._segments[0].first

    def segment_of(self, position: int) -> Segment | None:
        """The segment that holds the event at ``position``, or else the next one."""
        before = [segment for segment in self._segments if segment.first <= position]
        return before[-1] if before else next(iter(self._segments), None)

    def after(self, segment: Segment) -> Segment | None:
        """The segment behind one."""
        return next((s for s in self._segments if s.first > segment.first), None)

    def leave_out(self, segment: Segment) -> bool:
        """Take note that a segment is damaged; return whether that is news. Raises OSError.

        New records go into another one.
        """
        news = segment not in self._damaged
        if news:
            self._damaged.add(segment)
            self.figures.corrupt_files += 1
        if segment == self._segments[-1]:
            self._begin_next()
        return news

    def trim(self, position: int) -> None:
        """Delete the segments whose events all lie before ``position``: that is stored.

        What can't be deleted now is when the next ones are.
        """
        if position != self._note.position:
            with suppress(OSError):  # the database knows it, too
                self._note.write(position)
        try:
            if self._full and position >= self._written_end and len(self._segments) == 1:
                self._begin_next()
            while len(self._segments) > 1 and self._before[1] <= position:
                self._settle()
                self._delete(self._segments[0])
                del self._segments[0], self._before[0]
                self._full = False
                self.figures.bytes = sum(_size(segment.path) for segment in self._segments)
        except OSError as error:
            log.warning("a file of the journal can't be deleted", why=str(error))

    def _settle(self) -> None:
        """Have the newest segment's beginning on the disk: only it tells the marks from now on."""
        if self._settled != self._segments[-1]:
            with suppress(OSError):  # a disk that is too full for that needs the room
                self.sync()
                self._settled = self._segments[-1]

    def _delete(self, segment: Segment) -> None:
        with suppress(FileNotFoundError):
            if segment in self._damaged:
                _set_aside(segment.path)
            else:
                segment.path.unlink()
        self._damaged.discard(segment)

    def close(self) -> None:
        """Close the files, and let another process have the journal."""
        self._note.close()
        for file in (self._file, self._lock):
            os.close(file)

    # opening

    def _identity(self) -> UUID:
        """The journal's UUID: what is noted, if this is the directory it was noted for."""
        file = self.directory / IDENTITY
        inode = self.directory.stat().st_ino
        try:
            noted = json.loads(file.read_text())
            if noted["inode"] == inode and segments.segments(self.directory):
                return UUID(noted["uuid"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError):
            log.error("the journal's identity can't be read; it begins anew", file=str(file))
        self._leave_foreign()
        made = uuid4()
        fresh = file.with_suffix(".new")
        with fresh.open("w") as written:
            json.dump({"uuid": str(made), "inode": inode}, written)
            written.flush()
            os.fsync(written.fileno())
        fresh.rename(file)
        return made

    def _leave_foreign(self) -> None:
        """Set aside segments of a journal that this is not, or not any more."""
        foreign = segments.segments(self.directory)
        for segment in foreign:
            _set_aside(segment.path)
        if foreign:
            self.figures.corrupt_files += len(foreign)
            log.error(
                "the journal was copied here from elsewhere; what it holds is set aside, since it"
                " may be stored from there; 'aegisd journal export' shows it",
                directory=str(self.directory),
                files=len(foreign),
            )

    def _open_segments(self, now: int) -> None:
        """Find the journal's end, and go on behind it.

        After a power cut the database may be ahead of what the disk has kept, and after the disk
        was put back to an earlier state likewise. So each start leaves a gap, to where the clock
        is: no position is given twice, unless there were more events than microseconds.
        """
        self._segments = segments.segments(self.directory)
        end = None
        while self._segments and (end := self._end_of(self._segments[-1])) is None:
            self._segments.pop()
        self.figures.bytes = sum(s.path.stat().st_size for s in self._segments)
        pairs = zip(self._segments, [None, *self._segments], strict=False)
        self._before = [self._before_of(segment, before) for segment, before in pairs]
        self._now = now // SECOND_US
        self.end = now if end is None else max(now, end + GAP)
        self._written_end = self.end
        self._begin(self.end, self.end if end is None else end)

    def _before_of(self, segment: Segment, before: Segment | None) -> int:
        """Where the segment before one ended."""
        try:
            with segment.path.open("rb") as file:
                return segments.check_head(file, self.uuid)
        except (Torn, OSError):
            pass  # whoever reads it finds the damage
        if before is None:
            return segment.first
        end, offset = before.first, segments.HEAD_BYTES
        with suppress(Torn, OSError), before.path.open("rb") as file:
            while (record := segments.record_at(file, offset)) is not None:
                end, offset = record.end, record.after
        return end

    def _end_of(self, last: Segment) -> int | None:
        """The position behind the last record; None where its beginning is not whole, or not ours.

        Marks are known from a segment's beginning on: without it, the one before tells them.
        """
        with last.path.open("r+b") as file:
            try:
                segments.check_head(file, self.uuid)
            except Torn:
                _set_aside(last.path)
                return None
            end, offset = last.first, segments.HEAD_BYTES
            try:
                while (record := segments.record_at(file, offset)) is not None:
                    end, offset = record.end, record.after
                    if record.marks:
                        self._load_marks(record.marks)
            except Torn as torn:
                if offset > segments.HEAD_BYTES:
                    self._cut(last, file, torn)
            if offset == segments.HEAD_BYTES:
                _set_aside(last.path)
                return None
            os.fsync(file.fileno())  # the next one's marks will tell of it
        return end

    def _load_marks(self, data: bytes) -> None:
        try:
            self.marks.load(data)
        except ValueError as error:  # of another release: the events are good
            log.error("marks of the journal can't be read, resends may count twice", why=str(error))

    def _cut(self, last: Segment, file: BinaryIO, torn: Torn) -> None:
        """Cut off what was being written when the machine went down; keep what looks otherwise."""
        file.seek(torn.offset)
        rest = file.read()
        if torn.complete:
            self.figures.corrupt_files += 1
            last.path.with_suffix(last.path.suffix + CORRUPT).write_bytes(rest)
        log.warning(
            "the journal's end was damaged and is set aside"
            if torn.complete
            else "the journal's last record was not written to its end and is cut off",
            file=str(last.path),
            bytes=len(rest),
        )
        file.truncate(torn.offset)
        file.flush()
        os.fsync(file.fileno())


def locked(directory: Path) -> int:
    """Take the journal for this process; return the lock's file. Raises AegisdError."""
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


def _set_aside(path: Path) -> None:
    aside = path.with_suffix(path.suffix + CORRUPT)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_suffix(f"{path.suffix}-{number}{CORRUPT}")
    path.rename(aside)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # somebody has deleted it


def _make(directory: Path) -> None:
    """Make a directory that is still there after a power cut."""
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in made:
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class JournalUnavailable(Exception):
    """What was to be on disk can't be."""

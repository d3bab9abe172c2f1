"""The segment that is written: appends to it, syncs it, and writes it anew after a disk's failure.

The file is in one of these states, or both torn and suspect:

1. *Whole*: it holds ``size`` bytes. The first ``_synced_size`` of them are on the disk. The others
   are in the page cache, and in ``_unsynced`` too.
2. *Torn*: a write failed, and what it left behind ``size`` could not be cut off. Nothing is
   appended before the file is rewritten.
3. *Suspect*: fdatasync failed, or the sync of the directory. The kernel reports a failed write
   once, marks the pages as clean and may drop them (fsync(2); lwn.net/Articles/752063): the next
   fdatasync would succeed without the data. No record counts as synced before the file is
   rewritten. Appends go on, since ``_unsynced`` keeps what they write.

::

    whole --write and ftruncate fail--> torn ----.
    whole --fdatasync fails----------> suspect --+--rewrite--> whole, in another file

A rewrite takes the synced bytes from the old file and the others from ``_unsynced``, writes and
syncs them as another file, and renames that over the old one.

Invariants:

1. ``_synced_size`` and the lengths of ``_unsynced`` add up to ``size``.
2. The first ``records_synced`` of the ``records_appended`` records since the start are on the disk.
   There is one exception: the journal leaves a damaged segment without syncing it, and its last
   records count as synced with the next segment.
3. No file gets a second fdatasync after one that failed.

Threads: trio's thread appends, begins segments and closes. ``sync`` runs in a thread of its own,
and at times in trio's. Two locks, always taken in this order:

- ``_syncing`` is held around fdatasync and rewrites: of two at a time, one would not be told of a
  failure. Trio's thread waits for it only where it leaves a segment, or rewrites it.
- ``_writing`` is held around a write, a change of which file it is, and a whole rewrite: appends
  wait for that. It is not held during ``sync``'s fdatasync: appends go on meanwhile.

Only trio's thread changes ``segment`` and ``size``, and so reads them without a lock.
"""

import os
import threading
from errno import EIO, ENOSPC

from aegisd.store.journal.segments import Segment, sync_directory

REWRITTEN = ".new"


class SegmentWriter:
    """The newest segment of a journal, open for writing."""

    def __init__(self, segment: Segment, head: bytes) -> None:
        """Make the segment's file, with its head. Raises OSError."""
        self._syncing = threading.Lock()
        self._writing = threading.Lock()
        self.records_appended = self.records_synced = 0
        """Records since the start, in whatever segment, and how many of them are on the disk."""
        self.suspect = False
        self.rewrites = 0
        """How often the file was replaced by another: then a reader opens it again."""
        self._file = _create(segment, head)
        self._enter(segment, head)

    def _enter(self, segment: Segment, head: bytes) -> None:
        self.segment = segment
        self.size = len(head)
        self._unsynced = [head]
        self._synced_size = 0
        self._torn = False
        self._name_synced = False  # whether the directory's entry is on the disk

    def begin(self, segment: Segment, head: bytes) -> None:
        """Leave the segment for the next one. Raises OSError; then nothing has changed."""
        file = _create(segment, head)
        with self._writing:
            os.close(self._file)
            self._file = file
            self._enter(segment, head)

    def append(self, parts: list[bytes], size: int) -> None:
        """Write a record of ``size`` bytes, into the page cache at least.

        Raises OSError; then nothing of it is in the segment.
        """
        if self._torn:
            with self._syncing:
                self._rewrite_unless_whole()
        with self._writing:
            try:
                written = os.writev(self._file, parts)
                if written != size:  # the disk became full
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
            except OSError:
                self._torn = True  # it stays so where the next line raises
                os.ftruncate(self._file, self.size)
                self._torn = False
                raise
            self._unsynced += parts
            self.size += size
            self.records_appended += 1

    def sync(self) -> None:
        """Bring all records that were appended before to the disk.

        Raises OSError; then the next call rewrites the file.
        """
        with self._syncing:
            self._rewrite_unless_whole()
            with self._writing:
                segment, appended, file = self.segment, self.records_appended, os.dup(self._file)
                parts, size, name_synced = len(self._unsynced), self.size, self._name_synced
            try:
                if not name_synced:
                    sync_directory(segment.path.parent)
                os.fdatasync(file)
            except OSError:
                self.suspect = True
                raise
            finally:
                os.close(file)
            with self._writing:
                if segment == self.segment:
                    self._name_synced = True
                    del self._unsynced[:parts]
                    self._synced_size = size
            self.records_synced = max(appended, self.records_synced)

    @property
    def needs_sync(self) -> bool:
        """Whether ``sync`` has something to do."""
        return self.suspect or self.records_synced < self.records_appended

    def finish(self) -> None:
        """Bring the segment to the disk, before ``begin`` leaves it. Raises OSError."""
        with self._syncing:
            self._rewrite_unless_whole()
            try:
                os.fdatasync(self._file)
            except OSError:
                self.suspect = True
                raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _rewrite_unless_whole(self) -> None:
        """Put another file in the place of one that is torn or suspect.

        The caller holds ``_syncing``. Raises OSError.
        """
        if not (self.suspect or self._torn):
            return
        with self._writing:
            path = self.segment.path
            with path.open("rb") as old:
                data = b"".join([old.read(self._synced_size), *self._unsynced])
            if len(data) != self.size:
                raise OSError(EIO, f"{path.name}: {os.strerror(EIO)}")
            fresh = path.with_suffix(REWRITTEN)
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            try:
                if os.write(file, data) != len(data):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
                os.fdatasync(file)
                fresh.rename(path)
                sync_directory(path.parent)
            except OSError:
                os.close(file)
                raise
            os.close(self._file)
            self._file = file
            self._unsynced, self._synced_size = [], self.size
            self.suspect = self._torn = False
            self.rewrites += 1


def _create(segment: Segment, head: bytes) -> int:
    """Make a segment's file; return its descriptor. Raises OSError; then there is no file."""
    file = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        if os.write(file, head) != len(head):
            raise OSError(ENOSPC, os.strerror(ENOSPC))
    except OSError:
        os.close(file)
        segment.path.unlink()
        raise
    return file

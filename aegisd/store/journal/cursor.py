"""Reads a journal's records one after the other, for the database.

A cursor has at most one segment's file open. What it does where reading fails:

1. A record is not whole, or the disk has a bad block (EIO): the rest of the segment is left out,
   the segment is marked as damaged, and reading goes on in the next one.
2. A segment's file is gone: the same.
3. Any other OSError, such as too many open files: raised. A later try may succeed.

So one bad file never keeps the events behind it from the database.
"""

from contextlib import suppress
from errno import EIO
from typing import BinaryIO

import structlog
from attrs import define

from aegisd.store.journal.journal import Journal
from aegisd.store.journal.segments import (
    HEAD_BYTES,
    NotWhole,
    Record,
    Segment,
    read_head,
    read_record,
)

log = structlog.get_logger()


@define
class _Open:
    """A segment's file, and where its next record starts."""

    segment: Segment
    file: BinaryIO
    rewrites: int  # the journal's count when the file was opened
    offset: int = HEAD_BYTES


class Cursor:
    """A place in a journal. ``position`` is behind the last record that was read."""

    def __init__(self, journal: Journal, position: int) -> None:
        self.position = position
        self._journal = journal
        self._open: _Open | None = None

    def next(self) -> Record | None:
        """The next record that has events; None at the journal's end.

        Raises OSError where a file can't be read now, but may be later.
        """
        while self.position < self._journal.end:
            opened = self._open
            if opened is None:
                opened = self._open_first(self._journal.segment_at(self.position))
                if opened is None:
                    return None
            if opened.rewrites != self._journal.rewrites:
                self._reopen(opened)
            record = self._read(opened)
            if record is None:
                if self._open_first(self._journal.segment_after(opened.segment)) is None:
                    return None
            elif record.events and record.end > self.position:
                self.position = record.end
                return record
        return None

    def seek(self, position: int) -> None:
        """Go on from ``position``, which is not before where this is."""
        self.position = max(self.position, position)
        if self._open is not None and self._open.segment != self._journal.segment_at(self.position):
            self.close()

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open.file.close()
        self._open = None

    def _read(self, opened: _Open) -> Record | None:
        """The next record of a segment; None at its end, or where it is damaged."""
        try:
            if opened.offset == HEAD_BYTES:
                read_head(opened.file, self._journal.uuid)
            record = read_record(opened.file, opened.offset)
        except (NotWhole, OSError) as error:
            if isinstance(error, OSError) and error.errno != EIO:
                raise
            self._leave_out(opened.segment, error)
            return None
        if record is not None:
            opened.offset = record.after
        return record

    def _open_first(self, segment: Segment | None) -> _Open | None:
        """Open this segment, or the first one behind it that has a file; None where none has.

        Then the file that was open stays open: records may still be appended to it.
        """
        while segment is not None:
            try:
                file = segment.path.open("rb")
            except FileNotFoundError as error:
                self._leave_out(segment, error)
                segment = self._journal.segment_after(segment)
                continue
            self.close()
            self._open = _Open(segment, file, self._journal.rewrites)
            return self._open
        return None

    def _reopen(self, opened: _Open) -> None:
        """Read on in the file that may have replaced the one that is open. Raises OSError."""
        rewrites = self._journal.rewrites
        with suppress(FileNotFoundError):  # it was deleted: the one that is open can still be read
            file = opened.segment.path.open("rb")
            opened.file.close()
            opened.file = file
        opened.rewrites = rewrites

    def _leave_out(self, segment: Segment, error: Exception) -> None:
        if self._journal.mark_damaged(segment):
            log.error(
                "a file of the journal is damaged, what stands behind the damage can't be read",
                file=segment.path.name,
                why=str(error),
            )

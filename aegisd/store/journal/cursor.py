"""Reads a journal's records one after the other, for the database.

What can't be read is left out: whatever happened to a file, the events behind it still get where
they belong.
"""

from contextlib import suppress
from errno import EIO
from typing import BinaryIO

import structlog
from attrs import define

from aegisd.store.journal import segments
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.segments import Record, Segment, Torn

log = structlog.get_logger()


@define
class _Open:
    """A segment's file, and where its next record stands."""

    segment: Segment
    file: BinaryIO
    renewed: int  # how often the journal had replaced its last file
    offset: int = segments.HEAD_BYTES


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
            if opened is None and (opened := self._opened(None)) is None:
                return None
            if opened.renewed != self._journal.renewed:
                self._renew(opened)
            record = self._record(opened)
            if record is None:
                if self._opened(opened.segment) is None:
                    return None
            elif record.events and record.end > self.position:
                self.position = record.end
                return record
        return None

    def _record(self, opened: _Open) -> Record | None:
        """The next record of a segment; None at its end, or where it is damaged."""
        try:
            if opened.offset == segments.HEAD_BYTES:
                segments.check_head(opened.file, self._journal.uuid)
            record = segments.record_at(opened.file, opened.offset)
        except (Torn, OSError) as error:
            if isinstance(error, OSError) and error.errno != EIO:
                raise
            self._leave_out(opened.segment, error)
            return None
        if record is not None:
            opened.offset = record.after
        return record

    def seek(self, position: int) -> None:
        """Go on from ``position``, which is not before where this is."""
        self.position = max(self.position, position)
        if self._open is not None and self._open.segment != self._journal.segment_of(self.position):
            self.close()

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open.file.close()
        self._open = None

    def _opened(self, behind: Segment | None) -> _Open | None:
        """Open the segment behind one, or else the one of the position; None where there is none.

        What is open stays so where nothing is behind it.
        """
        journal = self._journal
        segment = journal.segment_of(self.position) if behind is None else journal.after(behind)
        while segment is not None:
            try:
                file = segment.path.open("rb")
            except FileNotFoundError as error:
                self._leave_out(segment, error)
                segment = journal.after(segment)
                continue
            self.close()
            self._open = _Open(segment, file, journal.renewed)
            return self._open
        return None

    def _renew(self, opened: _Open) -> None:
        """Read on in the file that took the place of the one that is open. Raises OSError."""
        renewed = self._journal.renewed
        with suppress(FileNotFoundError):  # somebody deletes files: what is open can be read
            file = opened.segment.path.open("rb")
            opened.file.close()
            opened.file = file
        opened.renewed = renewed

    def _leave_out(self, segment: Segment, error: Exception) -> None:
        if self._journal.leave_out(segment):
            log.error(
                "a file of the journal is damaged, what stands behind the damage can't be read",
                file=segment.path.name,
                why=str(error),
            )

"""The file ``stored``: the journal's own note of the committed position.

The database has the committed position too, and is asked first. Where its row is gone (an operator
may take the table ``journals`` for anything), the journal goes on from the note, and no event is
written twice.
"""

import os
import struct
import zlib
from pathlib import Path
from uuid import UUID

NAME = "stored"

_NOTE = struct.Struct("<16sQ")  # the journal's UUID, the position
_CRC = struct.Struct("<I")  # CRC-32 of both


class Note:
    """A file of 28 bytes, written in place after each commit.

    It is not synced: after a power cut it tells of an earlier commit, or of none.
    """

    def __init__(self, directory: Path, journal: UUID) -> None:
        """Open or make it. Raises OSError."""
        self._journal = journal
        self._file = os.open(directory / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        data = os.pread(self._file, _NOTE.size + _CRC.size, 0)
        self.position = 0
        """The committed position."""
        if data == self._packed(int.from_bytes(data[16:24], "little")):
            self.position = int.from_bytes(data[16:24], "little")
        else:
            self.write(0)  # takes the file's block now: later the disk may be full

    def write(self, position: int) -> None:
        """Note the committed position. Raises OSError."""
        self.position = position
        os.pwrite(self._file, self._packed(position), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _packed(self, position: int) -> bytes:
        data = _NOTE.pack(self._journal.bytes, position)
        return data + _CRC.pack(zlib.crc32(data))

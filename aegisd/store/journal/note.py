"""The journal's own note of how far it is stored.

The database has the position, and is asked first. Where its row is gone (``journals`` is a name
that an operator may take for anything) the journal goes on from here, and stores nothing twice.
"""

import os
import struct
import zlib
from pathlib import Path
from uuid import UUID

NAME = "stored"

_NOTE = struct.Struct("<16sQ")  # the journal, the position
_CRC = struct.Struct("<I")


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
        """Up to where the journal was stored, at the least."""
        if data == self._packed(int.from_bytes(data[16:24], "little")):
            self.position = int.from_bytes(data[16:24], "little")
        else:
            self.write(0)  # so that there is room for it, also when the disk is full

    def write(self, position: int) -> None:
        """Take note of a commit. Raises OSError."""
        self.position = position
        os.pwrite(self._file, self._packed(position), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _packed(self, position: int) -> bytes:
        data = _NOTE.pack(self._journal.bytes, position)
        return data + _CRC.pack(zlib.crc32(data))

"""The journal: accepted events on disk, until they are in the database. Knows no Postgres.

``Journal`` appends records, ``Sync`` brings them to the disk, ``Cursor`` reads them. A payload is
blocks as bytes. ``hold_journal`` and the functions on files are for a stopped daemon's journal.
"""

from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.journal import Journal, JournalFull, JournalUnavailable
from aegisd.store.journal.marks import Marks, SourceKey
from aegisd.store.journal.payload import join_packed, pack_block, pack_blocks, unpack_blocks
from aegisd.store.journal.repair import (
    hold_journal,
    inspect_file,
    list_files,
    read_file,
    repair_file,
)
from aegisd.store.journal.sync_schedule import Sync

__all__ = [
    "Cursor",
    "Journal",
    "JournalFull",
    "JournalUnavailable",
    "Marks",
    "SourceKey",
    "Sync",
    "hold_journal",
    "inspect_file",
    "join_packed",
    "list_files",
    "pack_block",
    "pack_blocks",
    "read_file",
    "repair_file",
    "unpack_blocks",
]

"""The journal on disk: what was accepted, until it is in the database. Knows no Postgres."""

from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.journal import Journal, JournalFull, JournalUnavailable
from aegisd.store.journal.marks import Marks, Source
from aegisd.store.journal.payload import pack_block
from aegisd.store.journal.payload import unpack as unpack_blocks
from aegisd.store.journal.repair import files as journal_files
from aegisd.store.journal.repair import hold as lock_journal
from aegisd.store.journal.repair import mend as mend_segment
from aegisd.store.journal.repair import read as read_file
from aegisd.store.journal.repair import report as report_file
from aegisd.store.journal.sync import Sync

__all__ = [
    "Cursor",
    "Journal",
    "JournalFull",
    "JournalUnavailable",
    "Marks",
    "Source",
    "Sync",
    "journal_files",
    "lock_journal",
    "mend_segment",
    "pack_block",
    "read_file",
    "report_file",
    "unpack_blocks",
]

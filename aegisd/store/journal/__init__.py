"""The journal on disk: what was accepted, until it is in the database. Knows no Postgres."""

from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.journal import Journal, JournalFull, JournalUnavailable
from aegisd.store.journal.marks import Marks, Source
from aegisd.store.journal.payload import pack_block
from aegisd.store.journal.sync import Sync

__all__ = [
    "Cursor",
    "Journal",
    "JournalFull",
    "JournalUnavailable",
    "Marks",
    "Source",
    "Sync",
    "pack_block",
]

"""The way of what was accepted to the database: backlog and journal, sync, writer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from aegisd.config.directories import Directories
from aegisd.config.settings import Settings
from aegisd.events.block import Block
from aegisd.store.backlog import Backlog
from aegisd.store.database import Postgres
from aegisd.store.journal import Journal, Marks, Source, Sync, payload
from aegisd.store.write import Writer


@frozen
class Storage:
    """The parts, and the one door into them."""

    journal: Journal
    backlog: Backlog
    sync: Sync
    writer: Writer
    enabled: bool

    @property
    def marks(self) -> Marks:
        """How far the stream's sources have come."""
        return self.journal.marks

    def append_durably(
        self, blocks: list[Block], packed: list[bytes], moved: dict[Source, int]
    ) -> int:
        """Keep what came together, with the marks it moves; return the record's number.

        ``packed`` is what ``payload.pack_block`` makes of each block. ``sync.reached`` waits for
        the record. Raises JournalUnavailable.
        """
        if not self.enabled:
            blocks, packed = [], []
        number = self.backlog.append_durably(blocks, payload.joined(packed), moved)
        self.sync.notice()
        self.writer.notice()
        return number

    def append(self, blocks: list[Block]) -> None:
        """Keep what came together, until it is in the database."""
        if self.enabled:
            self.backlog.append(blocks)
            self.sync.notice()
            self.writer.notice()

    def close(self) -> None:
        """Close the journal's files, and let another process have it."""
        self.backlog.close()
        self.journal.close()


@contextmanager
def open_storage(
    settings: Settings,
    directories: Directories,
    postgres: Postgres,
    node: str,
    clocks: Callable[[], tuple[float, float]],
) -> Iterator[Storage]:
    """The storage, on a journal that no other process holds; closed at the end.

    Raises AegisdError.
    """
    directory = Path(directories.expand(settings.storage.journal))
    journal = Journal(directory, settings.storage.journal_max_bytes, time.time_ns() // 1000)
    backlog = Backlog(journal, time.time)
    storage = Storage(
        journal,
        backlog,
        Sync(journal, settings.storage.journal_sync_ms / 1000),
        Writer(postgres, backlog, settings.metrics, node, clocks),
        settings.metrics.enabled,
    )
    try:
        yield storage
    finally:
        storage.close()

"""Storage takes accepted events to the database.

::

    append --> Backlog --> Journal --> disk      Sync brings the journal to the disk
                  |
                  '------> Writer ---> Postgres  in batches, which the backlog then forgets

The intake appends, waits for ``sync`` and looks at ``marks``. The daemon runs ``sync`` and
``writer``. History looks at ``backlog``. All others only read ``figures``.
"""

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
from aegisd.store.journal import Journal, Marks, SourceKey, Sync, join_packed
from aegisd.store.write import Writer


@frozen
class StorageFigures:
    """Storage's figures. Times are in seconds since 1970."""

    waiting: int  # events in the backlog
    journal_bytes: int
    no_room: int  # events dropped because neither the journal nor memory had room
    lost_with_files: int  # events in files of the journal that can't be read
    append_error: str | None  # why the journal can't be written now
    sync_error: str | None  # why the journal can't be synced now
    connected: bool  # whether the database can be used
    batches: int  # committed
    rows: int  # committed
    failures: int  # of flushes
    refused: int  # events whose rows Postgres would not take
    sampled_out: int  # requests whose rows sampling left out
    last_flush: float | None
    last_error: str | None  # of the database; may name addresses, roles and paths
    last_error_kind: str | None  # what of that error anybody may see

    @property
    def dropped(self) -> int:
        """Events that were accepted, and are lost before they reached the database."""
        return self.no_room + self.lost_with_files


@frozen
class Storage:
    """The parts. With ``enabled`` off, no event is kept, and marks still move."""

    journal: Journal
    backlog: Backlog
    sync: Sync
    writer: Writer
    enabled: bool

    @property
    def marks(self) -> Marks:
        """The marks of the stream's sources."""
        return self.journal.marks

    def append(self, blocks: list[Block]) -> None:
        """Keep blocks until they are committed; where there is no room, count and drop them."""
        if self.enabled:
            self.backlog.append(blocks)
            self.sync.notice()
            self.writer.notice()

    def append_with_marks(
        self, blocks: list[Block], packed: list[bytes], moved: dict[SourceKey, int]
    ) -> int:
        """Keep blocks, with the marks that they move; return their record's number.

        ``packed`` is what ``pack_block`` makes of each block. They are on the disk after
        ``sync.wait_until_synced(number)``. Raises JournalUnavailable; then nothing is kept.
        """
        if not self.enabled:
            blocks, packed = [], []
        number = self.backlog.append_with_marks(blocks, join_packed(packed), moved)
        self.sync.notice()
        self.writer.notice()
        return number

    def figures(self) -> StorageFigures:
        """A snapshot; reads no file."""
        backlog, written = self.backlog, self.writer.figures
        return StorageFigures(
            waiting=backlog.events,
            journal_bytes=self.journal.bytes,
            no_room=backlog.figures.no_room,
            lost_with_files=backlog.figures.lost_with_files,
            append_error=backlog.figures.error,
            sync_error=self.sync.error,
            connected=written.connected,
            batches=written.batches,
            rows=written.rows,
            failures=written.failures,
            refused=written.refused,
            sampled_out=written.sampled_out,
            last_flush=written.last_flush,
            last_error=written.last_error,
            last_error_kind=written.last_error_kind,
        )

    def load_oldest(self) -> int | None:
        """When the first event that waits came, in seconds since 1970; None where none waits.

        May read a record of the journal; so it is not in ``figures``.
        """
        return self.backlog.load_oldest()

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
    """Storage over the configured journal; closed at the end.

    Raises AegisdError, such as where another process holds the journal.
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

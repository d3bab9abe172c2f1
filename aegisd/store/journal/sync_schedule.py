"""Syncs the journal: every few milliseconds by itself, at once where somebody waits for it.

All records that are appended while a sync runs share the next one. So the disk's rate bounds the
syncs in a second, not the messages.

A sync that fails is logged once, and told as ``error`` until one succeeds. A task that waits for it
gets JournalUnavailable. The next sync follows within ``seconds``, and first writes the segment anew
into another file (see ``segment_writer``). Events are lost only if the daemon ends before that.
"""

import structlog
import trio

from aegisd.store.journal.journal import Journal, JournalUnavailable
from aegisd.threads import in_thread

log = structlog.get_logger()


class Sync:
    """The task that syncs a journal, at the latest ``seconds`` after something was appended."""

    def __init__(self, journal: Journal, seconds: float) -> None:
        self._journal = journal
        self._seconds = seconds
        self._appended = trio.Event()
        self._waited_for = trio.Event()
        self._ended = trio.Event()  # of the sync that runs, or else of the next one
        self.error: str | None = None
        """Why the last sync failed; None where it did not."""

    async def run(self) -> None:
        """Sync until cancelled."""
        while True:
            await self._appended.wait()
            with trio.move_on_after(self._seconds):
                await self._waited_for.wait()
            self._appended, self._waited_for = trio.Event(), trio.Event()
            await self.once()
            if self._journal.needs_sync:
                self._appended.set()

    def notice(self) -> None:
        """Something was appended."""
        self._appended.set()

    async def once(self) -> None:
        """Sync what is appended now."""
        try:
            await in_thread(self._journal.sync)
        except OSError as error:
            if self.error is None:
                log.error("the journal can't be brought to the disk", why=str(error))
            self.error = str(error)
        else:
            if self.error is not None:
                log.info("the journal is brought to the disk again")
            self.error = None
        self._ended.set()
        self._ended = trio.Event()

    async def wait_until_synced(self, record: int) -> None:
        """Wait until so many records are on the disk. Raises JournalUnavailable."""
        while self._journal.records_synced < record:
            ended = self._ended
            self._waited_for.set()
            await ended.wait()
            if self.error is not None:
                raise JournalUnavailable

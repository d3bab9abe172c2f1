"""Brings the journal to the disk: every few moments by itself, at once when somebody waits.

Whoever comes while the disk is busy is served by the next round, together with all others: so
the disk's rate bounds the rounds, not the messages.
"""

import structlog
import trio

from aegisd.store.journal.journal import Journal, JournalUnavailable
from aegisd.threads import in_thread

log = structlog.get_logger()


class Sync:
    """The task that syncs a journal, every ``seconds`` at the latest."""

    def __init__(self, journal: Journal, seconds: float) -> None:
        self._journal = journal
        self._seconds = seconds
        self._appended = trio.Event()
        self._wanted = trio.Event()
        self._round = trio.Event()
        self.error: str | None = None
        """Why the last round failed."""

    async def run(self) -> None:
        """Sync until cancelled."""
        while True:
            await self._appended.wait()
            with trio.move_on_after(self._seconds):
                await self._wanted.wait()
            self._appended, self._wanted = trio.Event(), trio.Event()
            await self.once()
            if (
                self._journal.records_synced < self._journal.records_appended
                or self._journal.suspect
            ):
                self._appended.set()

    def notice(self) -> None:
        """Something was appended."""
        self._appended.set()

    async def once(self) -> None:
        """Sync what is there now."""
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
        self._round.set()
        self._round = trio.Event()

    async def reached(self, record: int) -> None:
        """Wait until so many records are on the disk. Raises JournalUnavailable."""
        while self._journal.records_synced < record:
            round_ = self._round
            self._wanted.set()
            await round_.wait()
            if self.error is not None:
                raise JournalUnavailable

"""Limits how many queries of a kind run at the database at a time, and how many wait for that."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from aegisd.errors import DatabaseUnavailable


class Busy(DatabaseUnavailable):
    """Too many want the same now; within ``seconds`` a place is free again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(f"{message}; ask again later")
        self.seconds = math.ceil(seconds)


class ConcurrencyLimit:
    """``count`` places for ``what``; of those who find none free, ``queue`` may wait, None is all.

    Whoever is cancelled leaves at once.
    """

    def __init__(self, what: str, count: int, queue: int | None = None) -> None:
        self._what = what
        self._queue = queue
        self._limiter = trio.CapacityLimiter(count)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._limiter.statistics().tasks_waiting

    @asynccontextmanager
    async def taken(self, seconds: float) -> AsyncIterator[None]:
        """A place; who waits for one has no more time than who has one. Raises Busy."""
        running = f"{self._what}: {self._limiter.borrowed_tokens} running"
        full = self._queue is not None and self.waiting >= self._queue
        if full and not self._limiter.available_tokens:
            raise Busy(f"{running} and {self.waiting} waiting", seconds)
        try:
            with trio.fail_after(seconds):
                await self._limiter.acquire()
        except trio.TooSlowError:
            raise Busy(f"{running}, none ended within {seconds} s", seconds) from None
        try:
            yield
        finally:
            self._limiter.release()

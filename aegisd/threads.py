"""Runs blocking work in a thread, without trio's shared limit.

trio runs at most 40 threads for the whole process. Forty waits of one kind, such as for mail
servers, would then block all other kinds, even the sync of the journal. So no work of ours takes
one of those 40 places; trio's own name look-ups and file reads keep them.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """Run ``work`` in a thread at once, and return its result.

    The caller waits for the end, even when cancelled. So there are at most as many threads as
    tasks that call this: one that reads the Unix datagram socket, one that syncs the journal, one
    that writes, one that prepares the embedded Postgres, eight that deliver alerts.
    """
    limiter = trio.CapacityLimiter(1)
    return await trio.to_thread.run_sync(work, *args, limiter=limiter)  # noqa: TID251 # the one use

"""Work that blocks, in threads.

Left to itself trio has 40 threads for all that a process does: forty waits of one kind, for mail
servers say, would hold up every other kind, also the journal's way to the disk. So nothing here
takes one of those forty. They are left to trio's own look-ups of names and reading of files.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """What ``work`` gives, from a thread that is waiting for nobody else's to end.

    Its caller waits for its end, also when cancelled. So there are never more of a kind than there
    are tasks of that kind: one that syncs, one that writes, a few that tell of alerts.
    """
    limiter = trio.CapacityLimiter(1)
    return await trio.to_thread.run_sync(work, *args, limiter=limiter)  # noqa: TID251 # the one

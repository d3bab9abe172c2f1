"""aegisd that writes no journal, for comparison: events get positions and wait in memory only."""

import sys

from aegisd.cli import main
from aegisd.store.backlog import backlog
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.marks import SourceKey

UNBOUNDED = 2**62


def append(
    self: Journal, events: int, payload: bytes, moved: dict[SourceKey, int], now: int
) -> int:
    """In place of ``Journal.append``."""
    del payload
    self.marks.move(moved)
    return self.skip(events)


if __name__ == "__main__":
    Journal.append = append  # type: ignore[method-assign]
    backlog.MAX_BUFFERED_BYTES = UNBOUNDED
    sys.exit(main())

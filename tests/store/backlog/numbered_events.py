"""Events with a number each, in their paths."""

from store.databases import block

from aegisd.events.block import Block
from aegisd.store.backlog.buffered import Batch


def numbered(first: int, count: int) -> Block:
    """Requests with the paths ``/first``, ``/first + 1`` and so on."""
    return block("request", [{"path": f"/{number}"} for number in range(first, first + count)])


def numbers(batch: Batch | None) -> list[int]:
    """The numbers of a batch's events."""
    if batch is None:
        return []
    return [int(str(path)[1:]) for _, each in batch.blocks for path in each.texts["path"].rows()]

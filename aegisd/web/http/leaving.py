"""Ends the work for a client that has closed its connection: its place is for others."""

import select
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

LOOK_SECONDS = 1.0
"""Between two looks. Most answers take less and cost no look; those also reach a client that shut
down its sending side after the request, which cannot be told from one that left."""

T = TypeVar("T")


async def cancel_when_peer_leaves(socket: trio.SocketStream, work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of ``work``; cancel it where the peer ends the connection first.

    Raises BrokenResourceError then.
    """
    failure: Exception = trio.BrokenResourceError("the peer has left")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_gone, socket, nursery.cancel_scope)
        try:
            return await work()
        except Exception as error:  # raised after the nursery, which would put it into a group
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    raise failure


async def _cancel_when_gone(socket: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Poll for the peer's end: reading would first give bytes that it sent before."""
    look = select.poll()
    look.register(socket.socket.fileno(), select.POLLRDHUP)
    while True:
        await trio.sleep(LOOK_SECONDS)
        if look.poll(0):
            scope.cancel()

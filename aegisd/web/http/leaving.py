"""Ends the work for a client who has left: it may hold a place that others wait for."""

import select
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

LOOK_SECONDS = 1.0
"""Most answers take less and cost no look; who ends its own side behind its request has those."""

T = TypeVar("T")


async def while_there(socket: trio.SocketStream, work: Callable[[], Awaitable[T]]) -> T:
    """What ``work`` gives. Where the peer ends the connection first, cancels it.

    Raises BrokenResourceError then.
    """
    failure: Exception = trio.BrokenResourceError("the peer has left")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_gone, socket, nursery.cancel_scope)
        try:
            return await work()
        except Exception as error:  # raised behind the nursery, which would put it into a group
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    raise failure


async def _cancel_when_gone(socket: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Look now and then: what the peer has sent already may stand before its end."""
    look = select.poll()
    look.register(socket.socket.fileno(), select.POLLRDHUP)
    while True:
        await trio.sleep(LOOK_SECONDS)
        if look.poll(0):
            scope.cancel()

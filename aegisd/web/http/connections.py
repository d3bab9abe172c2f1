"""Which connections are open, which one gives way, and how many requests are answered at once.

States of a connection: it *waits* (idle, or its request's head is being read), or it *holds a
place* (its request was found good and is being answered). A health check is answered without a
place. A connection that became a WebSocket is none of these any more: the hub has limits for those.

Rules:

1. Every new connection is taken.
2. There are at most ``limit`` connections, and ``ADDRESS_SHARE`` of them for one address. Where a
   new one passes the address' limit, the address' connection that has waited longest is ended.
   Else, where it passes ``limit``, the one of all that has waited longest is ended.
3. A connection that holds a place is never ended.
4. At most ``PLACES_SHARE`` of either limit hold a place; a request beyond is refused (429, 503).
   So at least one connection waits wherever a limit is reached, and rule 2 finds one to end.
5. A trusted proxy's connections are those of many clients, in turn. They count for no address while
   they wait; one that holds a place counts for the client that asked.

What follows: idle connections, slow heads and bodies, and answers that nobody reads cost only the
address that has them. An address cannot end another address' connections by rule 2 while it is
below its own limit. Against many addresses, or one that health checks share (loopback, a proxy), a
check has the time in which others connect hundreds of times more, as the newest ends last. No list
of hostile addresses and no timeout is needed.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import trio
from attrs import define, field

from aegisd.web.http.addresses import network_of
from aegisd.web.http.message import HttpError

MAX_CONNECTIONS = 500
"""In all. Each may hold two chunks of 16 KiB that it has sent, and as much of its answers."""

ADDRESS_SHARE = 0.4
"""Of the connections, for one address: three addresses reach the limit, and a proxy has many."""

PLACES_SHARE = 0.8
"""Of either limit, the connections that may hold a place. The rest is for new connections."""


@define(eq=False)
class Connection:
    """One connection; cancelling its scope ends it."""

    network: str | None  # what its address counts as; None for a trusted proxy, whose clients count
    scope: trio.CancelScope = field(factory=trio.CancelScope)


class Connections:
    """All open connections, ``limit`` at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._address_limit = max(1, int(limit * ADDRESS_SHARE))
        self._places = int(limit * PLACES_SHARE)
        self._address_places = int(self._address_limit * PLACES_SHARE)
        self._waiting: dict[Connection, None] = {}  # the one that has waited longest is first
        self._placed: dict[Connection, str] = {}  # and the network of the client that asked
        self.refused: Counter[str] = Counter()
        """Requests that were refused, by their error's code; and ``gave_way``: connections."""

    @property
    def waiting(self) -> int:
        """How many connections wait."""
        return len(self._waiting)

    @property
    def placed(self) -> int:
        """How many connections hold a place."""
        return len(self._placed)

    @contextmanager
    def joined(self, address: str, *, proxy: bool = False) -> Iterator[Connection]:
        """Add a connection from this address for as long as the block lasts.

        ``proxy`` is a trusted one: only its clients' requests are limited by address.
        """
        connection = Connection(None if proxy else network_of(address))
        self._make_room(connection.network)
        self._waiting[connection] = None
        try:
            yield connection
        finally:
            self._waiting.pop(connection, None)

    @contextmanager
    def place(self, connection: Connection, client: str) -> Iterator[None]:
        """Hold a place for a client's address for as long as the block lasts.

        Raises HttpError where there is none.
        """
        network = network_of(client)
        if self._placed_of(network) >= self._address_places:
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_requests",
                f"{self._address_places} requests from this address are being answered",
            )
        if self.placed >= self._places:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too_many_requests",
                f"{self._places} requests are being answered, try again later",
            )
        self._waiting.pop(connection, None)
        self._placed[connection] = network
        try:
            yield
        finally:
            del self._placed[connection]
            self._waiting[connection] = None

    def leave(self, connection: Connection) -> None:
        """Count a connection, which waits, no longer: it became a WebSocket."""
        del self._waiting[connection]

    def _make_room(self, network: str | None) -> None:
        """End the connection that gives way to a new one of ``network``, where one must."""
        of_network = [other for other in self._waiting if other.network == network]
        if (
            network is not None
            and len(of_network) + self._placed_of(network) >= self._address_limit
        ):
            oldest = of_network[0]
        elif self.waiting + self.placed >= self._limit:
            oldest = next(iter(self._waiting))
        else:
            return
        del self._waiting[oldest]
        oldest.scope.cancel()
        self.refused["gave_way"] += 1

    def _placed_of(self, network: str) -> int:
        return sum(other == network for other in self._placed.values())

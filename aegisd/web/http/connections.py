"""Who is connected, who gives way, and how many may be answered at once.

Whoever comes is taken: where there is no room any more, the connection that has waited longest is
ended for it. One waits that holds no place; a request takes a place when all that its head says was
found good, and has it until its answer is sent, a WebSocket until it ends. Health checks take none.
Places are fewer than connections, so somebody waits whenever there is no room, and health checks
are answered whatever others do: idle connections, slow heads and bodies, and answers that nobody
takes cost only those who hold them.

Against one hostile address: its own connections give way to each other, those of others never do.
Where a health check shares that address (loopback, a proxy), and against many addresses: the newest
gives way last, so a check has the time that it takes others to connect hundreds of times more.
To end the oldest is all this needs, no list of the hostile and no time to wait for.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

import trio
from attrs import define, field

from aegisd.web.http.message import HttpError

MAX_CONNECTIONS = 500
"""In all. Each may hold two pieces of 16 KiB that it has sent, and as much of its answers."""

ADDRESS_SHARE = 0.4
"""Of them, for one address: so it takes three to reach the limit, and a proxy can have many."""

PLACES_SHARE = 0.8
"""Of either limit, those that may hold a place. The rest is for who comes, until its head is read.
"""

NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has its whole network (RFC 6177, RFC 4862)."""


@define(eq=False)
class Connection:
    """One connection; cancelling its scope ends it."""

    group: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)


class Connections:
    """All that are open, ``limit`` at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._address_limit = max(1, int(limit * ADDRESS_SHARE))
        self._places = int(limit * PLACES_SHARE)
        self._address_places = int(self._address_limit * PLACES_SHARE)
        self._waiting: dict[Connection, None] = {}  # who has waited longest first
        self._placed: set[Connection] = set()
        self.refused: Counter[str] = Counter()
        """Requests that were refused by their heads or bodies, and connections that gave way."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def placed(self) -> int:
        """How many hold a place."""
        return len(self._placed)

    @contextmanager
    def joined(self, address: str) -> Iterator[Connection]:
        """A new connection from this address, for as long as the block lasts."""
        connection = Connection(group_of(address))
        self._make_room(connection.group)
        self._waiting[connection] = None
        try:
            yield connection
        finally:
            self._waiting.pop(connection, None)

    @contextmanager
    def place(self, connection: Connection) -> Iterator[None]:
        """A place, for as long as the block lasts. Raises HttpError where there is none."""
        if _of(self._placed, connection.group) >= self._address_places:
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
        self._placed.add(connection)
        try:
            yield
        finally:
            self._placed.remove(connection)
            self._waiting[connection] = None

    def _make_room(self, group: str) -> None:
        if _of(self._waiting, group) + _of(self._placed, group) >= self._address_limit:
            oldest = next(other for other in self._waiting if other.group == group)
        elif self.waiting + self.placed >= self._limit:
            oldest = next(iter(self._waiting))
        else:
            return
        del self._waiting[oldest]
        oldest.scope.cancel()
        self.refused["gave_way"] += 1


def group_of(address: str) -> str:
    """What an address counts as: an IPv4 address itself, an IPv6 address its network."""
    parsed = ip_address(address)
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = int(parsed) >> (128 - NETWORK_BITS) << (128 - NETWORK_BITS)
    return f"{IPv6Address(network)}/{NETWORK_BITS}"


def _of(connections: "dict[Connection, None] | set[Connection]", group: str) -> int:
    return sum(connection.group == group for connection in connections)

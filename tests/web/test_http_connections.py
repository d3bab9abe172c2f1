"""Many connections: which one gives way, and that health checks are always answered."""

from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any

import pytest
import trio
from web.streams import parse_answers, read_to_end, wait_until

from aegisd.web.http.addresses import network_of
from aegisd.web.http.connections import Connection, Connections
from aegisd.web.http.message import HttpError

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


ROOM = 50
PER_ADDRESS, PLACES_PER_ADDRESS, PLACES = 20, 16, 40
"""The limits that Connections derives from ROOM."""


async def health_status(web: Any) -> int:
    return int(parse_answers(await web.raw(LAST), "GET")[0][0])


@pytest.mark.parametrize("sent", [b"", GET[:20], GET], ids=["silent", "in a head", "served"])
async def test_health_check_is_answered_beside_the_most_idle_connections(serving, sent):
    async with serving(room=ROOM) as web, AsyncExitStack() as stack:
        for _ in range(2):
            for _ in range(PER_ADDRESS + 5):
                stream = await stack.enter_async_context(await web.connect())
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(sent)
            assert await health_status(web) == 200
            assert await health_status(web) == 200
        assert web.daemon.connections.refused["gave_way"] >= PER_ADDRESS


async def test_longest_waiting_connection_gives_way(serving):
    async with serving(room=ROOM) as web, AsyncExitStack() as stack:
        first = await stack.enter_async_context(await web.connect())
        others = []
        for _ in range(PER_ADDRESS):
            others.append(await stack.enter_async_context(await web.connect()))
        assert await read_to_end(first) == b""
        for stream in others:
            await stream.send_all(LAST)
            assert parse_answers(await read_to_end(stream), "GET")[0][0] == 200


async def test_health_check_is_answered_while_all_places_are_held(serving, monkeypatch):
    """Requests that hold places stay; another request is 429, a health check is answered."""
    waiting = trio.Event()

    async def never(*_: Any) -> Any:
        await waiting.wait()
        return []

    async with serving(room=ROOM) as web, AsyncExitStack() as stack:
        monkeypatch.setattr(type(web.daemon.alert_table), "list", never)
        ask = LAST.replace(b"/healthz", b"/api/alerts")
        busy = []
        for _ in range(PLACES_PER_ADDRESS):
            busy.append(await stack.enter_async_context(await web.connect()))
            await busy[-1].send_all(ask)
        await wait_until(lambda: web.daemon.connections.placed == len(busy))
        for _ in range(PER_ADDRESS):
            await stack.enter_async_context(await web.connect())
        assert parse_answers(await web.raw(ask), "GET")[0][0] == 429
        assert await health_status(web) == 200
        assert web.daemon.connections.placed == len(busy)
        waiting.set()
        for stream in busy:
            assert (await read_to_end(stream)).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_ipv4_address_counts_as_itself_and_ipv6_as_its_network(address, network):
    assert network_of(address) == network


class Crowd:
    """Connections without sockets, from addresses of the test's choice."""

    def __init__(self, room: int = ROOM) -> None:
        self.connections = Connections(room)
        self.stack = ExitStack()

    def join(self, address: str, *, proxy: bool = False) -> Connection:
        return self.stack.enter_context(self.connections.joined(address, proxy=proxy))

    def ask(self, connection: Connection, client: str) -> None:
        """Hold a place."""
        self.stack.enter_context(self.connections.place(connection, client))


async def test_flood_from_one_network_ends_only_its_own_connections():
    crowd = Crowd()
    mine = crowd.join("192.0.2.1")
    theirs = [crowd.join(f"2001:db8::{n:x}") for n in range(2 * ROOM)]
    assert not mine.scope.cancel_called
    ended = [connection.scope.cancel_called for connection in theirs]
    assert ended == [True] * (len(theirs) - PER_ADDRESS) + ([False] * PER_ADDRESS)


async def test_new_connection_at_the_limit_ends_the_longest_waiting_one():
    crowd = Crowd()
    old = [crowd.join(f"10.0.{n // 250}.{n % 250}") for n in range(ROOM)]
    new = crowd.join("192.0.2.1")
    assert [c.scope.cancel_called for c in old] == [True] + [False] * (len(old) - 1)
    assert not new.scope.cancel_called


async def test_connection_with_a_place_is_never_ended_and_places_are_bounded():
    crowd = Crowd()
    for n in range(PLACES):
        address = f"10.0.{n // 250}.{n % 250}"
        crowd.ask(crowd.join(address), address)
    holding = set(crowd.connections._placed)
    for n in range(ROOM):
        last = crowd.join(f"10.1.{n // 250}.{n % 250}")
    assert not any(connection.scope.cancel_called for connection in holding)
    with pytest.raises(HttpError) as caught, crowd.connections.place(last, "10.1.0.0"):
        pass
    assert caught.value.status == 503


async def test_places_and_room_are_free_after_connections_end():
    crowd = Crowd()
    with crowd.stack:
        for _ in range(3):
            crowd.ask(crowd.join("192.0.2.1"), "192.0.2.1")
        assert crowd.connections.placed == 3
    assert crowd.connections.placed == crowd.connections.waiting == 0


@pytest.mark.parametrize("room", [1, 2, 3, 5, 7])
async def test_new_connection_is_taken_at_any_small_limit(room):
    """Also where all places are held, by ten addresses."""
    crowd = Crowd(room)
    for n in range(20):
        with suppress(HttpError):
            address = f"192.0.2.{n // 2}"
            crowd.ask(crowd.join(address), address)
        assert crowd.connections.waiting + crowd.connections.placed <= room
        assert not crowd.join("192.0.2.99").scope.cancel_called


async def test_trusted_proxys_connections_are_limited_by_its_clients():
    crowd = Crowd()
    for _ in range(PLACES_PER_ADDRESS):
        crowd.ask(crowd.join("192.0.2.1", proxy=True), "198.51.100.1")
    for n in range(PER_ADDRESS):
        crowd.ask(crowd.join("192.0.2.1", proxy=True), f"198.51.100.{10 + n}")
    with pytest.raises(HttpError) as caught:
        crowd.ask(crowd.join("192.0.2.1", proxy=True), "198.51.100.1")
    assert caught.value.status == 429
    assert crowd.connections.refused["gave_way"] == 0


async def test_client_behind_a_proxy_and_beside_it_is_one():
    crowd = Crowd()
    for n in range(PLACES_PER_ADDRESS):
        crowd.ask(crowd.join("192.0.2.1", proxy=bool(n % 2)), "192.0.2.1")
    own = [crowd.join("192.0.2.1") for _ in range(PER_ADDRESS)]
    kept = [connection for connection in own if not connection.scope.cancel_called]
    assert kept == own[-(PER_ADDRESS - PLACES_PER_ADDRESS) :]


async def test_proxys_connections_that_wait_give_way_at_the_limit():
    crowd = Crowd()
    waiting = [crowd.join("192.0.2.1", proxy=True) for _ in range(ROOM)]
    assert not any(connection.scope.cancel_called for connection in waiting)
    crowd.join("198.51.100.1")
    assert [c.scope.cancel_called for c in waiting] == [True] + [False] * (ROOM - 1)

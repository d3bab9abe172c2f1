"""How a datagram socket is drained: in bursts, within bounds, nothing lost or invented."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import pytest
import trio

from aegisd.ingest import burst as bursts
from aegisd.ingest import datagram
from aegisd.ingest.burst import Peer
from aegisd.ingest.recvmmsg import SLOTS
from aegisd.ingest.sockets import widen

LIMIT = 20

SEND = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"c", sys.argv[1])
"""

Make = Callable[..., Any]


async def drained(taken: Any, is_done: Callable[[], bool]) -> None:
    """Run the listener until ``is_done``, then cancel it."""
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.listener.run)
            while not is_done():
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_waiting_datagrams_are_one_burst_in_the_order_of_sending(make: Make) -> None:
    taken = make()
    sent = [b"%d" % number for number in range(5)]
    for message in sent:
        taken.sender.send(message)
    await drained(taken, lambda: bool(taken.bursts))
    assert taken.bursts == [sent]
    assert (taken.listener.figures().messages, taken.listener.figures().bytes) == (5, 5)


async def test_burst_ends_at_its_bound_in_messages(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bursts, "MAX_BURST_MESSAGES", 3)
    taken = make()
    for number in range(8):
        taken.sender.send(b"%d" % number)
    await drained(taken, lambda: len(taken.messages) == 8)
    assert [len(burst) for burst in taken.bursts] == [3, 3, 2]
    assert taken.messages == [b"%d" % number for number in range(8)]


async def test_burst_ends_with_the_message_that_passes_its_bound_in_bytes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bursts, "MAX_BURST_BYTES", 100)
    taken = make()
    for _ in range(5):
        taken.sender.send(b"x" * 60)
    await drained(taken, lambda: len(taken.messages) == 5)
    assert [len(burst) for burst in taken.bursts] == [2, 2, 1]


async def test_oversize_datagram_is_counted_and_its_neighbours_are_kept(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram, "MAX_DATAGRAM_BYTES", 64)
    taken = make()
    for size in (64, 65, 1000, 1):
        taken.sender.send(b"x" * size)
    await drained(taken, lambda: bool(taken.bursts))
    assert taken.messages == [b"x" * 64, b"x"]
    assert taken.oversize == 2
    assert (taken.listener.figures().messages, taken.listener.figures().bytes) == (4, 1130)


async def test_oversize_datagram_alone_is_a_burst(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram, "MAX_DATAGRAM_BYTES", 64)
    taken = make()
    taken.sender.send(b"x" * 65)
    await drained(taken, lambda: taken.oversize == 1)
    assert taken.messages == []


async def test_empty_datagram_is_a_message(make: Make) -> None:
    taken = make()
    for message in (b"", b"a", b""):
        taken.sender.send(message)
    await drained(taken, lambda: bool(taken.bursts))
    assert taken.messages == [b"", b"a", b""]


async def test_messages_of_a_unix_socket_have_their_sender(
    make_unix: Make, opened: ExitStack
) -> None:
    taken = make_unix()
    taken.sender.send(b"a")
    taken.sender.send(b"b" * 5000)
    command = [sys.executable, "-c", SEND, taken.bound.getsockname()]
    async with trio.open_nursery() as nursery:
        other = await nursery.start(trio.run_process, command)
    await drained(taken, lambda: len(taken.messages) == 3)
    uid = os.getuid()
    assert taken.peers == [Peer(os.getpid(), uid)] * 2 + [Peer(other.pid, uid)]


async def test_messages_of_udp_have_no_sender(make_udp: Make) -> None:
    taken = make_udp()
    taken.sender.send(b"a")
    await drained(taken, lambda: bool(taken.bursts))
    assert taken.peers == [None]


async def test_messages_of_all_lengths_keep_their_bytes(make: Make) -> None:
    taken = make()
    widen(taken.bound, 4 * 1024 * 1024)
    sent = [bytes([65 + i % 26]) * (i * 7919 % 3000) for i in range(2 * SLOTS + 3)]

    async def send() -> None:
        for message in sent:
            while True:
                try:
                    taken.sender.send(message, socket.MSG_DONTWAIT)
                    break
                except BlockingIOError:
                    await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await drained(taken, lambda: len(taken.messages) == len(sent))
    assert taken.messages == sent


async def test_largest_udp_datagram_arrives_whole(make_udp: Make) -> None:
    taken = make_udp()
    sent = bytes(range(256)) * 255 + b"x" * 227
    assert taken.sender.send(sent) == 65_507
    await drained(taken, lambda: bool(taken.bursts))
    assert taken.messages == [sent]


async def test_other_tasks_run_while_senders_never_pause(make: Make) -> None:
    taken = make()
    taken.answer = b"again"
    taken.sender.send(b"first")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while turns < 100:
            turns += 1
            await trio.lowlevel.checkpoint()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.listener.run)
            await other()
            nursery.cancel_scope.cancel()
    assert turns == 100


async def test_datagrams_that_did_not_fit_a_udp_buffer_are_in_the_figures(make_udp: Make) -> None:
    taken = make_udp()
    widen(taken.bound, 4096)
    assert taken.listener.figures().kernel_dropped == 0
    for _ in range(100):
        taken.sender.send(b"x" * 1000)
    dropped = taken.listener.figures().kernel_dropped
    assert 0 < dropped < 100
    await drained(taken, lambda: len(taken.messages) == 100 - dropped)
    assert taken.listener.figures().kernel_dropped == dropped


def test_full_unix_socket_drops_nothing(make_unix: Make) -> None:
    taken = make_unix()
    assert taken.fill() > 0
    assert taken.listener.figures().kernel_dropped == 0


def test_listener_makes_its_socket_non_blocking(opened: ExitStack) -> None:
    bound = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    datagram.DatagramListener(bound, "here", lambda *_: None, ours=True)
    assert not bound.getblocking()


async def test_unix_socket_is_read_while_a_burst_is_handed_on(make_unix: Make) -> None:
    taken = make_unix()
    sent = [b"%d" % number for number in range(200)]  # many more than its queue holds

    def take(listener: Any, burst: Any) -> Iterator[None]:
        taken.bursts.append(burst.messages)
        give_up = monotonic() + LIMIT
        while sent:
            with suppress(BlockingIOError):
                taken.sender.send(sent[0], socket.MSG_DONTWAIT)
                del sent[0]
            assert monotonic() < give_up, "nobody reads the socket"
        yield

    taken.listener._handle = take
    taken.sender.send(b"first")
    await drained(taken, lambda: len(taken.messages) == 201)
    assert taken.messages == [b"first", *(b"%d" % number for number in range(200))]


async def test_other_tasks_run_between_the_parts_of_a_burst(make: Make) -> None:
    taken = make()
    turns: list[str] = []

    def take(listener: Any, burst: Any) -> Iterator[None]:
        for number in range(3):
            turns.append(f"part {number}")
            yield

    async def other() -> None:
        while len(turns) < 6:
            if turns:
                turns.append("other")
            await trio.lowlevel.checkpoint()

    taken.listener._handle = take
    taken.sender.send(b"x")
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.listener.run)
            await other()
            nursery.cancel_scope.cancel()
    assert "other" in turns[turns.index("part 0") : turns.index("part 2")]


def test_small_udp_buffer_is_read_sooner(make_udp: Make) -> None:
    small, large = make_udp(), make_udp()
    small.bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    widen(large.bound, 8 * 1024 * 1024)
    room = large.bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert datagram._gather_seconds(small.bound) == datagram.SHORTEST_SECONDS
    most = room / datagram.SMALL_DATAGRAM_BYTES / datagram.SUDDEN_RATE
    assert datagram._gather_seconds(large.bound) == min(bursts.GATHER_SECONDS, most)

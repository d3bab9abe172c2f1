"""The end of a listener: what senders were told was sent is taken, and no more comes."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trio
import trio.testing
from support import wait_until

from aegisd.ingest import burst as bursts

LIMIT = 30

Make = Callable[..., Any]


def test_finish_takes_all_that_waits_in_a_unix_socket_whatever_the_time(
    make_unix: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bursts, "MAX_BURST_MESSAGES", 2)
    taken = make_unix()
    sent = taken.fill()
    assert sent > 2
    taken.listener.finish(0.0)
    assert taken.messages == [b"%d" % number for number in range(sent)]


def test_finished_unix_socket_refuses_senders(make_unix: Make) -> None:
    taken = make_unix()
    taken.listener.finish(0.0)
    with pytest.raises((BrokenPipeError, ConnectionRefusedError)):
        taken.sender.send(b"late")


def test_finish_takes_what_blocked_senders_sent_and_refuses_the_rest(
    make_unix: Make, opened: ExitStack
) -> None:
    taken = make_unix()
    sent, refused = [0] * 8, [False] * 8
    senders = [opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in sent]
    for sender in senders:
        sender.connect(taken.bound.getsockname())
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", LIMIT, 0))

    def send(number: int) -> None:
        try:
            while True:
                senders[number].send(b"x")  # waits in the kernel
                sent[number] += 1
        except (BrokenPipeError, ConnectionRefusedError):
            refused[number] = True

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(sent) > 8, "the senders send")
    taken.listener.finish(0.0)
    for thread in threads:
        thread.join(LIMIT)
    assert all(refused)
    assert len(taken.messages) == sum(sent) > 8


def test_finish_takes_what_waits_in_a_udp_socket(make_udp: Make) -> None:
    taken = make_udp()
    for number in range(20):
        taken.sender.send(b"%d" % number)
    taken.listener.finish(10.0)
    assert len(taken.messages) == 20


def test_finish_of_udp_ends_in_time_with_senders_that_never_stop(make_udp: Make) -> None:
    taken = make_udp()
    taken.answer = b"again"
    taken.sender.send(b"first")
    taken.listener.finish(0.05)
    assert taken.messages[:2] == [b"first", b"again"]


def test_finish_leaves_queue_and_senders_of_a_systemd_socket(make: Make, opened: ExitStack) -> None:
    taken = make(ours=False)
    held = opened.enter_context(taken.bound.dup())  # as systemd holds it
    taken.sender.send(b"before")
    taken.listener.finish(10.0)
    taken.sender.send(b"after")
    assert taken.messages == []
    assert [held.recv(100), held.recv(100)] == [b"before", b"after"]


def test_figures_stay_after_finish(make: Make) -> None:
    taken = make()
    taken.sender.send(b"x")
    taken.listener.finish(1.0)
    assert taken.listener.figures().messages == 1
    assert taken.listener.figures().kernel_dropped == 0


def test_kernel_drops_stay_in_the_figures_after_finish(make_udp: Make) -> None:
    taken = make_udp()
    taken.bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(100):
        taken.sender.send(b"x" * 1000)
    dropped = taken.listener.figures().kernel_dropped
    taken.listener.finish(10.0)
    assert taken.listener.figures().kernel_dropped == dropped > 0


async def test_finish_takes_the_rest_of_a_burst_that_was_handed_on(make: Make) -> None:
    taken = make()
    parts: list[int] = []

    def take(listener: Any, burst: Any) -> Iterator[None]:
        for number in range(3):
            parts.append(number)
            yield

    taken.listener._handle = take
    taken.sender.send(b"x")
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.listener.run)
            while not parts:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert len(parts) < 3
    taken.listener.finish(0.0)
    assert parts == [0, 1, 2]


async def test_finish_takes_what_was_gathered_already(make: Make) -> None:
    taken = make()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.listener.run)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(5):
                taken.sender.send(b"%d" % number)
            nursery.cancel_scope.cancel()
    taken.listener.finish(1.0)
    assert taken.messages == [b"%d" % number for number in range(5)]

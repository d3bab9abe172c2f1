"""What the ingest tests share: listeners on real sockets, and what they took."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from attrs import define, field

from aegisd.ingest.burst import Burst, Peer
from aegisd.ingest.datagram import DatagramListener


@define(eq=False)
class Taken:
    """A listener on a socket of its own, a sender to it, and the bursts it handed over."""

    listener: DatagramListener = field(init=False)
    bound: socket.socket
    sender: socket.socket
    bursts: list[list[bytes]] = field(factory=list)
    peers: list[Peer | None] = field(factory=list)
    oversize: int = 0
    answer: bytes | None = None  # sent to the listener again for each burst

    def take(self, listener: DatagramListener, burst: Burst) -> Iterator[None]:
        assert listener is self.listener
        self.bursts.append(list(burst.messages))
        self.peers += [burst.peer(i) for i in range(len(burst.messages))]
        self.oversize += burst.oversize
        if self.answer is not None:
            self.sender.send(self.answer)
        yield

    def fill(self) -> int:
        """Send numbers until the queue is full; return how many."""
        self.sender.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while sent < 100_000:
                self.sender.send(b"%d" % sent)
                sent += 1
        assert sent < 100_000, "the queue never gets full"
        return sent

    @property
    def messages(self) -> list[bytes]:
        return [message for burst in self.bursts for message in burst]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes at the end of the test what is given to it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_unix(opened: ExitStack, directory: Path) -> Callable[..., Taken]:
    """Makes a listener on a Unix datagram socket, ``ours`` or handed over."""

    def make(*, ours: bool = True) -> Taken:
        return _make(opened, socket.AF_UNIX, str(directory / "ingest.sock"), ours=ours)

    return make


@pytest.fixture
def make_udp(opened: ExitStack) -> Callable[..., Taken]:
    """Makes a listener on a UDP socket, ``ours`` or handed over."""

    def make(*, ours: bool = True) -> Taken:
        return _make(opened, socket.AF_INET, ("127.0.0.1", 0), ours=ours)

    return make


@pytest.fixture(params=["unix", "udp"])
def make(
    request: pytest.FixtureRequest, make_unix: Callable[..., Taken], make_udp: Callable[..., Taken]
) -> Callable[..., Taken]:
    """Both, one after the other."""
    return make_unix if request.param == "unix" else make_udp


def _make(opened: ExitStack, family: int, address: object, *, ours: bool) -> Taken:
    bound = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    bound.bind(address)
    sender = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    sender.connect(bound.getsockname())
    taken = Taken(bound, sender)
    taken.listener = DatagramListener(bound, "here", taken.take, ours=ours)
    return taken

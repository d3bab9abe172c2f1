"""A daemon inside another program: built, served, asked, stopped, and built again."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
import trio

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.daemon import Daemon, build, serve
from aegisd.errors import AegisdError

WAIT_SECONDS = 60
CONFIG = """
[storage]
dsn = "postgresql://nobody@/none?host=/nonexistent"
[ingest]
udp = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
"""
EVENT = {"method": "GET", "path": "/", "status_code": 200}


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Daemon]:
    """A daemon that serves, with this directory for all it keeps; stopped at the end."""
    file = directory / "aegisd.toml"
    file.write_text(CONFIG)
    directories = Directories(directory / "run", directory / "state", "here")
    with trio.fail_after(WAIT_SECONDS):
        async with (
            build(load(file, {}), directories) as daemon,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(serve, daemon)
            yield daemon
            daemon.stop()


def unix_datagram_of(daemon: Daemon) -> str:
    (address,) = [each for each in daemon.addresses.ingest if each.startswith("unix:")]
    return address.removeprefix("unix:")


def send(path: str, event: object) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(msgpack.packb(event), path)


async def total_requests(client: httpx.AsyncClient) -> Any:
    return (await client.get("/api/metrics/realtime")).json()["data"]["totalRequests"]


async def send_and_wait(daemon: Daemon, events: int) -> None:
    """Send events, and wait until the daemon's HTTP answers with so many."""
    for _ in range(events):
        send(unix_datagram_of(daemon), EVENT)
    async with httpx.AsyncClient(base_url=daemon.addresses.http) as client:
        while await total_requests(client) < events:  # noqa: ASYNC110 # HTTP has no event
            await trio.sleep(0.01)


async def test_embedded_daemon_counts_a_datagram_and_answers_over_http(directory: Path) -> None:
    async with served(directory) as daemon:
        await send_and_wait(daemon, 1)
        assert daemon.figures().intake.events["request"] == 1


async def test_stopped_daemon_keeps_events_for_the_next_one_in_the_same_process(
    directory: Path,
) -> None:
    async with served(directory) as first:
        await send_and_wait(first, 3)
        path = unix_datagram_of(first)
    assert not await trio.Path(path).exists(), "its socket's file is gone"
    async with served(directory) as second:
        assert second.figures().storage.waiting == 3
        await send_and_wait(second, 1)
        assert second.figures().storage.waiting == 4


async def test_two_daemons_serve_side_by_side(directory: Path) -> None:
    folders = [directory / "a", directory / "b"]
    for folder in folders:
        folder.mkdir()
    async with served(folders[0]) as one, served(folders[1]) as other:
        await send_and_wait(one, 2)
        await send_and_wait(other, 1)
        assert [d.figures().intake.events["request"] for d in (one, other)] == [2, 1]


async def test_journal_in_use_ends_the_build_and_leaves_the_holder_alone(directory: Path) -> None:
    async with served(directory) as daemon:
        with pytest.RaisesGroup(AegisdError, flatten_subgroups=True, allow_unwrapped=True):
            async with served(directory):
                pytest.fail("it was built")
        await send_and_wait(daemon, 1)

"""The stream's listener itself: its bounds in time and memory, without a daemon around it."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgpack
import pytest
import trio
import trio.testing

from aegisd.ingest.burst import Peer
from aegisd.ingest.stream import Answers, StreamListener

MAX_MESSAGE_BYTES = 64 * 1024
LENGTH = struct.Struct(">I")
ANSWER = b"a" * 1000


async def _take(_: StreamListener, __: Peer, frames: Sequence[bytes]) -> Answers:
    return Answers([ANSWER for _ in frames])


Connect = Callable[[], Awaitable[trio.SocketStream]]


@asynccontextmanager
async def listening(
    directory: Path, max_connections: int = 100
) -> AsyncIterator[tuple[StreamListener, Connect]]:
    """A listener, and a way to connect to it."""
    path = str(directory / "stream.sock")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        listener = StreamListener(bound, path, _take, MAX_MESSAGE_BYTES, max_connections)
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:

            async def connect() -> trio.SocketStream:
                return await stack.enter_async_context(await trio.open_unix_socket(path))

            nursery.start_soon(listener.run)
            with trio.fail_after(30):
                yield listener, connect
            nursery.cancel_scope.cancel()


async def received(stream: trio.SocketStream) -> list[object]:
    """All answers until the listener closes the connection."""
    data = b"".join([part async for part in stream])
    answers = []
    while data:
        (length,) = LENGTH.unpack_from(data)
        answers.append(msgpack.unpackb(data[4 : 4 + length]))
        data = data[4 + length :]
    return answers


async def test_incomplete_frame_is_closed_as_timeout(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.ingest.stream.FRAME_SECONDS", 0.05)
    async with listening(directory) as (listener, connect):
        for begun in (b"\0", LENGTH.pack(10), LENGTH.pack(10) + b"123456789"):
            stream = await connect()
            await stream.send_all(begun)
            (answer,) = await received(stream)
            assert answer["error"]["code"] == "timeout"
            await stream.aclose()
        assert listener.figures().messages == 0


async def test_frame_sent_byte_by_byte_gets_no_more_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.ingest.stream.FRAME_SECONDS", 0.2)
    async with listening(directory) as (_, connect):
        stream = await connect()
        await stream.send_all(LENGTH.pack(1000))

        async def drip() -> None:
            with suppress(trio.BrokenResourceError):  # it was closed meanwhile
                while True:
                    await stream.send_all(b"x")
                    await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            answers = []
            with suppress(trio.BrokenResourceError):  # a byte came behind the end
                answers = await received(stream)
            nursery.cancel_scope.cancel()
        assert [answer["error"]["code"] for answer in answers] in (["timeout"], [])


async def test_silence_between_frames_is_no_timeout(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.ingest.stream.FRAME_SECONDS", 0.01)
    async with listening(directory) as (listener, connect):
        quiet = await connect()
        for _ in range(3):
            await quiet.send_all(LENGTH.pack(1) + b"x")
            assert await quiet.receive_some(1)
            with trio.move_on_after(0.05) as waited:
                while True:
                    assert await quiet.receive_some(2000), "the connection was closed"
            assert waited.cancelled_caught
        assert listener.figures().messages == 3


async def test_client_that_never_reads_is_closed_and_others_are_served(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.ingest.stream.SEND_SECONDS", 1.0)
    async with listening(directory) as (listener, connect):
        deaf = await connect()
        sent = 0

        async def pour() -> None:
            nonlocal sent
            frame = LENGTH.pack(1000) + b"x" * 1000
            with suppress(trio.BrokenResourceError):
                while True:
                    await deaf.send_all(frame)
                    sent += len(frame)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            await trio.testing.wait_all_tasks_blocked(0.05)
            other = await connect()
            await other.send_all(LENGTH.pack(1) + b"x")
            assert await other.receive_some(1)
            assert listener.connections == 2
        assert sent < 8 * 1024 * 1024, "what is on its way is bounded"


async def test_frame_too_long_is_refused_by_its_length_alone(directory: Path) -> None:
    async with listening(directory) as (listener, connect):
        for length in (MAX_MESSAGE_BYTES + 1, 2**32 - 1):
            stream = await connect()
            good = LENGTH.pack(MAX_MESSAGE_BYTES) + b"x" * MAX_MESSAGE_BYTES
            await stream.send_all(good + LENGTH.pack(length))
            first, last = await received(stream)
            assert first == ANSWER
            assert last["error"]["code"] == "oversize"
            assert str(length) in last["error"]["message"]
            await stream.aclose()
        assert listener.figures().messages == 2


async def test_connections_beyond_a_user_s_share_or_the_limit_are_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(directory, 4) as (listener, connect):
        held = [await connect() for _ in range(3)]
        for stream in held:
            await stream.send_all(LENGTH.pack(1) + b"x")
            assert await stream.receive_some(1)
        (answer,) = await received(await connect())
        assert answer["error"]["code"] == "too_many_connections"
        assert "uid" in answer["error"]["message"]
        monkeypatch.setattr("aegisd.ingest.stream._peer", lambda _: Peer(1, 12345))
        other = await connect()
        await other.send_all(LENGTH.pack(1) + b"x")
        assert await other.receive_some(1), "another user has room"
        monkeypatch.undo()
        (answer,) = await received(await connect())
        assert answer["error"]["code"] == "too_many_connections"
        assert listener.figures().refused == 2
        for stream in held:
            await stream.aclose()
        while listener.connections > 1:  # noqa: ASYNC110 # nobody tells
            await trio.sleep(0.01)
        again = await connect()
        await again.send_all(LENGTH.pack(1) + b"x")
        assert await again.receive_some(1)


async def test_answered_frames_no_longer_count_as_waiting(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.ingest.stream.MAX_WAITING_BYTES", 2 * MAX_MESSAGE_BYTES)
    frame = LENGTH.pack(MAX_MESSAGE_BYTES) + b"x" * MAX_MESSAGE_BYTES
    async with listening(directory) as (listener, connect):
        for _ in range(10):
            stream = await connect()
            await stream.send_all(frame)
            assert await stream.receive_some(len(ANSWER)) != b""
        assert listener.connections == 10


async def test_connection_that_exceeds_all_waiting_bytes_is_closed_as_busy(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.ingest.stream.MAX_WAITING_BYTES", 2 * MAX_MESSAGE_BYTES)
    half = LENGTH.pack(MAX_MESSAGE_BYTES) + b"x" * (MAX_MESSAGE_BYTES // 2)
    async with listening(directory) as (_, connect):
        for _ in range(3):
            await (await connect()).send_all(half)
            await trio.testing.wait_all_tasks_blocked(0.01)
        late = await connect()
        await late.send_all(half)
        (answer,) = await received(late)
        assert answer["error"]["code"] == "busy"


async def test_silent_connection_is_closed_as_idle(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegisd.ingest.stream.IDLE_ROUND_SECONDS", 0.01)
    async with listening(directory) as (listener, connect):
        stream = await connect()
        await stream.send_all(LENGTH.pack(1) + b"x")
        assert await stream.receive_some(2000)
        monkeypatch.setattr("aegisd.ingest.stream.IDLE_SECONDS", 0.05)
        (answer,) = await received(stream)
        assert answer["error"]["code"] == "idle"
        while listener.connections:  # noqa: ASYNC110 # nobody tells
            await trio.sleep(0.01)

"""A WebSocket client by raw bytes: it can send what no library would."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field
from web.streams import WAIT_SECONDS

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10

HANDSHAKE = (
    "GET /ws/metrics HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # for this key, by RFC 6455, 1.3


def frame(opcode: int, payload: bytes = b"", *, bits: int = FIN, mask: bytes | None = b"\1\2\3\4"):
    """A client's frame; a mask of None is the breach of having none."""
    size = len(payload)
    masked = 0 if mask is None else 0x80
    if size < 126:
        head = bytes([bits | opcode, masked | size])
    elif size < 65536:
        head = bytes([bits | opcode, masked | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([bits | opcode, masked | 127]) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


@define
class RawClient:
    """A connection after its handshake. ``answer`` is the head of the answer to that."""

    stream: trio.abc.Stream
    answer: str
    _buffer: bytearray = field(factory=bytearray)

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def say(self, message: Any) -> None:
        """Send a message as JSON."""
        await self.send(frame(TEXT, json.dumps(message).encode()))

    async def receive(self) -> tuple[int, bytes]:
        """The first byte and payload of the next frame; (-1, b"") at the end."""
        with trio.fail_after(WAIT_SECONDS):
            while True:
                size = self._buffer[1] if len(self._buffer) > 1 else 0
                start = 2 + (2 if size == 126 else 8 if size == 127 else 0)
                if size > 125 and len(self._buffer) >= start:
                    size = int.from_bytes(self._buffer[2:start], "big")
                if len(self._buffer) >= start + size:
                    head, payload = self._buffer[0], bytes(self._buffer[start : start + size])
                    del self._buffer[: start + size]
                    return head, payload
                chunk = await self.stream.receive_some(65536)
                if not chunk:
                    return -1, b""
                self._buffer += chunk

    async def message(self) -> dict[str, Any]:
        """The next text message."""
        while (got := await self.receive())[0] & 0x0F != TEXT:
            assert got[0] != -1, "the connection ended"
            assert got[0] & 0x0F != CLOSE, got
        return json.loads(got[1])

    async def closed(self) -> int | None:
        """Read to the end; return the code of the close frame, None without one."""
        code = None
        while (got := await self.receive())[0] != -1:
            if got[0] & 0x0F == CLOSE:
                code = int.from_bytes(got[1][:2], "big") if got[1] else 1005
        return code


@asynccontextmanager
async def raw_client(web: Any, *headers: str, behind: bytes = b"") -> AsyncIterator[RawClient]:
    """Connect and shake hands; ``behind`` follows the handshake at once."""
    async with await web.connect() as stream:
        head = HANDSHAKE + "".join(f"{header}\r\n" for header in headers) + "\r\n"
        await stream.send_all(head.encode() + behind)
        received = bytearray()
        with trio.fail_after(WAIT_SECONDS):
            while b"\r\n\r\n" not in received:
                received += await stream.receive_some(65536)
        answer, _, rest = bytes(received).partition(b"\r\n\r\n")
        yield RawClient(stream, answer.decode(), bytearray(rest))

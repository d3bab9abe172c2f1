"""One client's connection: one task that reads, answers and ends it.

Everything that is sent goes through the client's ``Outbox``; metrics, alerts and pings come from
the hub.

At the end our side sends its close frame and its end (FIN), then reads what still comes, within
bounds: a socket that is closed while the peer still sends resets the connection, and the peer may
lose the close frame (RFC 6455, 7.1.1).
"""

from collections.abc import Callable

import trio

from aegisd.web.http import RECEIVE_BYTES, Request
from aegisd.web.websocket import requests
from aegisd.web.websocket.client import Client
from aegisd.web.websocket.hub import Hub
from aegisd.web.websocket.messages import Message
from aegisd.web.websocket.outbox import Outbox
from aegisd.web.websocket.protocol import Answer, Excess, Limits, Protocol

CLOSE_SECONDS = 2
CLOSE_BYTES = 32 * 1024 * 1024

EXCESS = requests.Wrong("too_many_messages", "more messages than one client may send; wait")


async def serve_websocket(
    request: Request,
    early: bytes,
    stream: trio.abc.Stream,
    socket: trio.SocketStream,
    network: str,
    hub: Hub,
    allowed: Callable[[], bool],
) -> None:
    """Serve one client from the answer to its handshake to the end of the connection.

    ``early`` is what the client sent behind the handshake, ``socket`` what lies below ``stream``.
    ``allowed`` says whether the client may still be served.
    """
    protocol = Protocol(request, trio.current_time(), Limits())
    async with trio.open_nursery() as nursery:

        def abort(counted: str) -> None:
            hub.refused[counted] += 1
            nursery.cancel_scope.cancel()

        outbox = Outbox(stream, socket, nursery, lambda: abort("too_slow"))
        served = Served(protocol, outbox, stream)
        client = Client(network, outbox, protocol.compressed, allowed, served.close, abort)
        outbox.send(protocol.handshake)
        with hub.joined(client):
            await served.read(early, client, hub)
        if protocol.ended:
            hub.refused[protocol.ended] += 1
        await _end(outbox, socket)
        nursery.cancel_scope.cancel()


class Served:
    """Reads from a client until it leaves, breaks a rule, or is closed."""

    def __init__(self, protocol: Protocol, outbox: Outbox, stream: trio.abc.Stream) -> None:
        self._protocol = protocol
        self._outbox = outbox
        self._stream = stream
        self._reading = trio.CancelScope()

    def close(self, code: int, why: str, counted: str) -> None:
        """Send a close frame and stop reading; ``counted`` as in ``Protocol.ended``."""
        for item in self._protocol.close(code, why, counted):
            if isinstance(item, Answer):
                self._outbox.send(item.data)
        self._reading.cancel()

    async def read(self, early: bytes, client: Client, hub: Hub) -> None:
        """Read and answer until the connection ends."""
        data = early
        with self._reading:
            while True:
                client.heard = trio.current_time()
                await self._answer(data, client, hub)
                if self._protocol.ended is not None:
                    return
                data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
                if not data:
                    return  # it left without a close frame

    async def _answer(self, data: bytes, client: Client, hub: Hub) -> None:
        for item in self._protocol.receive(data, client.heard):
            if isinstance(item, Answer):
                self._outbox.send(item.data)
                continue
            asked = EXCESS if isinstance(item, Excess) else requests.parse(item)
            match asked:
                case requests.Subscribe():
                    await hub.subscribe(client, asked)
                case requests.AskPong():
                    client.send(Message(requests.PONG))
                case requests.Wrong():
                    hub.refused[asked.code] += 1
                    client.send(Message(asked.answer()))


async def _end(outbox: Outbox, socket: trio.SocketStream) -> None:
    """Send what waits and our end, and read until the peer's end, within bounds."""
    received = 0
    with trio.move_on_after(CLOSE_SECONDS):
        await outbox.wait_until_sent()
        await socket.send_eof()
        while received < CLOSE_BYTES and (chunk := await socket.receive_some(RECEIVE_BYTES)):
            received += len(chunk)

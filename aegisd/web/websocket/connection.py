"""One client's WebSocket connection.

Three tasks share it. ``read`` answers the client's messages, and returns when the connection ends.
``send_pending`` sends what the hub has put there for the client. ``watch`` pings every
PING_SECONDS, and closes the connection after CLIENT_SILENCE_SECONDS without a message or pong.
"""

import json
from typing import Any

import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_server_stream,
)

from aegisd.web.http import to_json
from aegisd.web.websocket.client import ALERTS, Client
from aegisd.web.websocket.hub import Hub
from aegisd.web.websocket.topics import TOPICS

MAX_MESSAGE_BYTES = 4096  # a subscription is a few hundred
HANDSHAKE_SECONDS = 10
SEND_SECONDS = 10
PING_SECONDS = 30
CLIENT_SILENCE_SECONDS = 60
CLOSE_SECONDS = 2

SUBPROTOCOL = "aegisd"


async def serve_websocket(stream: trio.abc.Stream, network: str, hub: Hub) -> None:
    """Serve one client from the handshake to the end of the connection."""
    with hub.joined(network) as client:
        try:
            await _serve(stream, client, hub)
        except* (ConnectionClosed, HandshakeError):
            pass  # the client broke the protocol or left during the handshake


async def _serve(stream: trio.abc.Stream, client: Client, hub: Hub) -> None:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(HANDSHAKE_SECONDS):
            request = await wrap_server_stream(nursery, stream, max_message_size=MAX_MESSAGE_BYTES)
            # a browser that offers a token (``bearer.…``) wants one of what it offers chosen
            offered = SUBPROTOCOL in request.proposed_subprotocols
            connection = await request.accept(subprotocol=SUBPROTOCOL if offered else None)
        served = ClientConnection(connection, client, hub)
        nursery.start_soon(served.send_pending)
        nursery.start_soon(served.watch)
        await served.read()
        nursery.cancel_scope.cancel()


class ClientConnection:
    """The tasks of one connection."""

    def __init__(self, connection: WebSocketConnection, client: Client, hub: Hub) -> None:
        self._connection = connection
        self._client = client
        self._hub = hub
        self._heard = trio.current_time()

    async def read(self) -> None:
        """Answer the client until the connection ends. Reading also answers its pings."""
        try:
            await self._send(self._hub.message(self._client.topics))
            while True:
                message = await self._connection.get_message()
                self._heard = trio.current_time()
                for answer in self._answers(message):
                    await self._send(answer)
        except (ConnectionClosed, HandshakeError, trio.TooSlowError):
            pass

    async def send_pending(self) -> None:
        """Send alerts and the latest metrics message whenever the hub has put some there."""
        client = self._client
        try:
            while True:
                await client.wait()
                while (message := client.take()) is not None:
                    await self._send(message)
        except (ConnectionClosed, trio.TooSlowError):
            await self.close()

    async def watch(self) -> None:
        """Ping regularly; close the connection when the client was silent for too long."""
        async with trio.open_nursery() as nursery:
            while trio.current_time() - self._heard < CLIENT_SILENCE_SECONDS:
                nursery.start_soon(self._ping)
                await trio.sleep(PING_SECONDS)
            nursery.cancel_scope.cancel()
        await self.close()

    async def _ping(self) -> None:
        try:
            await self._connection.ping()  # returns with the pong
        except ConnectionClosed:
            return
        self._heard = trio.current_time()

    async def close(self) -> None:
        """Close the connection, with a close frame where that takes no longer than its deadline."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._connection.aclose(1001)

    async def _send(self, message: str) -> None:
        with trio.fail_after(SEND_SECONDS):
            await self._connection.send_message(message)

    def _answers(self, message: str | bytes) -> list[str]:
        try:
            parsed = json.loads(message)
        except (ValueError, RecursionError):
            return [_error("bad_message", "not JSON")]
        match parsed:
            case {"type": "ping"}:
                return ['{"type":"pong"}']
            case {"type": "subscribe", "data": dict(wanted)}:
                return self._subscribe(wanted)
            case {"type": "subscribe"}:
                return [_error("bad_message", "subscribe needs data, a map of topics")]
        return [_error("unknown_type", "type is subscribe or ping")]

    def _subscribe(self, wanted: dict[str, Any]) -> list[str]:
        known = (*TOPICS, ALERTS)
        for topic, on in wanted.items():
            if topic not in known:
                return [_error("unknown_topic", f"{topic!r} is not one of {' '.join(known)}")]
            if not isinstance(on, bool):
                return [_error("bad_message", f"{topic} is true or false")]
        on = {topic for topic, value in wanted.items() if value}
        self._client.subscribe(self._client.topics.difference(wanted) | on)
        subscribed = {topic: topic in self._client.topics for topic in known}
        return [
            to_json({"type": "subscribed", "data": subscribed}),
            self._hub.message(self._client.topics),
        ]


def _error(code: str, message: str) -> str:
    return to_json({"type": "error", "error": {"code": code, "message": message}})

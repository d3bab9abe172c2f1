"""Waits for a condition, and reads what a server sends."""

from collections.abc import Callable
from typing import Any

import h11
import trio

WAIT_SECONDS = 30


async def read_to_end(stream: trio.SocketStream) -> bytes:
    """Read until the peer ends the connection."""
    received = b""
    while chunk := await stream.receive_some(65536):
        received += chunk
    return received


async def wait_until(ask: Callable[[], Any]) -> None:
    """Wait until the answer is true."""
    with trio.fail_after(WAIT_SECONDS):
        while not ask():  # noqa: ASYNC110 # what is asked has no event
            await trio.sleep(0.005)


def parse_answers(received: bytes, *methods: str) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of each answer to requests with these methods."""
    found = []
    connection = h11.Connection(h11.CLIENT)
    for number, method in enumerate(methods):
        if number:
            connection.start_next_cycle()
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        if not number:
            connection.receive_data(received)
        response = connection.next_event()
        assert isinstance(response, h11.Response), response
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage), event
        headers = {name.decode(): value.decode() for name, value in response.headers}
        found.append((response.status_code, headers, body))
    assert not connection.trailing_data[0]
    return found

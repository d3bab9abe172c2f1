"""Request bodies: refused before they are read, dropped, or cut off at the bounds."""

import pytest
import trio
from web.streams import parse_answers
from web.test_refusals import TOKENS

from aegisd.web.http import exchange


def head(
    *lines: str, method: str = "GET", path: str = "/healthz", host: str = "localhost"
) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode()


SIZED = "Content-Length: 5"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize("announced", [SIZED, CHUNKED])
@pytest.mark.parametrize(
    ("start", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"path": "/api/status"}, 401),
        ({"method": "POST"}, 405),
        ({"path": "/nothing"}, 401),
    ],
)
async def test_refusal_is_sent_before_the_body_is_read(serving, start, status, announced):
    async with serving(TOKENS) as web:
        received = await web.raw(head(announced, **start))
    ((answered, headers, _),) = parse_answers(received, start.get("method", "GET"))
    assert answered == status
    assert headers["connection"] == "close"


async def test_too_large_content_length_is_413_before_the_body_is_read(serving):
    async with serving() as web:
        received = await web.raw(head(f"Content-Length: {exchange.MAX_BODY_BYTES + 1}"))
    assert parse_answers(received, "GET")[0][0] == 413


async def test_refusal_without_a_body_leaves_the_connection_open(serving):
    async with serving(TOKENS) as web:
        received = await web.raw(head(path="/api/status") + head("Connection: close"))
    assert [status for status, _, _ in parse_answers(received, "GET", "GET")] == [401, 200]


async def flood(stream: trio.SocketStream, data: bytes, limit: int) -> int:
    """Send the same bytes repeatedly; return how many bytes were sent before the peer ended it."""
    sent = 0
    try:
        while sent < limit:
            await stream.send_all(data)
            sent += len(data)
    except trio.BrokenResourceError:
        pass
    return sent


@pytest.mark.parametrize(
    "data",
    [
        b"1;" + b"x" * 15_000 + b"\r\na\r\n",  # an extension at each chunk
        b"1\r\na\r\n" * 1000,
        b"10000000;" + b"x" * 15_000,  # one that never ends
        b"0\r\n" + b"x: " + b"x" * 15_000,  # trailers that never end
    ],
    ids=["extensions", "chunks", "extension", "trailers"],
)
async def test_endless_chunk_framing_is_refused_at_the_bound(serving, data):
    async with serving() as web:
        async with await web.connect() as stream:
            await stream.send_all(head(CHUNKED))
            endless = 64 * 1024 * 1024
            assert await flood(stream, data, endless) < endless
        assert (
            web.daemon.connections.refused["too_large"]
            + (web.daemon.connections.refused["bad_request"])
            == 1
        )


async def test_chunked_body_within_the_bound_is_dropped_and_answered(serving):
    async with serving() as web:
        chunks = b"1;note=yes\r\na\r\n" * 1000 + b"0\r\n\r\n"
        received = await web.raw(head(CHUNKED) + chunks + head("Connection: close"))
    assert [status for status, _, _ in parse_answers(received, "GET", "GET")] == [200, 200]


async def test_slow_body_is_408(serving, monkeypatch):
    monkeypatch.setattr(exchange, "BODY_SECONDS", 0.05)
    async with serving() as web:
        received = await web.raw(head(SIZED))
    assert parse_answers(received, "GET")[0][0] == 408


async def test_peer_that_sends_on_after_a_refusal_is_cut_off_at_the_bound(serving, monkeypatch):
    monkeypatch.setattr("aegisd.web.server.LINGER_SECONDS", 60)
    async with serving() as web, await web.connect() as stream:
        await stream.send_all(head(SIZED, method="POST"))
        endless = 64 * 1024 * 1024
        assert await flood(stream, b"x" * 65_536, endless) < endless


async def test_refusals_are_counted_by_reason(serving):
    async with serving(TOKENS) as web:
        await web.raw(head("Connection: close", host="evil.example"))
        for _ in range(2):
            await web.raw(head("Connection: close", path="/metrics"))
        response = await web.get("/metrics", Authorization="Bearer first")
    assert 'aegisd_http_refused_total{reason="misdirected"} 1.0' in response.text
    assert 'aegisd_http_refused_total{reason="unauthorized"} 2.0' in response.text

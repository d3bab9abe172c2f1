"""Connections: many requests, single bytes, garbage, slow clients, resets."""

import contextlib

import pytest
import trio
import trio.testing
from web.streams import parse_answers, read_to_end, wait_until

from aegisd.web.http import exchange

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def test_one_connection_serves_twenty_one_requests(serving):
    async with serving() as web, await web.connect() as stream:
        for _ in range(20):
            await stream.send_all(GET)
            assert parse_answers(await stream.receive_some(65536), "GET")[0][0] == 200
        await stream.send_all(LAST)
        assert parse_answers(await read_to_end(stream), "GET")[0][0] == 200


@pytest.mark.parametrize("first", [GET, GET.replace(b"GET", b"HEAD"), GET.replace(b"/h", b"/no")])
async def test_head_that_comes_again_is_answered_as_before_until_another_comes(serving, first):
    async with serving() as web, await web.connect() as stream:
        answers = []
        for sent in (first, first, GET + GET, first, first[:9], first[9:] + first, LAST):
            await stream.send_all(sent)
            await trio.testing.wait_all_tasks_blocked(0.01)
            answers.append(await stream.receive_some(65536) if sent != first[:9] else b"")
    parse_answers(answers[0], first[:4].decode().strip())
    assert answers[1] == answers[3] == answers[0]
    assert answers[5] == answers[0] * 2
    assert [status for status, _, _ in parse_answers(answers[2], "GET", "GET")] == [200, 200]


async def test_pipelined_requests_are_answered_in_order(serving):
    missing = GET.replace(b"/healthz", b"/nothing")
    head = GET.replace(b"GET", b"HEAD")
    post = GET.replace(b"GET", b"POST")
    body = GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc")
    async with serving() as web:
        received = await web.raw(GET + missing + head + post + body + LAST)
    found = parse_answers(received, "GET", "GET", "HEAD", "POST", "GET", "GET")
    assert [status for status, _, _ in found] == [200, 404, 200, 405, 200, 200]


async def test_request_sent_byte_by_byte_is_answered(serving):
    async with serving() as web:
        received = await web.raw(*(bytes([byte]) for byte in LAST))
    assert parse_answers(received, "GET")[0][0] == 200


async def test_http_1_0_is_answered_and_closed(serving):
    async with serving() as web:
        received = await web.raw(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert parse_answers(received, "GET")[0][0] == 200


async def test_offer_of_http2_is_ignored(serving):
    offer = b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n"
    async with serving() as web:
        received = await web.raw(GET.replace(b"\r\n\r\n", offer) + LAST)
    assert [status for status, _, _ in parse_answers(received, "GET", "GET")] == [200, 200]


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
    ],
)
async def test_garbage_gets_an_error_and_the_server_goes_on(serving, garbage, status):
    async with serving() as web:
        stream = await web.connect()
        async with stream:
            await stream.send_all(garbage)
            await stream.send_eof()
            received = await read_to_end(stream)
        assert parse_answers(received, "GET")[0][0] == status
        assert (await web.get("/healthz")).status_code == 200


async def test_garbage_after_good_requests_gets_an_error_and_ends_the_connection(serving):
    async with serving() as web:
        received = await web.raw(GET + GET + b"garbage\r\n\r\n" + GET)
    assert [s for s, _, _ in parse_answers(received, "GET", "GET", "GET")] == [200, 200, 400]


async def test_head_over_the_limit_is_431(serving):
    async with serving() as web:
        large = b"X: " + b"x" * exchange.MAX_HEAD_BYTES
        received = await web.raw(GET.replace(b"\r\n\r\n", b"\r\n" + large * 3))
    assert parse_answers(received, "GET")[0][0] == 431


async def test_slow_head_is_408_and_a_silent_client_is_closed(serving, monkeypatch):
    monkeypatch.setattr(exchange, "HEAD_SECONDS", 0.05)
    async with serving() as web:
        assert parse_answers(await web.raw(GET[:20]), "GET")[0][0] == 408
        assert web.daemon.connections.refused == {"timeout": 1}
        assert await web.raw() == b""
        assert web.daemon.connections.refused == {"timeout": 1}


async def test_slow_head_of_a_later_request_is_408_as_soon(serving, monkeypatch):
    monkeypatch.setattr(exchange, "HEAD_SECONDS", 0.05)  # a connection may be idle for longer
    async with serving() as web:
        statuses = [
            status for status, *_ in parse_answers(await web.raw(GET, GET[:20]), "GET", "GET")
        ]
    assert statuses == [200, 408]


async def test_head_of_a_megabyte_ends_the_connection_and_counts(serving):
    """Sent with no regard to the answer; the health check beside it is answered."""
    async with serving() as web:
        async with await web.connect() as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(GET[:-2] + b"X: " + b"x" * 1024 * 1024)
            assert (await web.get("/healthz")).status_code == 200
        await wait_until(lambda: web.daemon.connections.refused["bad_request"])


@pytest.mark.parametrize(
    "query", ["range=1y'--", "range=1h;DROP+TABLE+alerts", "range=%00", "limit=1'--", "node=%00"]
)
async def test_parameter_with_sql_in_it_is_400_and_counts(serving, query):
    async with serving() as web:
        received = await web.raw(
            LAST.replace(b"/healthz", f"/api/metrics/top-endpoints?{query}".encode())
        )
        assert web.daemon.connections.refused == {"bad_request": 1}
    assert parse_answers(received, "GET")[0][0] == 400


async def test_endless_body_is_cut_off_and_counts(serving):
    head = b"\r\nContent-Length: 999999999999\r\n\r\n"
    async with serving() as web:
        async with await web.connect() as stream:
            with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 # any of the sends
                await stream.send_all(GET.replace(b"\r\n\r\n", head))
                while True:
                    await stream.send_all(b"x" * 65536)
        assert web.daemon.connections.refused == {"too_large": 1}


async def test_idle_connection_is_ended(serving, monkeypatch):
    monkeypatch.setattr(exchange, "IDLE_SECONDS", 0.05)
    async with serving() as web:
        assert parse_answers(await web.raw(GET), "GET")[0][0] == 200


async def test_client_that_reads_no_answer_loses_its_connection(serving, monkeypatch):
    monkeypatch.setattr(exchange, "SEND_SECONDS", 0.05)
    page = GET.replace(b"/healthz", b"/assets/js/feed.js")
    async with serving() as web:
        stream = await web.connect()
        async with stream:
            with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 # any of the sends
                while True:
                    await stream.send_all(page * 100)
        await wait_until(lambda: web.daemon.connections.refused["too_slow"])
        assert (await web.get("/healthz")).status_code == 200


async def test_reset_at_any_moment_leaves_the_server_answering(serving, capsys):
    async with serving() as web:
        for sent in (b"", GET[:10], GET, GET + GET[:10], GET * 100):
            stream = await web.connect()
            await stream.send_all(sent)
            stream.socket.setsockopt(  # closing resets the connection
                trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            await trio.aclose_forcefully(stream)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await web.get("/healthz")).status_code == 200
    assert "fault of ours" not in "".join(capsys.readouterr())


async def test_a_hundred_connections_are_served_at_once(serving):
    async with serving() as web:
        streams = [await web.connect() for _ in range(100)]
        for stream in streams:
            await stream.send_all(LAST)
        for stream in streams:
            assert (await read_to_end(stream)).startswith(b"HTTP/1.1 200")
            await stream.aclose()


async def test_exception_in_an_answer_ends_that_connection_only(serving, monkeypatch, capsys):
    async with serving() as web:

        def fail() -> list[str]:
            raise RuntimeError("broken")

        monkeypatch.setattr(type(web.daemon.health), "lines", lambda self, admin: fail())
        assert await web.raw(GET.replace(b"/healthz", b"/readyz")) == b""
        assert (await web.get("/healthz")).status_code == 200
    assert "a connection ended by a fault of ours" in "".join(capsys.readouterr())

"""Login, logout and who may: over real connections."""

import hashlib
import socket
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url
from web.frames import raw_client
from web.streams import parse_answers

from aegisd.web.access.failures import MAX_FAILURES


def entry(name: str, role: str) -> str:
    digest = hashlib.sha256(f"{name}-token".encode()).hexdigest()
    return f'{{ name = "{name}", sha256 = "{digest}", role = "{role}" }}'


PROXIED = f"""
[http]
trusted_proxies = ["127.0.0.1"]
allowed_hosts = ["x"]
tokens = [{entry("ops", "admin")}, {entry("desk", "viewer")}]
[dashboard.websocket]
max_connections_per_ip = 1
"""
SESSION, SOCKET = "/api/session", "/ws/metrics"
NOBODY = {"authentication": True, "name": None, "role": None}
OPS = {"authentication": True, "name": "ops", "role": "admin"}
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
CHECK = b"OPTIONS / HTTP/1.0\r\n\r\n"


async def log_in(web: Any, token: Any = "ops-token", **headers: str) -> httpx.Response:
    return await web.client.post(SESSION, json={"token": token}, headers=headers)


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def socket_of(web: Any, **headers: str) -> Any:
    named = [(name.replace("_", "-"), value.encode()) for name, value in headers.items()]
    return open_websocket_url(f"ws://127.0.0.1:{web.port}{SOCKET}", extra_headers=named)


async def refusal(web: Any, **headers: str) -> int:
    """The status of a handshake that is refused, with plain HTTP."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await web.get(SOCKET, **HANDSHAKE, **named)).status_code


async def test_session_is_logged_in_used_and_logged_out(serving):
    async with serving(PROXIED) as web:
        assert await web.data(SESSION) == NOBODY
        answer = await log_in(web)
        assert (answer.status_code, answer.json()["data"]) == (200, OPS)
        assert await web.data(SESSION) == OPS  # the client keeps cookies
        assert (await web.get("/api/status")).status_code == 200
        cookie = dict(web.client.cookies)
        ended = await web.client.request("DELETE", SESSION, headers={"Origin": web.url}, json={})
        assert ended.json()["data"] == NOBODY
        assert not web.client.cookies
        web.client.cookies.update(cookie)
        assert code(await web.get("/api/status")) == (401, "unauthorized")


async def test_token_is_shown_as_session_too(serving):
    async with serving(PROXIED) as web:
        answer = await web.get(SESSION, Authorization="Bearer desk-token")
    assert answer.json()["data"] == {"authentication": True, "name": "desk", "role": "viewer"}


async def test_without_tokens_nobody_needs_a_session(serving):
    async with serving() as web:
        shown = await web.data(SESSION)
    assert shown == {"authentication": False, "name": None, "role": "admin"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"token": "nonsense"}', 401),
        (b'{"token": ""}', 401),
        ('{"token": "zwölf"}'.encode(), 401),
        (b'{"token": "\\u0000\\ud83d\\ude00"}', 401),
        (b'{"token": "\\ud800"}', 400),
        (b'{"token": 5}', 400),
        (b"{}", 400),
        (b"[]", 400),
        (b"", 400),
        (b"\xff", 400),
        (b"{" * 60_000, 400),
        (b"x" * 70_000, 413),
    ],
)
async def test_wrong_login_is_refused_without_a_cookie(serving, body, status):
    async with serving(PROXIED) as web:
        headers = {"Content-Type": "application/json"}
        answer = await web.client.post(SESSION, content=body, headers=headers)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


async def test_login_after_too_many_wrong_tokens_is_429_with_retry_after(serving):
    async with serving(PROXIED) as web:
        client = {"X-Forwarded-For": "198.51.100.7"}
        for _ in range(MAX_FAILURES):
            assert code(await log_in(web, "nonsense", **client)) == (401, "unauthorized")
        blocked = await log_in(web, **client)
        assert code(blocked) == (429, "too_many_failures")
        assert 0 < int(blocked.headers["retry-after"]) <= 60
        refused = dict(web.daemon.connections.refused)
        assert refused == {"unauthorized": MAX_FAILURES, "too_many_failures": 1}
        assert (await log_in(web, **{"X-Forwarded-For": "198.51.100.8"})).status_code == 200


async def test_page_of_another_site_can_not_log_in(serving):
    async with serving(PROXIED) as web:
        foreign = await log_in(web, Origin="https://evil.example")
        form = await web.client.post(SESSION, data={"token": "ops-token"})
    assert code(foreign) == (403, "forbidden_origin")
    assert form.status_code == 415


async def test_write_without_a_token_is_refused_before_its_body_comes(serving):
    head = b"POST /api/alerts/1/resolve HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    async with serving(PROXIED) as web:
        (status, headers, _), *_ = parse_answers(await web.raw(head), "POST")
    assert (status, headers["connection"]) == (401, "close")


# the WebSocket, and the reason by a plain GET


async def test_websocket_takes_header_subprotocol_and_cookie(serving):
    async with serving(PROXIED) as web:
        async with socket_of(web, authorization="Bearer desk-token") as connection:
            await connection.get_message()
        url = f"ws://127.0.0.1:{web.port}{SOCKET}"
        offered = ["aegisd", "bearer.desk-token"]
        async with open_websocket_url(url, subprotocols=offered) as connection:
            assert connection.subprotocol == "aegisd"
        await log_in(web)
        cookie = "; ".join(f"{name}={value}" for name, value in web.client.cookies.items())
        async with socket_of(web, cookie=cookie, origin=web.url) as connection:
            await connection.get_message()
        assert await refusal(web, cookie=cookie) == 403


async def test_refused_handshake_and_plain_get_have_the_same_status(serving):
    async with serving(PROXIED) as web:
        web.client.cookies.clear()
        assert await refusal(web) == (await web.get(SOCKET)).status_code == 401
        viewer = {"authorization": "Bearer desk-token"}
        foreign = {"origin": "http://localhost:3000"}
        assert await refusal(web, **viewer, **foreign) == 403
        reason = await web.get(SOCKET, **viewer, referer="http://localhost:3000/page")
        assert code(reason) == (403, "forbidden_origin")
        assert code(await web.get(SOCKET, **viewer)) == (426, "upgrade_required")
        async with socket_of(web, **viewer):
            assert await refusal(web, **viewer) == 429
            assert code(await web.get(SOCKET, **viewer)) == (429, "too_many_connections")
        for _ in range(MAX_FAILURES):
            await web.get(SOCKET, authorization="Bearer nonsense")
        assert await refusal(web, **viewer) == (await web.get(SOCKET, **viewer)).status_code == 429


async def test_websocket_of_a_session_ends_with_it(serving):
    async with serving(PROXIED) as web:
        await log_in(web)
        cookie = "; ".join(f"{name}={value}" for name, value in web.client.cookies.items())
        async with raw_client(web, f"Cookie: {cookie}", "Origin: http://localhost") as client:
            await client.message()
            await web.client.request("DELETE", SESSION, headers={"Origin": web.url}, json={})
            assert await client.closed() == 1008


async def test_websockets_behind_a_trusted_proxy_are_limited_by_client(serving):
    async with serving(PROXIED) as web:
        token = {"authorization": "Bearer desk-token"}
        async with (
            socket_of(web, **token, x_forwarded_for="198.51.100.7"),
            socket_of(web, **token, x_forwarded_for="198.51.100.8, ::ffff:127.0.0.1"),
            socket_of(web, **token, forwarded='for="[2001:db8::1]:80"'),
        ):
            again = {"x_forwarded_for": "192.0.2.1, ::ffff:198.51.100.7"}
            assert await refusal(web, **token, **again) == 429
            assert await refusal(web, **token, forwarded='for="[2001:db8::2]"') == 429


async def test_websockets_of_an_untrusted_peer_are_limited_by_its_own_address(serving):
    untrusted = PROXIED.replace("127.0.0.1", "192.0.2.1")
    async with serving(untrusted) as web:
        token = {"authorization": "Bearer desk-token"}
        async with socket_of(web, **token, x_forwarded_for="198.51.100.7"):
            assert await refusal(web, **token, x_forwarded_for="198.51.100.8") == 429


async def test_ipv4_over_a_dual_stack_socket_is_the_same_proxy_and_client(serving):
    dual = trio.socket.socket(socket.AF_INET6)
    dual.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    await dual.bind(("::", 0))
    dual.listen()
    url = f"http://127.0.0.1:{dual.getsockname()[1]}{SOCKET}"
    token = {"authorization": "Bearer desk-token"}
    async with serving(PROXIED) as web, trio.open_nursery() as nursery:
        serve = web.daemon.server.connection
        await nursery.start(trio.serve_listeners, serve, [trio.SocketListener(dual)])
        assert (await web.client.get(url, headers=token)).status_code == 426
        async with socket_of(web, **token, x_forwarded_for="198.51.100.7"):
            same = token | {"X-Forwarded-For": "198.51.100.7"}
            assert (await web.client.get(url, headers=same)).status_code == 429
            assert (await web.client.get(url, headers=token)).status_code == 426
        nursery.cancel_scope.cancel()


# health checks without a Host


@pytest.mark.parametrize(
    "head",
    [
        CHECK,
        b"OPTIONS /readyz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /readyz HTTP/1.0\r\nConnection: close\r\n\r\n",
    ],
)
async def test_health_check_without_a_host_is_answered(serving, head):
    async with serving(PROXIED) as web:
        received = await web.raw(head)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b'{"success":true,"data":{"status":"' in received


async def test_health_check_without_a_host_is_503_while_the_daemon_stops(serving):
    async with serving(PROXIED) as web:
        web.daemon.stop()
        assert (await web.raw(CHECK)).startswith(b"HTTP/1.1 503 ")


async def test_other_paths_need_a_host(serving):
    async with serving(PROXIED) as web:
        assert (await web.raw(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 421 ")
        assert (await web.raw(b"GET /readyz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_headers_in_several_lines_are_one_list(serving):
    """As HAProxy adds X-Forwarded-For: a line of its own, after the client's."""
    async with serving(PROXIED) as web:
        token = "Bearer desk-token"
        async with socket_of(web, authorization=token, x_forwarded_for="198.51.100.7"):
            status = await web.client.get(
                SOCKET,
                headers=[
                    ("Authorization", token),
                    ("X-Forwarded-For", "198.51.100.7"),
                    ("X-Forwarded-For", "127.0.0.1"),
                ],
            )
    assert code(status) == (429, "too_many_connections")

"""The daemon behind real proxies, with the configurations of docs/proxies.md."""

import hashlib
import json
import re
import ssl
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w
import trio
from attrs import define
from support import WAIT_SECONDS, Daemon, wait_until
from system.proxies import NAME, PROGRAMS, Program, blocks, free_port, make_certificate
from trio_websocket import WebSocketConnection, wrap_client_stream

TOKEN = "a-token"
NOWHERE = "postgresql://aegisd@127.0.0.1:1/aegisd"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
ONE, OTHER = "127.0.0.2", "127.0.0.3"  # clients; the proxies connect from 127.0.0.1

NGINX = PROGRAMS[0]


@define
class Proxied:
    """A proxy in front of a daemon, as a client sees it."""

    port: int
    path: str
    tls: ssl.SSLContext
    daemon: Daemon

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    @asynccontextmanager
    async def client(self, address: str = ONE) -> AsyncIterator[httpx.AsyncClient]:
        """A client that connects from an address of loopback's, and keeps cookies."""
        transport = httpx.AsyncHTTPTransport(verify=self.tls, local_address=address)

        async def name_server(request: httpx.Request) -> None:
            request.extensions["sni_hostname"] = NAME

        async with httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}{self.path}",
            headers={"Host": f"{NAME}:{self.port}"},
            transport=transport,
            timeout=WAIT_SECONDS,
            event_hooks={"request": [name_server]},
        ) as client:
            yield client

    @asynccontextmanager
    async def websocket(
        self, address: str = ONE, **headers: str
    ) -> AsyncIterator[WebSocketConnection]:
        """A WebSocket over TLS, from an address of loopback's."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=address)
        secured = trio.SSLStream(stream, self.tls, server_hostname=NAME, https_compatible=True)
        named = [(name, value.encode()) for name, value in headers.items()]
        async with stream, trio.open_nursery() as nursery:
            with trio.fail_after(WAIT_SECONDS):
                yield await wrap_client_stream(
                    nursery,
                    secured,
                    f"{NAME}:{self.port}",
                    f"{self.path}ws/metrics",
                    extra_headers=named,
                )
            nursery.cancel_scope.cancel()

    async def refusal(self, address: str, **headers: str) -> int:
        """The status of a WebSocket's handshake that is refused."""
        async with self.client(address) as client:
            return (await client.get("ws/metrics", headers=HANDSHAKE | headers)).status_code


Start = Callable[..., Any]


@pytest.fixture
def proxied(make_daemon: Callable[..., Daemon], directory: Path) -> Start:
    """Starts a proxy in front of a daemon with the page's own configuration."""

    @contextmanager
    def start(
        program: Program,
        path: str = "/",
        change: Callable[[str], str] = str,
        stats: int = 0,
        **websocket: Any,
    ) -> Iterator[Proxied]:
        if program.path is None:
            pytest.skip(f"there is no {program.name}")
        config = tomllib.loads(blocks("aegisd's side")[0])
        config["http"]["listen"] = "127.0.0.1:0"
        config["http"]["tokens"][0]["sha256"] = hashlib.sha256(TOKEN.encode()).hexdigest()
        config["ingest"] = {"udp": "127.0.0.1:0"}
        config["dashboard"] = {"websocket": websocket}
        daemon = make_daemon(tomli_w.dumps(config), {"AEGISD_STORAGE__DSN": NOWHERE})
        daemon.start()
        certificate = make_certificate(directory)
        at = daemon.url.removeprefix("http://")
        with program.running(directory, change(program.example(path)), at, stats) as port:
            tls = ssl.create_default_context(cafile=str(certificate))
            yield Proxied(port, path, tls, daemon)

    return start


def on_each_proxy(test: Any) -> Any:
    ids = [program.name for program in PROGRAMS]
    return pytest.mark.parametrize("program", PROGRAMS, ids=ids)(test)


async def log_in(client: httpx.AsyncClient, origin: str) -> httpx.Response:
    return await client.post("api/session", json={"token": TOKEN}, headers={"Origin": origin})


@on_each_proxy
@pytest.mark.parametrize("path", ["/", "/aegisd/"])
async def test_page_api_login_and_websocket_work(
    proxied: Start, program: Program, path: str
) -> None:
    with proxied(program, path) as site:
        async with site.client() as client:
            page = await client.get("")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assets = re.findall(r'(?:src|href)="/?(assets/[^"]+)"', page.text)
            assert assets
            for asset in assets:
                assert (await client.get(asset)).status_code == 200
            assert (await client.get("api/status")).status_code == 401
            answer = await log_in(client, site.origin)
            assert answer.json()["data"]["name"] == "ops"
            assert "; Secure" in answer.headers["set-cookie"]
            assert (await client.get("api/status")).json()["data"]["node"]
            cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
            async with site.websocket(Cookie=cookie, Origin=site.origin) as connection:
                first = json.loads(await connection.get_message())
            assert first["type"] == "metrics"
            out = await client.request(
                "DELETE", "api/session", json={}, headers={"Origin": site.origin}
            )
            assert out.json()["data"]["name"] is None


@on_each_proxy
async def test_limits_go_by_the_client_and_not_by_what_it_claims(
    proxied: Start, program: Program
) -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}
    with proxied(program, max_connections_per_ip=1) as site:
        async with site.websocket(ONE, **token) as first, site.websocket(OTHER, **token) as second:
            await first.get_message()
            await second.get_message()
            for claim in (
                {},
                {"X-Forwarded-For": "192.0.2.1"},
                {"Forwarded": "for=192.0.2.1"},
                {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"},
            ):
                assert await site.refusal(ONE, **token, **claim) == 429


@on_each_proxy
async def test_wrong_tokens_of_one_client_do_not_hold_up_another(
    proxied: Start, program: Program
) -> None:
    with proxied(program) as site:
        async with site.client(ONE) as guessing, site.client(OTHER) as other:
            for _ in range(10):
                guess = {"Authorization": "Bearer nonsense"}
                assert (await guessing.get("api/status", headers=guess)).status_code == 401
            right = {"Authorization": f"Bearer {TOKEN}"}
            blocked = await guessing.get("api/status", headers=right)
            assert (blocked.status_code, blocked.json()["error"]["code"]) == (
                429,
                "too_many_failures",
            )
            assert int(blocked.headers["retry-after"]) <= 60
            assert (await other.get("api/status", headers=right)).status_code == 200
        assert f"client={ONE}" in site.daemon.log()


@on_each_proxy
async def test_page_of_another_site_is_refused(proxied: Start, program: Program) -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}
    with proxied(program) as site:
        for origin in ("https://evil.example", f"http://{NAME}:{site.port}", "null"):
            assert await site.refusal(ONE, **token, Origin=origin) == 403
            async with site.client() as client:
                assert (await log_in(client, origin)).status_code == 403


def host_line(value: str) -> Callable[[str], str]:
    """Changes nginx's example: what it sends as Host; nothing leaves the default."""

    def change(example: str) -> str:
        line = "    proxy_set_header Host              $http_host;\n"
        assert line in example
        return example.replace(line, f"    proxy_set_header Host {value};\n" if value else "")

    return change


def tells_host(example: str) -> str:
    """nginx's default Host, and X-Forwarded-Host beside it."""
    line = 'X-Forwarded-Host  "";'
    assert line in example
    return host_line("")(example).replace(line, "X-Forwarded-Host $http_host;")


@pytest.mark.parametrize(
    ("change", "other_port"),
    [
        (host_line("$http_host"), 403),
        (host_line("$host"), 200),
        (tells_host, 403),
        (host_line(""), 200),
    ],
    ids=["$http_host", "$host", "X-Forwarded-Host", "default"],
)
async def test_every_host_line_of_nginx_works(
    proxied: Start, change: Callable[[str], str], other_port: int
) -> None:
    def with_upstream(example: str) -> str:
        # nginx's default Host is what proxy_pass names
        return change(example).replace("http://aegisd;", "http://127.0.0.1:7460;")

    with proxied(NGINX, change=with_upstream) as site:
        async with site.client() as client:
            assert (await log_in(client, "https://evil.example")).status_code == 403
            neighbour = await log_in(client, f"https://{NAME}:1")
            assert neighbour.status_code == other_port
            as_browser = {"Origin": f"https://{NAME}:1", "Sec-Fetch-Site": "same-site"}
            body = {"token": TOKEN}
            refused = await client.post("api/session", json=body, headers=as_browser)
            assert refused.status_code == 403
            assert (await log_in(client, site.origin)).status_code == 200
            cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        async with site.websocket(Cookie=cookie, Origin=site.origin) as connection:
            await connection.get_message()


async def test_foreign_name_through_nginx_is_421(proxied: Start) -> None:
    with proxied(NGINX) as site:
        async with site.client() as client:
            answer = await client.get("", headers={"Host": "evil.example"})
            assert answer.status_code == 421
            claim = {"Host": "evil.example", "X-Forwarded-Host": NAME}
            assert (await client.get("", headers=claim)).status_code == 421


async def test_haproxys_default_check_finds_the_daemon_up(proxied: Start) -> None:
    haproxy, stats = PROGRAMS[2], free_port()

    def status() -> str:
        table = httpx.get(f"http://127.0.0.1:{stats}/haproxy?stats;csv", timeout=WAIT_SECONDS).text
        head, *rows = (line.split(",") for line in table.lstrip("# ").splitlines())
        (server,) = (row for row in rows if row[:2] == ["aegisd", "local"])
        return f"{server[head.index('status')]} {server[head.index('check_status')]}"

    with proxied(haproxy, stats=stats) as site:
        wait_until(lambda: status() == "UP L7OK", "HAProxy's check succeeds")
        site.daemon.stop()
        wait_until(lambda: status().startswith("DOWN"), "HAProxy's check fails")

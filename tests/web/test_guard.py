"""The guard by itself: requests whose addresses no test machine has, and a clock of the test's."""

import hashlib
from typing import Any

import pytest
from attrs import define, evolve

from aegisd.config.settings import Address, Http, Identifier, Network, Token
from aegisd.web.access import Guard
from aegisd.web.access.failures import MAX_FAILURES, MAX_NETWORKS, WINDOW_SECONDS, Failures
from aegisd.web.access.sessions import MAX_SESSIONS, SESSION_SECONDS
from aegisd.web.http import HttpError, Request

PROXY, CLIENT = "10.0.0.1", "198.51.100.7"
DIGESTS = {
    name: hashlib.sha256(f"{name}-token".encode()).hexdigest() for name in ("viewer", "admin")
}
TOKENS = (
    Token(Identifier("viewer"), DIGESTS["viewer"]),
    Token(Identifier("admin"), DIGESTS["admin"], "admin"),
)
VIEWER, ADMIN = {"authorization": "Bearer viewer-token"}, {"authorization": "Bearer admin-token"}
UPGRADE = {"upgrade": "websocket"}
JSON_TYPE = {"content_type": "application/json"}


@define
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def guard_of(*origins: str, clock: Clock | None = None, **keys: Any) -> Guard:
    keys.setdefault("trusted_proxies", (Network(PROXY),))
    keys.setdefault("allowed_hosts", ("x",))
    return Guard(Http(**keys), origins, clock or Clock())


def request(
    path: str = "/api/status",
    method: str = "GET",
    peer: str = "127.0.0.1",
    local: str = "127.0.0.1",
    **headers: str,
) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, {}, {"host": "x"} | named, peer, local)


def refused(what: Any, *args: Any) -> tuple[int, str]:
    with pytest.raises(HttpError) as caught:
        what(*args)
    return caught.value.status, caught.value.code


# names


def test_configured_listening_address_passes_and_another_address_is_421() -> None:
    guard = Guard(Http(listen=Address("10.1.2.3:80")), [])
    guard.check(request(host="10.1.2.3:80"))
    assert refused(guard.check, request(host="10.1.2.4:80")) == (421, "misdirected")


@pytest.mark.parametrize(
    ("local", "host"),
    [
        ("10.1.2.3", "10.1.2.3:7460"),
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8::1", "[2001:db8::1]:7460"),
    ],
)
def test_address_that_the_client_connected_to_passes(local: str, host: str) -> None:
    guard = Guard(Http(listen=Address("0.0.0.0:7460")), [])
    guard.check(request(host=host, local=local))


@pytest.mark.parametrize(
    ("peer", "host", "forwarded", "passes"),
    [
        (PROXY, "x", "x", True),
        (PROXY, "127.0.0.1:7460", "X:8443", True),
        (PROXY, "127.0.0.1:7460", "evil.example", False),
        (PROXY, "127.0.0.1:7460", "x, evil.example", False),
        (PROXY, "evil.example", "x", False),  # a rebound page can write the other header
        (PROXY, "127.0.0.1:7460", "x y", False),
        (CLIENT, "x", "evil.example", True),  # nobody believes it
        (CLIENT, "evil.example", "x", False),
    ],
)
def test_host_and_what_a_trusted_proxy_says_it_was_must_both_be_ours(
    peer: str, host: str, forwarded: str, passes: bool
) -> None:
    asked = request(peer=peer, host=host, x_forwarded_host=forwarded)
    if passes:
        guard_of().check(asked)
    else:
        assert refused(guard_of().check, asked) == (421, "misdirected")


@pytest.mark.parametrize(
    ("method", "path", "as_path"),
    [
        ("GET", "/healthz", "/healthz"),
        ("GET", "/readyz", "/readyz"),
        ("OPTIONS", "/readyz", "/readyz"),
        ("HEAD", "/readyz", "/readyz"),
        ("OPTIONS", "/", "/readyz"),
    ],
)
def test_health_check_needs_neither_host_nor_token(method: str, path: str, as_path: str) -> None:
    asked = Request(method, path, {}, {}, CLIENT, "10.0.0.9")
    checked = guard_of(tokens=TOKENS).check(asked)
    assert (checked.method, checked.path) == ("HEAD" if method == "HEAD" else "GET", as_path)
    assert not checked.admin


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/metrics"), ("OPTIONS", "/a")])
def test_anything_else_without_a_host_is_421(method: str, path: str) -> None:
    asked = Request(method, path, {}, {}, CLIENT, "10.0.0.9")
    assert refused(guard_of().check, asked) == (421, "misdirected")


@pytest.mark.parametrize(
    ("peer", "host", "origin", "passes"),
    [
        # nginx's default Host is the address that it connects to
        (PROXY, "127.0.0.1:7460", "https://x:8443", True),
        (PROXY, "localhost:7460", "https://x", True),
        (PROXY, "10.0.0.9:7460", "https://x", True),
        (PROXY, "127.0.0.1:7460", "https://evil.example", False),
        (PROXY, "127.0.0.1:80", "https://x", False),  # nginx itself, reached over loopback
        (PROXY, "127.0.0.1", "https://x", False),
        (PROXY, "x:7460", "https://localhost", False),
        (CLIENT, "127.0.0.1:7460", "https://x", False),
        (PROXY, "x", "https://x:8443", True),
        (CLIENT, "x", "https://x:8443", False),
    ],
)
def test_websocket_through_a_proxy_that_lost_the_host(
    peer: str, host: str, origin: str, passes: bool
) -> None:
    guard = guard_of()
    forwarded = {"x_forwarded_for": "192.0.2.1"}
    checked = guard.check(
        request("/ws/metrics", local="10.0.0.9", peer=peer, host=host, **forwarded)
    )
    asked = evolve(checked, headers=checked.headers | {"origin": origin, "upgrade": "websocket"})
    if passes:
        guard.check_websocket(asked)
    else:
        assert refused(guard.check_websocket, asked) == (403, "forbidden_origin")


def test_browser_beside_the_proxy_is_no_proxy() -> None:
    """It comes from the same address, and says nothing of a client: its Host is what it asked."""
    guard = guard_of(trusted_proxies=(Network("127.0.0.1"),))
    for host in ("127.0.0.1:7460", "localhost"):
        checked = guard.check(request(host=host, origin="http://localhost:3000", **UPGRADE))
        assert refused(guard.check_websocket, checked) == (403, "forbidden_origin")


# tokens


def test_token_gives_name_and_role() -> None:
    guard = guard_of(tokens=TOKENS)
    viewer, admin = guard.check(request(**VIEWER)), guard.check(request(**ADMIN))
    assert (viewer.name, viewer.admin, viewer.by_cookie) == ("viewer", False, False)
    assert (admin.name, admin.admin) == ("admin", True)


def test_without_tokens_everybody_is_an_admin_without_a_name() -> None:
    checked = guard_of().check(request(**VIEWER))
    assert (checked.name, checked.admin) == (None, True)


@pytest.mark.parametrize(
    "offered", ["aegisd, bearer.admin-token", "bearer.admin-token", "bearer.admin-token,aegisd"]
)
def test_websocket_subprotocol_may_carry_the_token(offered: str) -> None:
    guard = guard_of(tokens=TOKENS)
    assert guard.check(request(sec_websocket_protocol=offered)).name == "admin"
    wrong = request(sec_websocket_protocol="aegisd, bearer.nonsense")
    assert refused(guard.check, wrong) == (401, "unauthorized")


@pytest.mark.parametrize(
    "path", ["/", "/assets/js/feed.js", "/api/session", "/openapi.json", "/healthz", "/readyz"]
)
def test_open_path_needs_no_token(path: str) -> None:
    guard = guard_of(tokens=TOKENS)
    for asked in (request(path), request(path, authorization="Bearer nonsense")):
        checked = guard.check(asked)
        assert (checked.name, checked.admin) == (None, False)


@pytest.mark.parametrize(
    "path", ["/api/status", "/metrics", "/assets", "//", "/api/session/", "/healthz/"]
)
def test_other_path_needs_a_token(path: str) -> None:
    guard = guard_of(tokens=TOKENS)
    assert refused(guard.check, request(path)) == (401, "unauthorized")


def test_token_in_the_url_is_not_read() -> None:
    asked = Request.parse(
        "GET", "/api/status?token=admin-token&access_token=admin-token", {"host": "x"}, "::1", "::1"
    )
    assert refused(guard_of(tokens=TOKENS).check, asked) == (401, "unauthorized")


# failures


def wrong(peer: str = CLIENT, **headers: str) -> Request:
    return request(peer=peer, authorization="Bearer nonsense", **headers)


def test_after_ten_wrong_tokens_the_network_waits_with_right_ones_too() -> None:
    clock = Clock()
    guard = guard_of(tokens=TOKENS, clock=clock)
    for _ in range(MAX_FAILURES):
        assert refused(guard.check, wrong("2001:db8::1")) == (401, "unauthorized")
    clock.now = 0.5
    with pytest.raises(HttpError) as caught:
        guard.check(request(peer="2001:db8::ffff", **ADMIN))
    assert (caught.value.status, caught.value.code) == (429, "too_many_failures")
    assert caught.value.headers == {"Retry-After": "60"}
    assert guard.check(request(peer="2001:db8:0:1::1", **ADMIN)).admin
    clock.now = WINDOW_SECONDS
    assert guard.check(request(peer="2001:db8::1", **ADMIN)).admin


def test_open_path_tells_a_blocked_network_nothing_about_a_token() -> None:
    guard = guard_of(tokens=TOKENS)
    for _ in range(MAX_FAILURES):
        guard.check(request("/api/session", peer=CLIENT, authorization="Bearer nonsense"))
    assert guard.check(request("/api/session", peer=CLIENT, **ADMIN)).name is None
    assert refused(guard.check, request(peer=CLIENT, **ADMIN)) == (429, "too_many_failures")


def test_missing_token_and_unknown_session_are_no_failures() -> None:
    guard = guard_of(tokens=TOKENS)
    for _ in range(2 * MAX_FAILURES):
        assert refused(guard.check, request(peer=CLIENT, cookie="aegisd_session=x"))[0] == 401
        assert refused(guard.check, request(peer=CLIENT, authorization="Basic YTpi"))[0] == 401
    assert guard.check(request(peer=CLIENT, **ADMIN)).admin


def test_failures_behind_a_trusted_proxy_are_the_clients() -> None:
    guard = guard_of(tokens=TOKENS)
    for _ in range(MAX_FAILURES):
        refused(guard.check, wrong(PROXY, x_forwarded_for=CLIENT))
    through = {"peer": PROXY, "x_forwarded_for": CLIENT}
    assert refused(guard.check, request(**through, **ADMIN)) == (429, "too_many_failures")
    assert refused(guard.check, request(peer=CLIENT, **ADMIN)) == (429, "too_many_failures")
    assert guard.check(request(peer=PROXY, x_forwarded_for="198.51.100.8", **ADMIN)).admin


def test_forged_address_of_an_untrusted_peer_does_not_count() -> None:
    guard = guard_of(tokens=TOKENS)
    for n in range(MAX_FAILURES):
        refused(guard.check, wrong(CLIENT, x_forwarded_for=f"192.0.2.{n}"))
    assert refused(guard.check, wrong(CLIENT, x_forwarded_for="192.0.2.99"))[0] == 429


def test_failures_of_so_many_networks_are_remembered() -> None:
    failures = Failures()
    for n in range(MAX_NETWORKS + 5):
        for _ in range(MAX_FAILURES):
            failures.add(str(n), now=n / MAX_NETWORKS)
    waits = [failures.wait(str(n), now=2.0) for n in range(MAX_NETWORKS + 5)]
    assert not any(waits[:5])
    assert all(waits[5:])


# sessions


def logged_in(guard: Guard, token: str = "admin-token", **headers: str) -> dict[str, str]:
    """The cookie after a login."""
    _, cookie = guard.log_in(guard.check(request("/api/session", "POST", **headers)), token)
    return {"cookie": f"a=b; {cookie.partition(';')[0]}; c=d"}


def test_session_is_its_tokens_and_ends_with_logout() -> None:
    guard = guard_of(tokens=TOKENS)
    cookie = logged_in(guard)
    checked = guard.check(request(**cookie))
    assert (checked.name, checked.admin, checked.by_cookie) == ("admin", True, True)
    nobody, deleting = guard.log_out(guard.check(request("/api/session", "DELETE", **cookie)))
    assert (nobody.name, nobody.admin) == (None, False)
    assert "; Max-Age=0;" in deleting
    assert refused(guard.check, request(**cookie)) == (401, "unauthorized")


def test_session_expires_however_often_it_is_used() -> None:
    clock = Clock()
    guard = guard_of(tokens=TOKENS, clock=clock)
    cookie = logged_in(guard)
    for part in range(12):
        clock.now = part * SESSION_SECONDS / 12
        assert guard.check(request(**cookie)).admin
    clock.now = SESSION_SECONDS
    assert refused(guard.check, request(**cookie)) == (401, "unauthorized")


def test_session_ends_with_its_tokens_removal() -> None:
    from aegisd.web.access.sessions import Sessions  # noqa: PLC0415 - private elsewhere
    from aegisd.web.access.tokens import Tokens  # noqa: PLC0415

    sessions = Sessions()
    cookie = sessions.cookie(sessions.begin(TOKENS[1], 0.0), secure=False)
    headers = {"cookie": cookie.partition(";")[0]}
    assert sessions.token_of(headers, Tokens(TOKENS), 1.0) == TOKENS[1]
    assert sessions.token_of(headers, Tokens(TOKENS[:1]), 1.0) is None


def test_oldest_session_of_a_token_ends_beyond_the_limit() -> None:
    guard = guard_of(tokens=TOKENS)
    viewer = logged_in(guard, "viewer-token")
    cookies = [logged_in(guard) for _ in range(MAX_SESSIONS + 2)]
    assert refused(guard.check, request(**cookies[1])) == (401, "unauthorized")
    for cookie in (viewer, cookies[2], cookies[-1]):
        assert guard.check(request(**cookie)).name


def test_wrong_token_begins_no_session_and_counts() -> None:
    guard = guard_of(tokens=TOKENS)
    asked = guard.check(request("/api/session", "POST"))
    for _ in range(MAX_FAILURES):
        assert refused(guard.log_in, asked, "nonsense") == (401, "unauthorized")
    assert refused(guard.log_in, asked, "admin-token") == (429, "too_many_failures")


@pytest.mark.parametrize(
    ("peer", "headers", "secure"),
    [
        (CLIENT, {}, False),
        (CLIENT, {"origin": "http://x"}, False),
        (CLIENT, {"origin": "https://x"}, True),
        (CLIENT, {"x_forwarded_proto": "https"}, False),
        (PROXY, {"x_forwarded_proto": "https"}, True),
        (PROXY, {"x_forwarded_proto": "http"}, False),
    ],
)
def test_cookie_is_for_no_script_and_secure_over_https(
    peer: str, headers: dict[str, str], secure: bool
) -> None:
    guard = guard_of(tokens=TOKENS)
    asked = guard.check(request("/api/session", "POST", peer, **headers))
    _, cookie = guard.log_in(asked, "viewer-token")
    attributes = f"Max-Age={SESSION_SECONDS}; Path=/; HttpOnly; SameSite=Strict"
    assert cookie.partition("; ")[2] == attributes + ("; Secure" if secure else "")


def test_two_daemons_of_one_host_have_different_cookies() -> None:
    one, other = guard_of(tokens=TOKENS), guard_of(tokens=TOKENS)
    both = {"cookie": f"{logged_in(one)['cookie']}; {logged_in(other)['cookie']}"}
    assert one.check(request(**both)).name == other.check(request(**both)).name == "admin"


# writing


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        (ADMIN | JSON_TYPE, None),
        (ADMIN | {"content_type": "Application/JSON; charset=utf-8"}, None),
        (ADMIN | JSON_TYPE | {"origin": "https://x"}, None),
        (VIEWER | JSON_TYPE, (403, "forbidden")),
        (ADMIN, (415, "unsupported_media_type")),
        (ADMIN | {"content_type": "text/plain"}, (415, "unsupported_media_type")),
        (ADMIN | {"content_type": "application/jsonx"}, (415, "unsupported_media_type")),
        (ADMIN | JSON_TYPE | {"origin": "https://evil.example"}, (403, "forbidden_origin")),
        (ADMIN | JSON_TYPE | {"origin": "null"}, (403, "forbidden_origin")),
        (ADMIN | JSON_TYPE | {"origin": "https://other"}, (403, "forbidden_origin")),
        (ADMIN | JSON_TYPE | {"sec_fetch_site": "cross-site"}, (403, "forbidden_origin")),
    ],
)
def test_write_needs_admin_json_and_the_same_origin(
    headers: dict[str, str], refusal: tuple[int, str] | None
) -> None:
    guard = guard_of("https://other", tokens=TOKENS)
    checked = guard.check(request("/api/alerts/1/resolve", "POST", **headers))
    if refusal is None:
        guard.check_write(checked)
    else:
        assert refused(guard.check_write, checked) == refusal


def test_write_with_a_cookie_needs_an_origin() -> None:
    guard = guard_of(tokens=TOKENS)
    cookie = logged_in(guard)
    bare = guard.check(request("/api/alerts/1/resolve", "POST", **cookie, **JSON_TYPE))
    assert refused(guard.check_write, bare) == (403, "forbidden_origin")
    with_origin = request("/a", "POST", **cookie, **JSON_TYPE, origin="https://x")
    guard.check_write(guard.check(with_origin))


def test_login_needs_json_and_the_same_origin_but_no_admin() -> None:
    guard = guard_of(tokens=TOKENS)
    guard.check_write(guard.check(request("/api/session", "POST", **JSON_TYPE)))
    form = request("/api/session", "POST", content_type="application/x-www-form-urlencoded")
    assert refused(guard.check_write, guard.check(form))[0] == 415
    foreign = request("/api/session", "POST", **JSON_TYPE, origin="https://evil.example")
    assert refused(guard.check_write, guard.check(foreign)) == (403, "forbidden_origin")


# the WebSocket


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        (UPGRADE, True),
        (UPGRADE | {"origin": "http://x"}, True),
        (UPGRADE | {"origin": "https://grafana.example"}, True),
        (UPGRADE | {"origin": "HTTPS://Grafana.example:443/"}, True),
        (UPGRADE | {"origin": "http://grafana.example"}, False),
        (UPGRADE | {"origin": "https://evil.example"}, False),
        (UPGRADE | {"origin": "null"}, False),
        (UPGRADE | {"origin": "http://x", "sec_fetch_site": "cross-site"}, False),
        (UPGRADE | {"referer": "https://evil.example/"}, True),  # only an Origin counts here
        ({}, True),
        ({"referer": "http://x/aegisd/"}, True),
        ({"referer": "http://x:3000/"}, False),
        ({"origin": "http://x:3000"}, False),
    ],
)
def test_websocket_is_for_this_origin_and_allowed_ones(
    headers: dict[str, str], passes: bool
) -> None:
    guard = guard_of("https://grafana.example")
    checked = guard.check(request("/ws/metrics", **headers))
    if passes:
        guard.check_websocket(checked)
    else:
        assert refused(guard.check_websocket, checked) == (403, "forbidden_origin")


def test_websocket_with_a_cookie_needs_an_origin() -> None:
    guard = guard_of(tokens=TOKENS)
    cookie = logged_in(guard)
    bare = guard.check(request("/ws/metrics", **cookie, **UPGRADE))
    assert refused(guard.check_websocket, bare) == (403, "forbidden_origin")
    guard.check_websocket(guard.check(request(**cookie, **UPGRADE, origin="http://x")))
    guard.check_websocket(guard.check(request("/ws/metrics", **cookie)))  # a GET for the reason

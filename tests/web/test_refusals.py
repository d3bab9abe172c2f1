"""Requests that are refused: status, code and message."""

import hashlib
import json

import pytest
from web.streams import wait_until

RANGES = "5m 15m 1h 6h 24h 7d 30d"
HISTORY = (
    *("overview", "request-rate", "latency", "status-distribution", "top-endpoints"),
    "rate-limits",
)
IN_MEMORY = (
    *("/api/metrics/realtime", "/api/metrics/backends", "/api/ingest", "/api/status"),
    *("/healthz", "/readyz", "/metrics", "/"),
)
TOKENS = f"""
[http]
tokens = [
    {{ name = "admin", sha256 = "{hashlib.sha256(b"mighty").hexdigest()}", role = "admin" }},
    {{ name = "a", sha256 = "{hashlib.sha256(b"first").hexdigest()}" }},
    {{ name = "b", sha256 = "{hashlib.sha256("zwölf".encode()).hexdigest().upper()}" }},
]
"""


def error_of(response) -> dict[str, str]:
    body = response.json()
    assert response.headers["content-type"] == "application/json"
    assert body.keys() == {"success", "error"}
    assert body["success"] is False
    assert body["error"].keys() == {"code", "message"}
    return body["error"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("range=2h", f"range takes one of {RANGES}, not '2h'"),
        ("range=", f"range takes one of {RANGES}, not ''"),
        ("limit=0", "limit takes a whole number from 1 to 1000, not '0'"),
        ("limit=1001", "limit takes a whole number from 1 to 1000, not '1001'"),
        ("limit=-1", "limit takes a whole number from 1 to 1000, not '-1'"),
        ("limit=ten", "limit takes a whole number from 1 to 1000, not 'ten'"),
        ("limit=1.5", "limit takes a whole number from 1 to 1000, not '1.5'"),
        ("limit=%D9%A3", "limit takes a whole number from 1 to 1000, not '٣'"),
        ("limit=" + "9" * 5000, "limit takes a whole number from 1 to 1000, not '9"),
        ("from=now", "from takes a time (RFC 3339) or seconds since 1970, not 'now'"),
        ("from=nan", "from takes a time (RFC 3339) or seconds since 1970, not 'nan'"),
        ("from=inf", "from takes a time (RFC 3339) or seconds since 1970, not 'inf'"),
        ("from=-1", "from takes a time (RFC 3339) or seconds since 1970, not '-1'"),
        ("from=2026-11-23T08:14:00", "from takes a time (RFC 3339) or seconds since 1970"),
        ("from=1969-12-31T23:59:59Z", "from takes a time (RFC 3339) or seconds since 1970"),
        ("from=0&to=1e300", "to takes a time (RFC 3339) or seconds since 1970, not '1e300'"),
        ("from=0&to=9999-12-31T23:59:59-01:00", "to takes a time (RFC 3339) or seconds since"),
        ("from=2&to=1", "from takes a time before to"),
        ("from=1&to=1", "from takes a time before to"),
        ("from=9999999999", "from takes a time before to"),
        ("to=1", "from and to stand together, without range; to may be left out"),
        ("from=1&range=1h", "from and to stand together, without range; to may be left out"),
        ("node=%00", "node takes a node's name, without NUL"),
        ("&".join(f"a{i}=1" for i in range(21)), "Max number of fields exceeded"),
    ],
)
async def test_wrong_parameter_is_400_with_its_name_and_what_it_takes(serving, query, message):
    async with serving() as web:
        response = await web.get(f"/api/metrics/top-endpoints?{query}")
    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "bad_request"
    assert error["message"].startswith(message)


async def test_wrong_parameter_is_400_while_the_database_is_away(serving):
    async with serving() as web:
        for path in HISTORY:
            response = await web.get(f"/api/metrics/{path}?range=2h")
            assert response.status_code == 400
        assert (await web.get("/api/alerts?status=open")).status_code == 400


async def test_unknown_alert_status_is_400(serving):
    async with serving() as web:
        error = error_of(await web.get("/api/alerts?status=open"))
    assert error["message"] == "status takes one of active acknowledged resolved, not 'open'"


async def test_without_a_database_history_is_503_and_memory_answers(serving):
    async with serving() as web:
        for path in [*(f"/api/metrics/{name}" for name in HISTORY), "/api/alerts"]:
            response = await web.get(path)
            assert response.status_code == 503
            error = error_of(response)
            assert error["code"] == "database_unavailable"
            assert error["message"]
        for path in IN_MEMORY:
            assert (await web.get(path)).status_code == 200
        status = await web.data("/api/status")
        ready = await web.data("/readyz")
    assert status["database"]["connected"] is False
    assert ready["status"] == "degraded"
    assert ready["degradations"] == ["the database can't be used: FileNotFoundError"]
    assert status["degradations"] == [
        f"the database can't be used: {status['database']['lastError']}"
    ]


def has_database_error(web) -> bool:
    return web.daemon.storage.writer.figures.last_error is not None


async def test_postgres_error_text_is_shown_to_admins_only(serving, dsn):
    """Error texts of Postgres name addresses and roles."""
    stranger = dsn.replace("//aegisd:", "//stranger:")
    async with serving(TOKENS, stranger, wait=False) as web:
        await wait_until(lambda: has_database_error(web))
        viewer = {"Authorization": "Bearer first"}
        answers = [
            await web.get("/healthz"),
            await web.get("/readyz"),
            *[
                await web.get(path, **viewer)
                for path in ("/readyz", "/api/status", "/api/metrics/overview", "/api/alerts")
            ],
        ]
        admins = (await web.get("/api/status", Authorization="Bearer mighty")).json()["data"]
    for answer in answers:
        assert "stranger" not in answer.text
    kind = "InvalidPasswordError"
    assert answers[1].json()["data"]["degradations"] == [f"the database can't be used: {kind}"]
    assert answers[3].json()["data"]["database"]["lastError"] == kind
    assert error_of(answers[4])["message"] == f"the database can't be used: {kind}"
    assert '"stranger"' in admins["database"]["lastError"]
    assert '"stranger"' in admins["degradations"][0]


async def test_disk_error_text_is_shown_to_admins_only(serving):
    secret = "[Errno 28] No space left on device: '/var/lib/secret'"
    async with serving(TOKENS) as web:
        web.daemon.storage.sync.error = web.daemon.storage.backlog.figures.error = secret
        texts = [
            (await web.get("/readyz")).text,
            (await web.get("/api/status", Authorization="Bearer first")).text,
        ]
        admins = (await web.get("/api/status", Authorization="Bearer mighty")).text
    for text in texts:
        assert "the journal can't be written" in text
        assert "the journal can't be brought to the disk" in text
        assert "/var/lib/secret" not in text
    assert admins.count("/var/lib/secret") == 3


async def test_without_tokens_loopback_sees_error_texts(serving):
    async with serving() as web:
        await wait_until(lambda: has_database_error(web))
        assert "No such file" in (await web.get("/api/status")).text


async def test_readyz_is_503_while_the_daemon_stops(serving):
    async with serving() as web:
        web.daemon.stop()
        response = await web.get("/readyz")
        assert (await web.get("/healthz")).status_code == 200
    assert (response.status_code, error_of(response)["code"]) == (503, "stopping")


@pytest.mark.parametrize(
    "path", ["/nothing", "/api", "/api/metrics", "/api/ingest/", "/assets/..%2fapp.js", "/%FF"]
)
async def test_unknown_path_is_404(serving, path):
    async with serving() as web:
        response = await web.get(path)
    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_method_is_405_with_allow_header(serving, method):
    async with serving() as web:
        for path in ("/", "/healthz", "/api/metrics/realtime", "/assets/js/feed.js"):
            response = await web.client.request(method, path, content=b"body")
            assert response.status_code == 405
            assert response.headers["allow"] == "GET, HEAD, OPTIONS"
            assert error_of(response)["code"] == "method_not_allowed"


async def test_head_has_the_headers_of_get_and_no_body(serving):
    async with serving() as web:
        for path in ("/", "/healthz", "/assets/js/feed.js", "/nothing"):
            got, head = await web.get(path), await web.client.head(path)
            assert head.status_code == got.status_code
            assert head.headers == got.headers
            assert int(head.headers["content-length"]) > 0
            assert head.content == b""


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:7460", "127.0.0.1.evil.example", "127.0.0.1@evil.example"),
        *("", "localhost:80x", "[::1", "[::1]evil", "10.0.0.1", "127.0.0.1 evil"),
    ],
)
async def test_foreign_host_is_421(serving, host):
    async with serving() as web:
        for path in ("/", "/api/metrics/realtime", "/nothing"):
            response = await web.get(path, Host=host)
            assert (response.status_code, error_of(response)["code"]) == (421, "misdirected")


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:7460", "localhost."),
        *("metrics.example", "Metrics.Example:443"),
    ],
)
async def test_loopback_names_and_allowed_hosts_pass(serving, host):
    async with serving('[http]\nallowed_hosts = ["METRICS.example"]') as web:
        assert (await web.get("/healthz", Host=host)).status_code == 200


async def test_request_without_a_valid_token_is_401(serving):
    async with serving(TOKENS) as web:
        for given in ("", "Bearer", "Bearer second", "Basic first", "first", "Bearer first x"):
            response = await web.get("/api/status", Authorization=given)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert error_of(response)["code"] == "unauthorized"
        for path in ("/metrics", "/nothing", "/api/alerts", "/ws/metrics"):
            assert (await web.get(path)).status_code == 401
        for given in ("Bearer first", "bearer  first"):
            assert (await web.get("/api/status", Authorization=given)).status_code == 200
        beyond_ascii = [("Authorization", "Bearer zwölf".encode())]
        assert (await web.client.get("/metrics", headers=beyond_ascii)).status_code == 200


async def test_health_and_what_a_login_needs_need_no_token(serving):
    async with serving(TOKENS) as web:
        assert await web.data("/healthz") == {"status": "ok"}
        for path in ("/readyz", "/", "/assets/js/feed.js", "/api/session"):
            assert (await web.get(path)).status_code == 200


async def test_body_over_the_limit_is_413_and_a_smaller_one_is_dropped(serving):
    async with serving() as web:
        small = await web.client.request("GET", "/healthz", content=b"x" * 65_536)
        large = await web.client.request("GET", "/healthz", content=b"x" * 3_000_000)

        async def chunks():
            for _ in range(100):
                yield b"x" * 1000

        chunked = await web.client.request("GET", "/healthz", content=chunks())
    assert small.status_code == 200
    assert (large.status_code, error_of(large)["code"]) == (413, "too_large")
    assert (chunked.status_code, error_of(chunked)["code"]) == (413, "too_large")


async def test_every_answer_forbids_sniffing_framing_and_to_be_kept_without_asking(serving):
    async with serving() as web:
        for path, kept in (("/", "no-cache"), ("/healthz", "no-store"), ("/nothing", "no-store")):
            headers = (await web.get(path)).headers
            assert headers["cache-control"] == kept
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "strict-transport-security" not in headers


async def test_realtime_answer_has_no_nan(serving):
    async with serving() as web:
        json.loads((await web.get("/api/metrics/realtime")).text, parse_constant=pytest.fail)

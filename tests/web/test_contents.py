"""What goes over the wire: ETags, gzip, and answers for pages of other sites."""

import gzip

import pytest
from web.streams import parse_answers
from web.test_exchange import head
from web.test_refusals import TOKENS

from aegisd.web.http import Fitting, Request, Response, contents

ASSET = "/assets/js/feed.js"
IDENTITY = {"Accept-Encoding": "identity"}
CORS = '[http]\ncors_origins = ["https://wiki.example.org"]\n'
WIKI = {"Origin": "https://wiki.example.org"}
PREFLIGHT = {"Access-Control-Request-Method": "GET"}


@pytest.mark.parametrize("path", ["/", ASSET])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_what_the_client_has_is_304_without_content(serving, path, coding):
    async with serving() as web:
        whole = await web.get(path, **{"Accept-Encoding": coding})
        tag = whole.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await web.get(path, **{"Accept-Encoding": coding, "If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert not again.headers.keys() & {"content-length", "content-encoding"}
        for known in ('"other"', tag[1:-1], ""):
            again = await web.get(path, **{"Accept-Encoding": coding, "If-None-Match": known})
            assert again.content == whole.content
    assert whole.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
    assert not tag.startswith("W/")


async def test_figures_are_not_kept_by_the_client(serving):
    async with serving() as web:
        response = await web.get("/api/metrics/realtime")
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers


async def test_compressed_form_is_the_same_content_under_another_etag(serving):
    async with serving() as web:
        plain = await web.get(ASSET, **IDENTITY)
        packed = await web.get(ASSET, **{"Accept-Encoding": "gzip"})
        bare = parse_answers(await web.raw(head("Connection: close", path=ASSET)), "GET")[0]
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert packed.content == plain.content == bare[2]
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("br, deflate", False),
        ("gzipped", False),
        ("gzip;q=much", False),
        (",;,=;q", False),
        ("", False),
    ],
)
async def test_gzip_is_sent_where_accept_encoding_takes_it(serving, header, taken):
    async with serving() as web:
        response = await web.get(ASSET, **{"Accept-Encoding": header})
    assert response.status_code == 200
    assert (response.headers.get("content-encoding") == "gzip") is taken


async def test_small_answer_is_sent_as_it_is_and_a_large_one_compressed(serving):
    async with serving() as web:
        small = await web.get("/healthz", **{"Accept-Encoding": "gzip"})
        large = await web.get("/metrics", **{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert "aegisd_http_refused_total" in large.text


async def test_head_has_the_length_of_the_compressed_form(serving):
    async with serving() as web:
        took = {"Accept-Encoding": "gzip"}
        got = await web.get(ASSET, **took)
        asked = await web.client.head(ASSET, headers=took)
    assert asked.headers == got.headers


async def test_very_large_answer_is_compressed_in_a_thread(monkeypatch):
    monkeypatch.setattr(contents, "THREAD_ABOVE", 2000)
    request = Request("GET", "/", {}, {"accept-encoding": "gzip"}, "::1", "::1")
    for length in (1500, 5000):
        response = await Fitting().fit(request, Response(200, b"x" * length))
        assert gzip.decompress(response.body) == b"x" * length


async def test_page_of_a_configured_site_may_read(serving):
    async with serving(CORS) as web:
        response = await web.get("/api/status", **WIKI)
        refused = await web.get("/api/metrics/latency?range=2h", **WIKI)
    for answer in (response, refused):
        assert answer.headers["access-control-allow-origin"] == WIKI["Origin"]
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://wiki.example.org.evil.example",
        "http://wiki.example.org",
        "https://wiki.example.org:8443",
        "null",
    ],
)
async def test_page_of_another_site_may_not_read(serving, origin):
    async with serving(CORS) as web:
        answers = [
            await web.get("/api/status", Origin=origin),
            await web.client.options("/api/status", headers={"Origin": origin, **PREFLIGHT}),
        ]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "Origin" in answer.headers["vary"]


async def test_without_configured_sites_no_page_may_read(serving):
    async with serving() as web:
        response = await web.get("/api/status", **WIKI)
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert "Origin" not in response.headers.get("vary", "")


async def test_preflight_is_answered_without_a_token_and_allows_get_with_a_bearer_token(serving):
    async with serving(TOKENS + CORS.removeprefix("[http]\n")) as web:
        for method in ("GET", "POST"):
            asked = WIKI | {"Access-Control-Request-Method": method}
            response = await web.client.options("/api/status", headers=asked)
            assert response.status_code == 204
            assert response.headers["access-control-allow-origin"] == WIKI["Origin"]
            assert response.headers["access-control-allow-methods"] == "GET, HEAD"
            assert response.headers["access-control-allow-headers"] == "Authorization"
        unauthorized = await web.get("/api/status", **WIKI)
        read = await web.get("/api/status", Authorization="Bearer first", **WIKI)
    assert (unauthorized.status_code, read.status_code) == (401, 200)
    assert unauthorized.headers["access-control-allow-origin"] == WIKI["Origin"]

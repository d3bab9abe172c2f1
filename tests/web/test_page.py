"""The dashboard page and its assets."""

import re
from urllib.parse import quote

import pytest

META = '<meta name="aegisd-websocket" content="{}">'


async def test_page_loads_only_assets_of_this_service_by_relative_addresses(serving):
    async with serving() as web:
        page = (await web.get("/")).text
        links = re.findall(r'(?:src|href)="(assets/[^"]*)"', page)
        assert "assets/js/main.js" in links
        assert "assets/css/base.css" in links
        own = [link for link in links if not link.startswith("assets/vendor/")]
        for link in own:
            assert (await web.get(f"/{link}")).status_code == 200, link
    assert not re.search(r'(?:src|href)="(?:[a-z]+:)?/', page.replace('href="data:', ""))
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page)


async def test_every_module_of_the_page_is_loaded_beforehand(serving):
    async with serving() as web:
        page = (await web.get("/")).text
        wanted, seen = ["js/main.js"], set()
        while wanted:
            module = wanted.pop()
            if module in seen:
                continue
            seen.add(module)
            source = (await web.get(f"/assets/{module}")).text
            folder = module.rpartition("/")[0]
            for name in re.findall(r'from "(\.[^"]+)"', source):
                parts = f"{folder}/{name}".replace("/./", "/").split("/")
                while ".." in parts:
                    up = parts.index("..")
                    del parts[up - 1 : up + 1]
                wanted.append("/".join(parts))
    assert len(seen) > 5
    for module in seen:
        assert f'<link rel="modulepreload" href="assets/{module}">' in page, module


async def test_page_policy_allows_only_its_own_scripts(serving):
    async with serving() as web:
        page = await web.get("/")
        script = (await web.get("/assets/js/main.js")).headers["content-type"]
        style = (await web.get("/assets/css/base.css")).headers["content-type"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    directives = dict(part.split(" ", 1) for part in policy.split("; ") if " " in part)
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy
    assert script == "text/javascript; charset=utf-8"
    assert style == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "package.json",
        "../answers/page.py",
        "js/../../answers/page.py",
        "js/",
        "js",
        "js//main.js",
        "./js/main.js",
        "/etc/passwd",
        "js/main.js\0",
    ],
)
async def test_nothing_but_assets_is_given_out(serving, name):
    async with serving() as web:
        answers = [await web.raw(_get(f"/assets/{name}")), await web.raw(_get(quote(f"/{name}")))]
    for answer in answers:
        assert answer.split(b" ", 2)[1] in (b"400", b"404"), answer


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ("", "ws/metrics"),
        ('path = "/live/~a"', "live/~a"),
        ("enabled = false", ""),
    ],
)
async def test_page_has_the_configured_websocket_path_relative_to_its_own(serving, settings, path):
    async with serving(f"[dashboard.websocket]\n{settings}") as web:
        page = (await web.get("/")).text
    assert page.count(META.format(path)) == 1
    assert page.count('name="aegisd-websocket"') == 1

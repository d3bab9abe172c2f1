"""The dashboard page and its assets."""

import re

import pytest

META = '<meta name="aegisd-websocket" content="{}">'


async def test_page_loads_only_assets_of_this_service(serving):
    async with serving() as web:
        page = await web.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        links = re.findall(r'(?:src|href)="(/[^"]*)"', page.text)
        assert "/assets/app.js" in links
        for link in links:
            assert (await web.get(link)).status_code == 200
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=", page.text)


async def test_page_policy_allows_only_its_own_scripts(serving):
    async with serving() as web:
        policy = (await web.get("/")).headers["content-security-policy"]
        script = (await web.get("/assets/app.js")).headers["content-type"]
    directives = dict(part.split(" ", 1) for part in policy.split("; ") if " " in part)
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy
    assert script == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ("", "/ws/metrics"),
        ('path = "/live/~a"', "/live/~a"),
        ("enabled = false", ""),
    ],
)
async def test_page_has_the_configured_websocket_path(serving, settings, path):
    async with serving(f"[dashboard.websocket]\n{settings}") as web:
        page = (await web.get("/")).text
    assert page.count(META.format(path)) == 1
    assert page.count('name="aegisd-websocket"') == 1

"""The page for everybody: an axe-core run, the keyboard, a phone, no jumping layout."""

import shutil

import pytest
from browser.accessibility import fetch_axe, grave_findings
from browser.chromium import MakePage
from browser.daemons import FAILURE, GUARDED, REQUEST, MakeDaemon
from playwright.sync_api import Page, expect
from support import Daemon

PHONE = {"viewport": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to fetch axe-core with")
    return fetch_axe(tmp_path_factory.mktemp("axe"))


@pytest.fixture
def full(quick_daemon: Daemon) -> Daemon:
    """A daemon with something in each panel, an alert included."""
    quick_daemon.emit([FAILURE | {"backend": "b"}] * 20, [REQUEST | {"path": "/x"}] * 5)
    for status in ("healthy", "unhealthy"):
        quick_daemon.emit({"kind": "backend", "backend_name": status, "status": status})
    quick_daemon.emit([{"kind": "rate_limit", "key": "k", "allowed": False}] * 3, b"\xc1")
    quick_daemon.wait_for_rows(30)
    return quick_daemon


def show(page: Page, daemon: Daemon) -> None:
    page.goto(daemon.url)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()
    expect(page.locator("#endpoints tbody tr")).not_to_have_count(0)
    expect(page.locator("#rate-limits tbody tr")).not_to_have_count(0)
    expect(page.locator("#ingest .findings li")).not_to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_full_page_has_no_grave_finding(
    full: Daemon, make_page: MakePage, axe: str, scheme: str
) -> None:
    page = make_page(color_scheme=scheme)
    show(page, full)
    page.get_by_text("Listeners, rejects and sources").click()
    assert grave_findings(page, axe) == []
    page.get_by_role("button", name="Silence…").click()
    assert grave_findings(page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_login_has_no_grave_finding(
    make_quick_daemon: MakeDaemon, make_page: MakePage, axe: str, scheme: str
) -> None:
    page = make_page(color_scheme=scheme)
    page.goto(make_quick_daemon(http=GUARDED).url)
    expect(page.get_by_label("Token")).to_be_visible()
    assert grave_findings(page, axe) == []


def test_page_fits_a_phone(full: Daemon, make_page: MakePage) -> None:
    page = make_page(**PHONE)
    show(page, full)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]


def test_silence_is_ended_by_a_button_of_one_line_on_a_phone(
    full: Daemon, make_page: MakePage
) -> None:
    page = make_page(**PHONE)
    show(page, full)
    page.get_by_role("button", name="Silence…").click()
    form = page.get_by_role("dialog", name="Silence")
    form.get_by_label("Why").fill("a long word: " + "w" * 150)
    form.get_by_role("button", name="Silence").click()
    box = page.get_by_role("button", name="End the silence").bounding_box()
    assert box is not None
    assert box["width"] > box["height"]


def test_updates_move_nothing_up_or_down(full: Daemon, page: Page) -> None:
    show(page, full)
    page.evaluate(
        """() => { window.moved = []; new PerformanceObserver((list) => {
          for (const { sources } of list.getEntries())
            for (const { node, previousRect, currentRect } of sources) // a number may grow sideways
              if (previousRect.top !== currentRect.top) window.moved.push(node?.textContent ?? '?');
        }).observe({ type: 'layout-shift' }); }"""
    )
    count = page.locator("#endpoints tr[data-path='/x'] [data-cell=requestCount]")
    full.emit([REQUEST | {"path": "/x"}] * 1000)
    expect(count).to_have_text("1,005")
    assert page.evaluate("window.moved") == []


def test_endpoint_is_chosen_with_the_keyboard_alone(full: Daemon, page: Page) -> None:
    show(page, full)
    page.get_by_label("Search endpoints").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('button.link')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#endpoints tr[data-chosen=true]")).to_have_count(1)

"""Endpoints, backends, rate limits and ingest on the page, names from outside among them."""

import pytest
from browser.daemons import REQUEST
from playwright.sync_api import Page, expect
from support import Daemon

LONG = "/" + "long-path-" * 199
HOSTILE = {
    "/<img src=x onerror=document.title='taken'>": "/<img src=x onerror=document.title='taken'>",
    "/\u202egnp.exe": "/⟨U+202E⟩gnp.exe",
    "/\u2066a\u2069": "/⟨U+2066⟩a⟨U+2069⟩",
    "/עברית": "/עברית",
}
MANY = 300


def texts(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


@pytest.fixture
def busy(quick_daemon: Daemon) -> Daemon:
    """A daemon that had requests to three endpoints."""
    for path, number, duration in (("/a", 30, 5), ("/b", 20, 500), ("/c", 10, 50)):
        quick_daemon.emit([REQUEST | {"path": path, "duration_ms": duration}] * number)
    quick_daemon.wait_for_rows(60)
    return quick_daemon


def test_endpoints_are_sorted_by_a_click_and_the_address_keeps_it(busy: Daemon, page: Page) -> None:
    page.goto(busy.url)
    paths = "#endpoints tbody [data-cell=path] button.link"
    expect(page.locator(paths)).to_have_text(["/a", "/b", "/c"])
    page.get_by_role("button", name="p95").click()
    expect(page.locator(paths)).to_have_text(["/b", "/c", "/a"])
    header = page.get_by_role("columnheader", name="p95")
    expect(header).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="p95").click()
    expect(page.locator(paths)).to_have_text(["/a", "/c", "/b"])
    page.reload()
    expect(page.locator(paths)).to_have_text(["/a", "/c", "/b"])
    page.go_back()
    expect(page.locator(paths)).to_have_text(["/b", "/c", "/a"])


def test_endpoints_are_searched_and_the_address_keeps_it(busy: Daemon, page: Page) -> None:
    page.goto(busy.url)
    page.get_by_label("Search endpoints").fill("get /B")
    paths = page.locator("#endpoints tbody [data-cell=path] button.link")
    expect(paths).to_have_text(["/b"])
    page.reload()
    expect(paths).to_have_text(["/b"])
    page.get_by_label("Search endpoints").fill("nothing")
    expect(page.locator("#endpoints")).to_contain_text("No endpoint has “nothing”.")


def test_chosen_endpoint_is_in_the_address_and_marked(busy: Daemon, page: Page) -> None:
    page.goto(busy.url)
    page.get_by_role("button", name="/b", exact=True).click()
    expect(page.locator("#endpoints tr[data-path='/b']")).to_have_attribute("data-chosen", "true")
    assert "path=%2Fb" in page.url


def test_hostile_paths_are_shown_as_text_that_reorders_nothing(
    quick_daemon: Daemon, page: Page
) -> None:
    quick_daemon.emit([REQUEST | {"path": path, "route": path} for path in HOSTILE])
    quick_daemon.emit(REQUEST | {"path": LONG, "route": LONG})
    quick_daemon.wait_for_rows(len(HOSTILE) + 1)
    page.goto(quick_daemon.url)
    paths = page.locator("#endpoints tbody [data-cell=path] bdi")
    expect(paths).to_have_count(len(HOSTILE) + 1)
    assert set(HOSTILE.values()) < set(texts(page, "#endpoints tbody [data-cell=path] bdi"))
    assert page.title() == "aegisd"

    more = page.get_by_role("button", name="characters")
    expect(more).to_have_attribute("aria-expanded", "false")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    more.click()
    expect(paths.filter(has_text=LONG)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_three_hundred_backends_fold_and_filter(quick_daemon: Daemon, page: Page) -> None:
    report = {"kind": "backend", "status": "healthy", "response_time_ms": 3.5}
    names = [f"node-{number:03}" for number in range(MANY)]
    quick_daemon.emit([report | {"backend_name": name} for name in names])
    quick_daemon.emit(report | {"backend_name": "node-200", "status": "unhealthy"})
    quick_daemon.emit(report | {"backend_name": "node-100", "circuit_breaker": "open"})
    page.goto(quick_daemon.url)
    rows = page.locator("#backends tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.nth(0)).to_have_attribute("data-backend", "node-200")
    expect(rows.nth(1)).to_have_attribute("data-backend", "node-100")
    expect(page.locator("#backends-title")).to_contain_text("1 unhealthy, 299 healthy")
    page.get_by_role("button", name="Show all 300").click()
    expect(rows).to_have_count(MANY)
    page.get_by_label("Search backends").fill("29")
    expect(rows).to_have_count(13)
    page.get_by_label("Search backends").fill("")
    page.get_by_role("button", name="troubled").click()
    expect(rows).to_have_count(2)
    page.reload()
    expect(rows).to_have_count(2)


def test_backend_that_only_requests_name_is_observed(quick_daemon: Daemon, page: Page) -> None:
    quick_daemon.emit([REQUEST | {"backend": "users-1"}] * 20)
    page.goto(quick_daemon.url)
    row = page.locator("#backends tr[data-backend=users-1]")
    expect(row).to_have_attribute("data-status", "observed")
    expect(row.locator("[data-cell=requestCount]")).to_have_text("20")
    expect(row.locator("[data-cell=p95Latency]")).to_contain_text("ms")


def test_rate_limits_show_what_was_denied_and_to_whom(quick_daemon: Daemon, page: Page) -> None:
    decision = {"kind": "rate_limit", "key": "client <b>", "allowed": True}
    quick_daemon.emit([decision] * 3, decision | {"allowed": False})
    quick_daemon.wait_for_rows(4)
    page.goto(quick_daemon.url)
    panel = page.locator("#rate-limits")
    expect(panel.locator("dd")).to_have_text(["4", "1", "25.00 %"])
    expect(panel.locator("tbody th")).to_have_text("client <b>")


def test_ingest_is_one_line_where_all_is_well_and_names_what_is_not(
    quick_daemon: Daemon, page: Page
) -> None:
    page.goto(quick_daemon.url)
    panel = page.locator("#ingest")
    expect(panel.locator(".findings")).to_contain_text("all well")
    quick_daemon.emit(b"\xc1")
    quick_daemon.emit({"v": 1, "source": "gateway <b>", "seq": 0, "events": [REQUEST]})
    quick_daemon.emit({"v": 1, "source": "gateway <b>", "seq": 5, "events": [REQUEST]})
    expect(panel.locator(".findings")).to_contain_text("1 rejected since the start")
    expect(panel.locator(".findings")).to_contain_text("4 lost on the way")
    panel.get_by_text("Listeners, rejects and sources").click()
    expect(panel.get_by_role("table", name="Recent rejects")).to_contain_text("malformed")
    sources = panel.get_by_role("table", name="Sources")
    expect(sources.locator("tbody th")).to_have_text("gateway <b>")

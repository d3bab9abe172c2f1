"""The page in a real browser, with the real daemon behind it."""

from browser.daemons import FAILURE, REQUEST
from playwright.sync_api import Page, expect
from support import Daemon

HOSTILE = "/<img src=x onerror=document.title='taken'>"


def test_page_shows_new_events(quick_daemon: Daemon, page: Page) -> None:
    page.goto(quick_daemon.url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#first-event")).to_be_visible()

    quick_daemon.emit([REQUEST] * 20, REQUEST | {"path": HOSTILE})
    quick_daemon.emit({"kind": "backend", "backend_name": "users-1", "status": "unhealthy"})
    expect(page.locator("[data-field=totalRequests]")).to_have_text("21")
    expect(page.locator("#first-event")).to_be_hidden()
    backend = page.locator("#backends tbody tr[data-backend=users-1]")
    expect(backend).to_have_attribute("data-status", "unhealthy")
    paths = page.locator("#endpoints tbody [data-cell=path]")
    expect(paths.filter(has_text="/users/{id}")).to_be_visible()
    expect(paths.filter(has_text="<img src")).to_be_visible()
    assert page.title() != "taken"

    quick_daemon.emit([FAILURE] * 20)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()

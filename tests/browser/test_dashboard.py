"""The page in a real browser, with the real daemon behind it."""

from browser.chromium import Complaints
from playwright.sync_api import Page, expect
from support import Daemon

HOSTILE = "/<img src=x onerror=document.title='taken'>"
REQUEST = {"method": "GET", "path": "/users/1", "status_code": 200, "duration_ms": 12.5}


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

    quick_daemon.emit([REQUEST | {"status_code": 500}] * 20)
    expect(page.locator("#alerts tbody tr[data-status=active]")).to_be_visible()


def test_page_shows_a_lost_connection_and_reconnects(
    quick_daemon: Daemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect("ERR_CONNECTION_REFUSED")
    page.goto(quick_daemon.url)
    connection = page.locator("#connection")
    expect(connection).to_have_attribute("data-state", "live")
    address = quick_daemon.url.removeprefix("http://")
    quick_daemon.stop()
    expect(connection).to_have_attribute("data-state", "lost")
    quick_daemon.config.write_text(
        quick_daemon.config.read_text().replace(
            '[http]\nlisten = "127.0.0.1:0"', f'[http]\nlisten = "{address}"'
        )
    )
    quick_daemon.start()
    expect(connection).to_have_attribute("data-state", "live")

"""The live connection: lost and found again, refused for a reason, and done without."""

from browser.chromium import Complaints, MakePage
from browser.daemons import FAILURE, MakeDaemon, keep_address, start
from playwright.sync_api import Page, expect
from support import Daemon

REFUSED = "WebSocket connection to|Failed to load resource"


def expect_state(page: Page, state: str) -> None:
    expect(page.locator("#connection")).to_have_attribute("data-state", state)


def test_page_comes_back_after_the_daemon_started_anew(
    quick_daemon: Daemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect(REFUSED)
    page.goto(quick_daemon.url)
    expect_state(page, "live")
    keep_address(quick_daemon)
    quick_daemon.stop()
    expect_state(page, "lost")
    expect(page.get_by_role("button", name="Retry now")).to_be_visible()
    start(quick_daemon)
    expect_state(page, "live")
    expect(page.get_by_role("button", name="Retry now")).to_be_hidden()
    quick_daemon.emit([FAILURE] * 20)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()


def test_alert_of_the_time_without_connection_is_shown_afterwards(
    quick_daemon: Daemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect(REFUSED)
    page.goto(quick_daemon.url)
    expect_state(page, "live")
    page.context.set_offline(True)
    quick_daemon.emit([FAILURE] * 20)
    page.context.set_offline(False)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()


def test_page_polls_where_the_websocket_is_turned_off(
    make_quick_daemon: MakeDaemon, page: Page
) -> None:
    daemon = make_quick_daemon(websocket="enabled = false")
    daemon.emit({"kind": "backend", "backend_name": "users-1", "status": "unhealthy"})
    page.goto(daemon.url)
    expect_state(page, "polling")
    expect(page.locator("#connection-reason")).to_contain_text("turned off")
    backend = page.locator("#backends tr[data-backend=users-1]")
    expect(backend).to_have_attribute("data-status", "unhealthy")
    daemon.emit([FAILURE] * 20)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()


def test_page_beyond_the_limit_of_connections_says_so_and_polls(
    make_quick_daemon: MakeDaemon, make_page: MakePage, complaints: Complaints
) -> None:
    complaints.expect("WebSocket connection to|status of 429")
    daemon = make_quick_daemon(websocket="max_connections_per_ip = 1")
    first, second = make_page(), make_page()
    first.goto(daemon.url)
    expect_state(first, "live")
    second.goto(daemon.url)
    expect_state(second, "polling")
    expect(second.locator("#connection-reason")).to_contain_text("Too many live connections")
    daemon.emit({"kind": "backend", "backend_name": "b", "status": "healthy"})
    expect(second.locator("#backends tr[data-backend=b]")).to_be_visible()
    expect_state(first, "live")

"""Login, logout and what happens when a session ends."""

import pytest
from browser.chromium import Complaints
from browser.daemons import ADMIN, FAILURE, GUARDED, VIEWER, MakeDaemon, keep_address, start
from playwright.sync_api import Page, expect
from support import Daemon

FAILURES_ALLOWED = 10


@pytest.fixture
def guarded(make_quick_daemon: MakeDaemon) -> Daemon:
    """A daemon that wants tokens."""
    return make_quick_daemon(http=GUARDED)


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def test_daemon_without_tokens_shows_no_login(quick_daemon: Daemon, page: Page) -> None:
    page.goto(quick_daemon.url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)


def test_nothing_is_asked_for_before_the_login(guarded: Daemon, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(guarded.url)
    expect(page.get_by_role("dialog", name="Log in to aegisd")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_visible()
    data = [url for url in asked if "/api/" in url and not url.endswith("/api/session")]
    assert data == []


def test_login_shows_name_and_role_and_logout_the_form_again(guarded: Daemon, page: Page) -> None:
    page.goto(f"{guarded.url}/?range=6h")
    log_in(page, VIEWER)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#session-name")).to_have_text("viewer <b>")
    expect(page.locator("#session-role")).to_have_text("viewer")
    assert VIEWER not in page.url
    assert VIEWER not in page.evaluate("document.cookie + JSON.stringify({...localStorage})")

    page.reload()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("dialog", name="Log in to aegisd")).to_be_visible()
    assert page.url.endswith("/?range=6h")


def test_token_may_have_spaces_around_it_and_the_focus_goes_to_the_figures(
    guarded: Daemon, page: Page
) -> None:
    page.goto(guarded.url)
    log_in(page, f" {ADMIN} ")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#main")).to_be_focused()


def test_wrong_token_is_told_and_too_many_say_how_long_to_wait(
    guarded: Daemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect("status of (401|429).*api/session")
    page.goto(guarded.url)
    trouble = page.locator("#login-trouble")
    for _ in range(FAILURES_ALLOWED):
        with page.expect_response("**/api/session"):
            log_in(page, "wrong")
        expect(trouble).to_have_text("This token is not valid.")
    log_in(page, "wrong")
    expect(trouble).to_have_text("Too many wrong tokens came from your address.")
    expect(page.get_by_role("button", name="Log in (in")).to_be_disabled()


def test_ended_session_brings_the_form_back_and_keeps_the_view(
    guarded: Daemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect("401|WebSocket connection|ERR_")
    page.goto(f"{guarded.url}/?range=6h")
    log_in(page, ADMIN)
    connection = page.locator("#connection")
    expect(connection).to_have_attribute("data-state", "live")
    keep_address(guarded)
    guarded.stop()
    start(guarded)  # it knows no session any more
    expect(page.get_by_role("dialog", name="Log in to aegisd")).to_be_visible()
    log_in(page, ADMIN)
    expect(connection).to_have_attribute("data-state", "live")
    expect(page.locator("#session-role")).to_have_text("admin")
    assert page.url.endswith("/?range=6h")


def test_only_an_admin_sees_what_changes_alerts(guarded: Daemon, page: Page) -> None:
    guarded.emit([FAILURE] * 20)
    page.goto(guarded.url)
    log_in(page, VIEWER)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    log_in(page, ADMIN)
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
